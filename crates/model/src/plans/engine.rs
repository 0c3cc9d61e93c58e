//! Engines that run plans, on a GPU or on processor cores.

mod cpu;
mod gpu;
mod load;

pub(super) use load::load;

use crate::Result;
use alias_plan::{BufferId, Plan};
use alias_tensor::Tensor;
use std::fmt::Debug;
use std::time::Duration;

/// A device with a network's weights on it.
pub(in crate::plans) trait Engine: Debug + Send + Sync {
    /// Prepares to run `plan`. Its first `run_once` steps run only once, the others in each run.
    fn runner(&self, plan: &Plan, run_once: usize) -> Result<Box<dyn Runner>>;
    /// The coefficients of a batch norm, from its running statistics: (C, 8), as in [`alias_plan::Statistics::output`].
    fn coefficients(&self, norm: &str) -> &[f32];
}

/// A plan's buffers, and whatever else a run needs.
pub(in crate::plans) trait Runner: Debug + Send {
    /// Fills a buffer that holds no activations.
    fn upload(&mut self, id: BufferId, bytes: &[u8]) -> Result<()>;
    /// Fills a buffer with coefficients (C, 8), for each image. `operands` are the channels of the tensors that the
    /// norm reads.
    fn upload_coefficients(&mut self, id: BufferId, values: &[f32], operands: &[usize], batch: usize) -> Result<()>;
    /// Fills an input (N, C, `plane`) from tensors that are concatenated along the channels.
    fn upload_input(&mut self, id: BufferId, tensors: &[&[f32]], batch: usize, plane: usize) -> Result<()>;
    /// Runs the steps that run only once, and does what can be done before the first run.
    fn run_once(&mut self) -> Result<()>;
    /// Runs the steps of each run.
    fn run(&mut self) -> Result<()>;
    /// Runs each of these steps by itself and measures it.
    fn profile(&mut self) -> Result<Vec<Duration>>;
    /// A result (N, 3, H, W) in [-1, 1] as bytes that stay on the GPU: (N, H, W) of RGBA8. `None` on processor cores.
    fn rgba8(&self, id: BufferId, size: [usize; 3]) -> Option<Result<Tensor>>;
    /// A result (N, C, H, W).
    fn output(&self, id: BufferId, shape: [usize; 4]) -> Result<Vec<f32>>;
}
