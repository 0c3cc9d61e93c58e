//! What executes plans: the kernels on a GPU, or processor cores.

mod cpu;
mod gpu;

use super::choice::{Processor, Target, methods};
use crate::network::Network;
use crate::{Checkpoint, ConfigError, Device, Result};
use alias_plan::{BufferId, Method, Plan, Precision};
use alias_tensor::Tensor;
use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

/// A device with a network's weights on it.
pub(super) trait Engine: Debug + Send + Sync {
    /// Gets ready to run `plan`, whose first `done` steps are run once, and the others each time.
    fn runner(&self, plan: &Plan, done: usize) -> Result<Box<dyn Runner>>;
    /// What a batch norm's running statistics make of each of its channels: (C, 8).
    fn coefficients(&self, norm: &str) -> &[f32];
}

/// A plan's buffers, and whatever else it takes to run it.
pub(super) trait Runner: Debug + Send {
    /// Fills a buffer that holds no activations.
    fn upload(&mut self, id: BufferId, bytes: &[u8]) -> Result<()>;
    /// Fills a buffer with (C, 8) coefficients of channels that are those of `operands`, concatenated, for each image.
    fn upload_coefficients(&mut self, id: BufferId, values: &[f32], operands: &[usize], batch: usize) -> Result<()>;
    /// Fills an input (N, C, `plane`) from tensors that are concatenated along the channels.
    fn upload_input(&mut self, id: BufferId, tensors: &[&[f32]], batch: usize, plane: usize) -> Result<()>;
    /// Runs steps that are run once.
    fn prepare(&mut self, steps: Range<usize>) -> Result<()>;
    /// Runs the steps that are run each time.
    fn run(&mut self) -> Result<()>;
    /// Runs each of these steps by itself, and measures it.
    fn profile(&mut self) -> Result<Vec<Duration>>;
    /// A result (N, 3, H, W) in [-1, 1] as bytes that stay on the device: (N, H, W) of RGBA8. `None` where there is no GPU.
    fn rgba8(&self, id: BufferId, size: [usize; 3]) -> Option<Result<Tensor>>;
    /// A result (N, C, H, W).
    fn output(&self, id: BufferId, shape: [usize; 4]) -> Result<Vec<f32>>;
}

/// Packs the weights of a checkpoint that was verified.
pub(super) fn load(
    device: &Device,
    network: &Network,
    checkpoint: &Checkpoint,
    target: &Target,
) -> Result<Box<dyn Engine>> {
    let (on_cores, for_cores) = (matches!(device, Device::Cpu(_)), target.processor == Processor::Cores);
    if on_cores != for_cores {
        return Err(ConfigError::OtherDevice { processor: target.processor }.into());
    }
    if for_cores && target.precision != Precision::F32 {
        return Err(ConfigError::Float32Only.into());
    }
    let has = |method: &Method| match method {
        Method::Fused => true,
        Method::Winograd(m) => *m == 2 || *m == 4 && for_cores,
        Method::Staged(_) => !for_cores,
    };
    if let Some((convolution, method)) = methods(network, target).into_iter().find(|(_, method)| !has(method)) {
        return Err(ConfigError::Method { convolution, method, processor: target.processor }.into());
    }
    let too_large = network.convolutions().find(|(_, _, conv)| conv.kernel.pow(2) > alias_cpu::MAX_TAPS);
    if let Some((_, _, conv)) = too_large.filter(|_| for_cores) {
        let (network, layer) = (network.name.clone(), conv.key.clone());
        let problem = format!("a kernel of {0}x{0}; processor cores have kernels up to 4x4", conv.kernel);
        return Err(ConfigError::Layer { network, layer, problem }.into());
    }
    Ok(match device {
        Device::Gpu(gpu) => Box::new(gpu::GpuEngine::load(gpu, network, checkpoint, target)?),
        Device::Cpu(cpu) => Box::new(cpu::CpuEngine::load(cpu, network, checkpoint, target)?),
    })
}
