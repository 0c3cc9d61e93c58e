//! What can go wrong between a file and a picture.

use alias_checkpoint::CheckpointError;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between a file and a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device, or an operation on it.
    #[error(transparent)]
    Device(#[from] alias_tensor::Error),

    /// Processor cores that cannot compute.
    #[error(transparent)]
    Cpu(#[from] alias_cpu::Error),

    /// A file that is no readable checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),

    /// A checkpoint that is not the generator it should be; all differences at once, worded as PyTorch does.
    #[error("{0}")]
    StateDict(String),

    /// A configuration that this network does not have.
    #[error("{0}")]
    Config(String),

    /// An input that is missing, misshapen or out of range.
    #[error("{0}")]
    Input(String),

    /// A trainer whose device failed while the generator's weights were being replaced.
    #[error("step {step} ended half way, when the device failed; go on from what was saved before it")]
    HalfAStep {
        /// The step, from 0.
        step: u64,
    },

    /// A loss that is no number any more.
    #[error(
        "the {loss} loss of step {step} is {value}: the training has diverged; go on from an earlier checkpoint with lower \
         learning rates"
    )]
    Diverged {
        /// The step, from 0.
        step: u64,
        /// Which loss.
        loss: &'static str,
        /// What it is.
        value: f32,
    },
}
