//! Loads a network's weights onto a device.

use super::{Engine, cpu, gpu};
use crate::network::Network;
use crate::plans::choice::{Target, verify};
use crate::{Checkpoint, ConfigError, Device, Processor, Result};

/// Packs the weights of a verified checkpoint.
pub(in crate::plans) fn load(
    device: &Device,
    network: &Network,
    checkpoint: &Checkpoint,
    target: &Target,
) -> Result<Box<dyn Engine>> {
    let (on_cores, for_cores) = (matches!(device, Device::Cores(_)), target.processor == Processor::Cores);
    if on_cores != for_cores {
        return Err(ConfigError::OtherDevice { processor: target.processor }.into());
    }
    verify(network, target)?;
    Ok(match device {
        Device::Gpu(gpu) => Box::new(gpu::GpuEngine::load(gpu, network, checkpoint, target)?),
        Device::Cores(cores) => Box::new(cpu::CpuEngine::load(cores.cpu(), network, checkpoint, target)?),
    })
}
