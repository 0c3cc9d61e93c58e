//! The kinds of devices that plans are made for.

/// The kind of device that computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// A GPU.
    Gpu,
    /// A software rasterizer, which runs a GPU's kernels on processor cores.
    Rasterizer,
    /// Processor cores, by `alias-cpu`.
    Cores,
}

impl Processor {
    /// Channels per block of activations, for [`alias_plan::Plan::block`].
    pub(crate) fn block(self) -> usize {
        if self == Processor::Cores { alias_cpu::BLOCK } else { 1 }
    }
}
