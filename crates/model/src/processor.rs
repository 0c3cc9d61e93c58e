//! The kinds of devices that plans are made for.

/// What kind of device computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// A GPU.
    Gpu,
    /// A software rasterizer: a GPU's kernels on processor cores.
    Rasterizer,
    /// Processor cores, by `alias-cpu`.
    Cores,
}

impl Processor {
    /// In what blocks the channels of activations lie.
    pub(crate) fn block(self) -> usize {
        if self == Processor::Cores { alias_cpu::BLOCK } else { 1 }
    }
}
