//! Loads a network's weights onto a device.

use super::{Engine, cpu, gpu};
use crate::network::Network;
use crate::plans::choice::{Target, methods};
use crate::{Checkpoint, ConfigError, Device, Processor, Result};
use alias_plan::{Method, Precision};

/// Packs the weights of a verified checkpoint.
pub(in crate::plans) fn load(
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
        let problem = format!("a kernel of {0}x{0}; processor cores support kernels up to 4x4", conv.kernel);
        return Err(ConfigError::Layer { network, layer, problem }.into());
    }
    Ok(match device {
        Device::Gpu(gpu) => Box::new(gpu::GpuEngine::load(gpu, network, checkpoint, target)?),
        Device::Cpu(cpu) => Box::new(cpu::CpuEngine::load(cpu, network, checkpoint, target)?),
    })
}
