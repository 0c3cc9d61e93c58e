//! What a training run is made of, besides the trainer: its settings, the order of its examples and their loading, its log,
//! its checkpoints, its curves.

mod checkpoints;
mod curves;
mod folder;
mod loader;
mod lock;
mod log;
mod order;
mod settings;

pub use checkpoints::{
    Checkpoints, Error as CheckpointsError, GENERATOR, Newest, Saved, checksum, generator, read_generator,
};
pub use curves::curves;
pub use folder::{DataSummary, Run};
pub use loader::{Loaded, Loader};
pub use lock::Lock;
pub use log::{Entry, Log};
pub use order::Order;
pub use settings::{Conflict, Purpose, Settings};
