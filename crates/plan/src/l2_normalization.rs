//! L2 normalization over channels.

use crate::{BufferId, Input, Plan};

/// Divides the vector of channels at each pixel by its length, or by [`L2Normalization::EPS`] if that is larger.
#[derive(Clone, Debug, PartialEq)]
pub struct L2Normalization {
    /// Its name.
    pub name: String,
    /// Its input: one operand, as it is.
    pub input: Input,
    /// (N, H, W): the lengths, stored on GPUs only.
    pub lengths: Option<BufferId>,
    /// (N, C, H, W), in the plan's blocks.
    pub output: BufferId,
}

impl L2Normalization {
    /// The least divisor.
    pub const EPS: f32 = 1e-12;

    /// Floating-point operations that are executed.
    pub fn flops(&self) -> u64 {
        3 * self.input.elements() as u64
    }

    pub(crate) fn bytes_moved(&self, plan: &Plan) -> u64 {
        let lengths = self.lengths.map_or(0, |lengths| 2 * plan.bytes(lengths));
        self.input.bytes_read(plan) + lengths + plan.bytes(self.output)
    }
}
