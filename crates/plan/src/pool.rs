//! Pooling, with all that happens when it loads its input.

use crate::{BufferId, Input, Plan};

/// Maximum or mean of each window of an input. With a window of one pixel it stores the input itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its input.
    pub input: Input,
    /// Whether it takes the maximum of a window; otherwise the mean.
    pub is_max: bool,
    /// Side of the window.
    pub window: usize,
    /// Stride.
    pub stride: usize,
    /// Pixels on each side of the input that windows cover but leave out of the maximum or mean.
    pub padding: usize,
    /// (N, C, height, width), in the plan's blocks.
    pub output: BufferId,
}

impl Pool {
    /// Height of the output.
    pub fn height(&self) -> usize {
        (self.input.height + 2 * self.padding - self.window) / self.stride + 1
    }

    /// Width of the output.
    pub fn width(&self) -> usize {
        (self.input.width + 2 * self.padding - self.window) / self.stride + 1
    }

    /// Floating-point operations that are executed.
    pub fn flops(&self) -> u64 {
        let results = (self.input.batch * self.input.channels() * self.height() * self.width()) as u64;
        self.input.loading_flops(self.input.elements() as u64) + results * (self.window * self.window) as u64
    }

    pub(crate) fn bytes_moved(&self, plan: &Plan) -> u64 {
        let norm = self.input.norm_buffers().map(|buffer| plan.bytes(buffer)).sum::<u64>();
        self.input.bytes_read(plan) + norm + plan.bytes(self.output)
    }
}
