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

    /// A loss that is NaN or infinite.
    #[error(
        "the {loss} loss of step {step} is {value}: the training has diverged; start again from an earlier checkpoint \
         with lower learning rates"
    )]
    Diverged {
        /// The step, from 0.
        step: u64,
        /// The loss's name.
        loss: &'static str,
        /// Its value.
        value: f32,
    },

    /// A trainer whose device failed while the generator's weights were being replaced.
    #[error(
        "step {step} is only half done: the device failed while the generator's weights were being replaced; resume \
         from the last checkpoint"
    )]
    HalfAStep {
        /// The step, from 0.
        step: u64,
    },

    /// A step on an empty batch.
    #[error("a step needs at least one part of a batch")]
    NoBatch,

    /// A checkpoint that holds weights but no training.
    #[error("this checkpoint holds only weights, no training to resume; start a new training from them")]
    OnlyWeights,

    /// A checkpoint of a training that is damaged.
    #[error("the training in this checkpoint is damaged: {what}; resume from an earlier checkpoint")]
    DamagedTraining {
        /// What is missing or wrong.
        what: String,
    },

    /// An adversarial loss that does not exist.
    #[error("adversarial loss '{name}' does not exist; use 'hinge', 'vanilla' or 'lsgan'")]
    UnknownGan {
        /// The name that was given.
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
