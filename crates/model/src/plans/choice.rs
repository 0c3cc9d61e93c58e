//! What is computed how: the one place that decides for a plan.

use crate::network::{Conv, Network};
use crate::{Device, Processor};
use alias_kernels::plan::staged_elements;
use alias_plan::{Convolution, Method, Precision};
use alias_tensor::wgpu::{Adapter, DeviceType, Limits};
use std::collections::{BTreeMap, HashMap};

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
    /// This method for every convolution that it supports, the fused one for the others. How many image rows a staged method
    /// has does not matter.
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

/// Elements of a staged band, 16 MiB in float32, unless eight image rows take more.
const SCRATCH: usize = 1 << 22;
/// Bytes that a table of modulation, or what it is made of, may take. A map of noise goes through it in bands of the image.
pub(super) const TABLE: u64 = 64 << 20;

/// The method of each convolution, by its name.
///
/// A software rasterizer spends its time on loads, so that it pays to compute each activation once and to store it. A GPU
/// computes each as often as a workgroup needs it; what counts is arithmetic, of which Winograd's algorithm takes less. Not at
/// the network's two coarsest resolutions: their layers have the largest weights, which Winograd makes larger still by 7/9, and
/// the fewest pixels, where it saves least. Also, planes of two pixels normalize to +-1, for which its rounding in half
/// precision is too large.
pub(super) fn methods(network: &Network, target: &Target) -> HashMap<String, Method> {
    let method = |conv: &Conv, level: u32| {
        let by_rule = match target.processor {
            Processor::Rasterizer => Method::Staged(0),
            Processor::Gpu => Method::Winograd(2),
            // At the third resolution, weights that are four times as large would not be worth their memory.
            Processor::Cores => Method::Winograd(if level < 3 { 2 } else { 4 }),
        };
        let method = match &target.tuning {
            Tuning::Default => by_rule,
            Tuning::Always(method) => *method,
            Tuning::Measured(methods) => methods.get(&conv.key).copied().unwrap_or(by_rule),
        };
        match method {
            Method::Winograd(_) if conv.kernel != 3 || !conv.keeps_size() || level < 2 => Method::Fused,
            Method::Staged(_) if conv.kernel > 3 || !conv.keeps_size() => Method::Fused,
            method => method,
        }
    };
    let levels = network.levels();
    network.convolutions().map(|(at, _, conv)| (conv.key.clone(), method(conv, levels[at]))).collect()
}

/// Image rows of a staged band: a multiple of a tile's.
pub(super) fn staged_rows(step: &Convolution) -> usize {
    let row = staged_elements(step, 1) / (1 + 2 * step.padding);
    (SCRATCH / row).saturating_sub(2 * step.padding).max(8) / 8 * 8
}

/// Whether a plan's table of modulation adds up products of 3x3 windows, which takes fewer operations where 5x5 windows
/// outnumber them. Otherwise each 5x5 window is convolved by itself, as the dense network does at each pixel.
pub(super) fn shares_products(windows: usize, entries: usize) -> bool {
    entries > windows
}

/// Whether modulation on the tape is computed for each of `windows` 3x3 windows, instead of each of `pixels`. By far the
/// largest product is the one from the hidden layer, which both compute; a table costs a look-up for each pixel besides.
pub(crate) fn table_pays(windows: usize, pixels: usize) -> bool {
    2 * windows < pixels
}
