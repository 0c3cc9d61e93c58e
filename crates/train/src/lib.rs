//! Training: the losses, the trainer, and what a run of it is made of.
//!
//! [`Trainer`] updates a generator and a discriminator on a GPU, step by step, and is saved and resumed bit for bit. `run` is
//! what `tryon train` makes of it: settings, the order of the examples and their loading, log, curves, checkpoints.

mod error;
pub mod losses;
mod run;
mod trainer;

pub use error::{Error, Result};
pub use losses::Gan;
pub use run::{
    Checkpoints, CheckpointsError, Conflict, DataSummary, Entry, GENERATOR, Loaded, Loader, Lock, Log, Newest, Order,
    Purpose, Run, Saved, Settings, checksum, curves, generator, read_generator,
};
pub use trainer::{Batch, Losses, MultiscaleDiscriminator, Trainer, TrainerOptions, Vgg19};
