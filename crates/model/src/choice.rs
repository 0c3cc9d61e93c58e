//! How a device computes what: the one place that decides.

use crate::{Architecture, Conv, Device};
use alias_plan::{Convolution, Method, Precision};
use alias_tensor::wgpu::{Adapter, DeviceType, Limits};
use std::collections::{BTreeMap, HashMap};

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

/// What a plan is made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// What computes.
    pub processor: Processor,
    /// Bytes that one binding may have.
    pub max_binding: u64,
    /// How weights and activations are stored.
    pub precision: Precision,
    /// Which method computes which convolution.
    pub tuning: Tuning,
}

/// Which method computes which convolution.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Tuning {
    /// The one that is the fastest as a rule.
    #[default]
    Default,
    /// This one wherever it can, whatever number of rows it stages: Winograd's algorithm takes 3x3 kernels past the second
    /// block, the others are fused then.
    Always(Method),
    /// By name of the convolution, as [`Tuning::measure`] found them; the default for others.
    Measured(BTreeMap<String, Method>),
}

impl Target {
    /// What every GPU with WebGPU has, in float32.
    pub const GUARANTEED: Target = Target {
        processor: Processor::Gpu,
        max_binding: 128 << 20,
        precision: Precision::F32,
        tuning: Tuning::Default,
    };

    /// Processor cores.
    pub const CORES: Target = Target { processor: Processor::Cores, max_binding: u64::MAX, ..Target::GUARANTEED };

    /// What an open device is. Processor cores store float32, whatever `precision` is.
    pub fn of(device: impl Into<Device>, precision: Precision) -> Target {
        match device.into() {
            Device::Gpu(gpu) => Target::new(gpu.is_software(), gpu.limits(), precision),
            Device::Cpu(_) => Target::CORES,
        }
    }

    /// What an adapter is, opened with all it has.
    pub fn of_adapter(adapter: &Adapter, precision: Precision) -> Target {
        Target::new(adapter.get_info().device_type == DeviceType::Cpu, &adapter.limits(), precision)
    }

    fn new(software: bool, limits: &Limits, precision: Precision) -> Target {
        let max_binding = limits.max_storage_buffer_binding_size;
        let processor = if software { Processor::Rasterizer } else { Processor::Gpu };
        Target { processor, max_binding, precision, ..Target::GUARANTEED }
    }
}

/// Elements of a staged band, 16 MiB in float32, unless eight rows take more.
const SCRATCH: usize = 1 << 22;

/// The method of each convolution, by its name.
///
/// A software rasterizer spends its time on loads, so that it pays to compute each activation once and to store it. A GPU
/// computes each as often as a workgroup needs it; what counts is arithmetic, of which Winograd's algorithm takes less. Not in
/// the first two blocks: they have the largest weights, which it makes larger still by 7/9, and the fewest pixels, where it saves
/// least; and of planes of two pixels, whose signs are all that normalization leaves, its rounding in half precision is too much.
pub(crate) fn methods(architecture: &Architecture, target: &Target) -> HashMap<String, Method> {
    let last = architecture.blocks.len() - 1;
    let blocks = architecture.blocks.iter().enumerate();
    let blocks = blocks.flat_map(|(stage, block)| block.halves().map(move |(_, conv)| (stage, conv)));
    let convs = architecture.features.iter().enumerate().chain([(last, &architecture.image)]).chain(blocks);
    let method = |stage: usize, conv: &Conv| {
        let by_rule = match target.processor {
            Processor::Rasterizer => Method::Staged(0),
            Processor::Gpu => Method::Winograd(2),
            // The third block's weights, four times as large, would not be worth their memory.
            Processor::Cores => Method::Winograd(if stage < 3 { 2 } else { 4 }),
        };
        let method = match &target.tuning {
            Tuning::Default => by_rule,
            Tuning::Always(method) => *method,
            Tuning::Measured(methods) => methods.get(&conv.key).copied().unwrap_or(by_rule),
        };
        if matches!(method, Method::Winograd(_)) && (conv.kernel != 3 || stage < 2) { Method::Fused } else { method }
    };
    convs.map(|(stage, conv)| (conv.key.clone(), method(stage, conv))).collect()
}

/// Rows of a staged band: a multiple of a tile's.
pub(crate) fn staged_rows(step: &Convolution) -> usize {
    let row = step.input.batch * step.input.channels() * step.staged_width();
    (SCRATCH / row).saturating_sub(2 * step.halo()).max(8) / 8 * 8
}
