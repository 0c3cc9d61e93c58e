//! What a training run is made of, besides the trainer: its settings, the order of its examples and their loading, its log,
//! its checkpoints, its pictures.

mod checkpoints;
mod loader;
mod log;
mod order;
mod settings;

pub use checkpoints::{Checkpoints, Error as CheckpointsError, GENERATOR, Saved, checksum, generator};
pub use loader::{Loaded, Loader};
pub use log::{Entry, Log};
pub use order::Order;
pub use settings::{Conflict, DataSummary, Purpose, Run, Settings};
