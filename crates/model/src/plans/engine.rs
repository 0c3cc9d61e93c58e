//! What executes plans: the kernels on a GPU, or processor cores.

mod cpu;
mod gpu;
mod load;

pub(super) use load::load;

use crate::Result;
use alias_plan::{BufferId, Plan};
use alias_tensor::Tensor;
use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

/// A device with a network's weights on it.
pub(in crate::plans) trait Engine: Debug + Send + Sync {
    /// Gets ready to run `plan`, whose first `done` steps are run once, and the others each time.
    fn runner(&self, plan: &Plan, done: usize) -> Result<Box<dyn Runner>>;
    /// What a batch norm's running statistics make of each of its channels: (C, 8).
    fn coefficients(&self, norm: &str) -> &[f32];
}

/// A plan's buffers, and whatever else it takes to run it.
pub(in crate::plans) trait Runner: Debug + Send {
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
