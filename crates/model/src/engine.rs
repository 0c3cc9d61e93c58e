//! What executes plans: the kernels on a GPU, or processor cores.

mod cpu;
mod gpu;

use crate::choice::{Processor, Target, methods};
use crate::{Architecture, Checkpoint, Device, Error, Result};
use alias_plan::{BufferId, Memory, Method, Plan, Precision, Step};
use std::fmt::Debug;
use std::time::Duration;

/// A device with a generator's weights on it.
pub(crate) trait Engine: Debug + Send + Sync {
    /// Buffers for `plan`, whose first `done` steps are done once, and the others for each image.
    fn canvas(&self, plan: &Plan, memory: &Memory, done: usize) -> Result<Box<dyn Canvas>>;
    /// What a batch norm's running statistics make of each of its channels: (C, 8).
    fn coefficients(&self, norm: &str) -> &[f32];
}

/// A plan's buffers, and whatever else it takes to run it.
pub(crate) trait Canvas: Debug + Send {
    /// Fills a buffer that holds no activations.
    fn upload(&mut self, id: BufferId, bytes: &[u8]) -> Result<()>;
    /// Fills a buffer with (C, 8) coefficients of channels that are those of `sources`, one after the other, for each image.
    fn upload_coefficients(&mut self, id: BufferId, values: &[f32], sources: &[usize], batch: usize) -> Result<()>;
    /// Fills the pictures (N, 9, H, W) from three of (N, 3, H, W).
    fn upload_pictures(&mut self, id: BufferId, pictures: [&[f32]; 3], size: [usize; 3]) -> Result<()>;
    /// Runs steps that are done once.
    fn prepare(&mut self, steps: &[Step]) -> Result<()>;
    /// Runs the steps of an image.
    fn draw(&mut self, steps: &[Step]) -> Result<()>;
    /// Runs each step of an image by itself, and measures it.
    fn profile(&mut self, steps: &[Step]) -> Result<Vec<Duration>>;
    /// The image: (N, 3, H, W).
    fn image(&self, id: BufferId, size: [usize; 3]) -> Result<Vec<f32>>;
}

/// Packs the weights of a checkpoint that was verified.
pub(crate) fn load(
    device: &Device,
    architecture: &Architecture,
    checkpoint: &Checkpoint,
    target: &Target,
) -> Result<Box<dyn Engine>> {
    let (on_cores, for_cores) = (matches!(device, Device::Cpu(_)), target.processor == Processor::Cores);
    if on_cores != for_cores {
        return Err(Error::Config(format!(
            "a plan for {:?} on another kind of device; Target::of the device makes one that fits",
            target.processor
        )));
    }
    if for_cores && target.precision != Precision::F32 {
        return Err(Error::Config("processor cores store float32; Target::of the device asks for that".into()));
    }
    let has = |method: &Method| match method {
        Method::Fused => true,
        Method::Winograd(m) => *m == 2 || *m == 4 && for_cores,
        Method::Staged(_) => !for_cores,
    };
    if let Some((conv, method)) = methods(architecture, target).into_iter().find(|(_, method)| !has(method)) {
        return Err(Error::Config(format!("{conv} by {method:?}, which {:?} does not have", target.processor)));
    }
    Ok(match device {
        Device::Gpu(gpu) => Box::new(gpu::GpuEngine::load(gpu, architecture, checkpoint, target)?),
        Device::Cpu(cpu) => Box::new(cpu::CpuEngine::load(cpu, architecture, checkpoint, target)?),
    })
}
