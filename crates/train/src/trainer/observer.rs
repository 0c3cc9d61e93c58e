//! Watching a step: its phases, gradients and images.

use alias_tensor::Tensor;

/// A part of a step, in the order in which they are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The generated images that the discriminator learns from.
    Images,
    /// The discriminator's passes and its update.
    Discriminator,
    /// The generator's forward pass.
    Forward,
    /// The losses of its image and their gradients by it.
    Losses,
    /// The generator's backward pass.
    Backward,
    /// The generator's update.
    Update,
}

impl Phase {
    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Images => "images",
            Phase::Discriminator => "discriminator",
            Phase::Forward => "forward",
            Phase::Losses => "losses",
            Phase::Backward => "backward",
            Phase::Update => "update",
        }
    }
}

/// Watches a step. A closure is one that sees tensors.
pub trait Observer {
    /// Sees each gradient, named `grad.generator.NAME` or `grad.discriminator.NAME`, and each image of the generator's
    /// update, named `fake`.
    fn tensor(&mut self, name: &str, tensor: &Tensor);

    /// Hears that all of a phase was launched; several parts of a batch repeat phases.
    fn launched(&mut self, _phase: Phase) {}
}

impl<F: FnMut(&str, &Tensor)> Observer for F {
    fn tensor(&mut self, name: &str, tensor: &Tensor) {
        self(name, tensor);
    }
}
