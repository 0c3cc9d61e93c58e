//! The correlation of two feature maps.

use crate::{BufferId, Input, Plan};

/// Scalar products of the features at every pixel of one map with those at every pixel of another (Rocco et al. 2017).
#[derive(Clone, Debug, PartialEq)]
pub struct Correlation {
    /// Its name.
    pub name: String,
    /// Two operands a and b of equal shapes (N, C, H, W), as they are.
    pub input: Input,
    /// (N, W H, H, W), in the plan's blocks: channel x H + y is the product of a's pixel (y, x) with every pixel of b.
    pub output: BufferId,
}

impl Correlation {
    /// Channels of each operand.
    pub fn channels(&self) -> usize {
        self.input.operands[0].channels
    }

    /// Floating-point operations that are executed.
    pub fn flops(&self) -> u64 {
        let plane = self.input.plane() as u64;
        2 * self.input.batch as u64 * plane * plane * self.channels() as u64
    }

    pub(crate) fn bytes_moved(&self, plan: &Plan) -> u64 {
        self.input.bytes_read(plan) + plan.bytes(self.output)
    }
}
