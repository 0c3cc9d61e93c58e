//! All choices between ways to compute the same thing.

use crate::network::{Conv, Network};
use crate::{ConfigError, Device, Processor, Result};
use alias_kernels::plan::staged_elements;
use alias_plan::{Convolution, Method, Precision};
use alias_tensor::wgpu::{Adapter, DeviceType, Limits};
use std::collections::{BTreeMap, HashMap};

/// The device that a plan is made for, and how it is used.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::{Conditioning, Cost, PlanOptions, Precision, Target, Vgg19Config};
///
/// let network = Vgg19Config { divisor: 16 }.network()?;
/// let cost = |target: &Target| Cost::new(&network, &Conditioning::size(1, 64, 64), PlanOptions::default(), target);
/// let half = Target { precision: Precision::F16, ..Target::GUARANTEED };
/// assert_eq!(cost(&half)?.memory.total(), cost(&Target::GUARANTEED)?.memory.total() / 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The kind of device.
    pub processor: Processor,
    /// The largest binding, in bytes.
    pub max_binding: u64,
    /// How weights and activations are stored.
    pub precision: Precision,
    /// Which method computes which convolution.
    pub tuning: Tuning,
}

/// Which method computes which convolution.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::plan::Method;
/// use alias_model::{Conditioning, Cost, PlanOptions, Target, Tuning, Vgg19Config};
///
/// let network = Vgg19Config { divisor: 16 }.network()?;
/// let size = Conditioning::size(1, 64, 64);
/// let cost = |target: &Target| Cost::new(&network, &size, PlanOptions::default(), target);
/// let direct = Target { tuning: Tuning::Always(Method::Fused), ..Target::GUARANTEED };
/// // By default, 3x3 convolutions take fewer operations, by Winograd's algorithm.
/// assert!(cost(&Target::GUARANTEED)?.plan.flops() < cost(&direct)?.plan.flops());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Tuning {
    /// The method that is usually the fastest.
    #[default]
    Default,
    /// This method wherever it applies, else [`Method::Fused`]. The number of rows in [`Method::Staged`] is ignored.
    Always(Method),
    /// By name of the convolution, as [`Tuning::measure`] found them, and the default for others.
    Measured(BTreeMap<String, Method>),
}

impl Target {
    /// A GPU with the limits that WebGPU guarantees, in float32.
    pub const GUARANTEED: Target = Target {
        processor: Processor::Gpu,
        max_binding: 128 << 20,
        precision: Precision::F32,
        tuning: Tuning::Default,
    };

    /// Processor cores.
    pub const CORES: Target = Target { processor: Processor::Cores, max_binding: u64::MAX, ..Target::GUARANTEED };

    /// The target for an open device. Processor cores store float32, whatever `precision` is.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::{Device, Precision, Target};
    ///
    /// let device = Device::cores(Default::default())?;
    /// assert_eq!(Target::of(&device, Precision::F16), Target::CORES);
    /// # Ok(())
    /// # }
    /// ```
    pub fn of(device: impl Into<Device>, precision: Precision) -> Target {
        match device.into() {
            Device::Gpu(gpu) => Target::new(gpu.is_software(), gpu.limits(), precision),
            Device::Cores(_) => Target::CORES,
        }
    }

    /// The target for an adapter that is opened with all of its limits.
    pub fn of_adapter(adapter: &Adapter, precision: Precision) -> Target {
        Target::new(adapter.get_info().device_type == DeviceType::Cpu, &adapter.limits(), precision)
    }

    fn new(software: bool, limits: &Limits, precision: Precision) -> Target {
        let max_binding = limits.max_storage_buffer_binding_size;
        let processor = if software { Processor::Rasterizer } else { Processor::Gpu };
        Target { processor, max_binding, precision, ..Target::GUARANTEED }
    }
}

