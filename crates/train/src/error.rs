//! What can go wrong in training.

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network, its weights, its inputs, or the device that it is on.
    #[error(transparent)]
    Model(#[from] alias_model::Error),

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

    /// A trainer whose device failed while the generator's weights were being replaced.
    #[error("step {step} ended half way, when the device failed; go on from what was saved before it")]
    HalfAStep {
        /// The step, from 0.
        step: u64,
    },

    /// A step without a batch to learn from.
    #[error("a step needs at least one part of a batch")]
    NoBatch,

    /// A checkpoint of weights, not of a training.
    #[error("this checkpoint holds no training to go on with, only weights: start a new one from them")]
    OnlyWeights,

    /// A checkpoint of a training that is damaged.
    #[error("the training that this checkpoint holds is damaged: {what}; take an earlier one")]
    DamagedTraining {
        /// What is missing or wrong.
        what: String,
    },

    /// An adversarial loss that does not exist.
    #[error("adversarial loss '{name}' does not exist; use 'hinge', 'vanilla' or 'lsgan'")]
    UnknownGan {
        /// What was asked for.
        name: String,
    },
}

impl From<alias_tensor::Error> for Error {
    fn from(error: alias_tensor::Error) -> Error {
        Error::Model(error.into())
    }
}

impl From<alias_checkpoint::CheckpointError> for Error {
    fn from(error: alias_checkpoint::CheckpointError) -> Error {
        Error::Model(error.into())
    }
}
