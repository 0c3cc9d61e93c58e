//! A linear layer over all elements of an image.

use crate::{Activation, BufferId, Input, Plan};

/// `y = activation(weight x + bias)`, where x are all elements of an image in the order (C, H, W).
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Its name in the state dict.
    pub name: String,
    /// Its input.
    pub input: Input,
    /// Channels of the output.
    pub outputs: usize,
    /// Activation function of the sum.
    pub activation: Activation,
    /// (N, outputs, 1, 1), in the plan's blocks.
    pub output: BufferId,
}

impl Linear {
    /// Elements of an image, C H W.
    pub fn inputs(&self) -> usize {
        self.input.channels() * self.input.plane()
    }

    /// Floating-point operations that are executed.
    pub fn flops(&self) -> u64 {
        let products = 2 * (self.input.batch * self.inputs() * self.outputs) as u64;
        self.input.loading_flops(self.input.elements() as u64) + products
    }

    pub(crate) fn bytes_moved(&self, plan: &Plan) -> u64 {
        let norm = self.input.norm_buffers().map(|buffer| plan.bytes(buffer)).sum::<u64>();
        let weights = plan.precision.bytes() * ((self.inputs() + 1) * self.outputs) as u64;
        self.input.bytes_read(plan) + norm + weights + plan.bytes(self.output)
    }
}