/// Errors if no device of the target's kind can run `network` as the target says.
pub(super) fn verify(network: &Network, target: &Target) -> Result<()> {
    let for_cores = target.processor == Processor::Cores;
    if for_cores && target.precision != Precision::F32 {
        return Err(ConfigError::Float32Only.into());
    }
    let exists = |method: &Method| match method {
        Method::Fused => true,
        Method::Winograd(m) => *m == 2 || *m == 4 && for_cores,
        Method::Staged(_) => !for_cores,
    };
    if let Some((convolution, method)) = methods(network, target).into_iter().find(|(_, method)| !exists(method)) {
        return Err(ConfigError::Method { convolution, method, processor: target.processor }.into());
    }
    let too_large = network.convolutions().find(|(_, _, conv)| conv.kernel.pow(2) > alias_cpu::MAX_TAPS);
    if let Some((_, _, conv)) = too_large.filter(|_| for_cores) {
        let (network, layer) = (network.name.clone(), conv.key.clone());
        let problem = format!("a kernel of {0}x{0}; processor cores support kernels up to 4x4", conv.kernel);
        return Err(ConfigError::Layer { network, layer, problem }.into());
    }
    Ok(())
}

/// The largest staged band in elements, 16 MiB in float32. A band of eight image rows may be larger.
const SCRATCH: usize = 1 << 22;
/// The largest modulation table, or intermediate result of one, in bytes. If a label map such as noise needs more, the
/// image is computed in bands.
pub(super) const TABLE: u64 = 64 << 20;

/// The method of each convolution, by its name.
///
/// A software rasterizer spends its time on loads, so it pays to compute each activation once and store it. A GPU
/// computes each as often as a workgroup needs it; what counts there is arithmetic, which Winograd's algorithm reduces.
/// That algorithm is not used at the network's coarsest resolutions, [`Builder::direct_levels`] of them: layers there have
/// the largest weights, which it enlarges by 7/9, and the fewest pixels, where it saves least. Also, planes of two pixels
/// normalize to +-1, where its rounding errors in float16 are too large.
///
/// [`Builder::direct_levels`]: crate::network::Builder::direct_levels
pub(super) fn methods(network: &Network, target: &Target) -> HashMap<String, Method> {
    let direct = network.direct_levels;
    let method = |conv: &Conv, level: u32| {
        let by_rule = match target.processor {
            Processor::Rasterizer => Method::Staged(0),
            Processor::Gpu => Method::Winograd(2),
            // At the coarsest of the other resolutions, F(4x4, 3x3) would not be worth its weights, which are four
            // times as large.
            Processor::Cores => Method::Winograd(if level < 2 || level == direct { 2 } else { 4 }),
        };
        let method = match &target.tuning {
            Tuning::Default => by_rule,
            Tuning::Always(method) => *method,
            Tuning::Measured(methods) => methods.get(&conv.key).copied().unwrap_or(by_rule),
        };
        match method {
            Method::Winograd(_) if conv.kernel != 3 || !conv.keeps_size() || level < direct => Method::Fused,
            Method::Staged(_) if conv.kernel > 3 || !conv.keeps_size() => Method::Fused,
            method => method,
        }
    };
    let levels = network.levels();
    network.convolutions().map(|(at, _, conv)| (conv.key.clone(), method(conv, levels[at]))).collect()
}

/// Image rows of a staged band: a multiple of a tile's eight.
pub(super) fn staged_rows(step: &Convolution) -> usize {
    let row = staged_elements(step, 1) / (1 + 2 * step.padding);
    (SCRATCH / row).saturating_sub(2 * step.padding).max(8) / 8 * 8
}

/// Whether a plan's modulation table adds products that 5x5 windows share, one for each tap and 3x3 window. That takes
/// fewer operations if 5x5 windows outnumber 3x3 windows. Otherwise each 5x5 window is convolved by itself, as the
/// dense network does at each pixel.
pub(super) fn shares_products(windows: usize, entries: usize) -> bool {
    entries > windows
}

/// Whether modulation on the tape is computed for each of `windows` distinct 3x3 windows instead of each of `pixels`.
/// Both spend most of their time on products with the hidden layer; a table adds a look-up for each pixel.
pub(crate) fn table_pays(windows: usize, pixels: usize) -> bool {
    2 * windows < pixels
}
