//! A training run, apart from the trainer: settings, the order and loading of examples, log, loss curves, checkpoints.

mod checkpoints;
mod curves;
mod description;
mod loader;
mod lock;
mod log;
mod order;
mod settings;

pub use checkpoints::{Checkpoints, GENERATOR, Newest, RunCheckpoint, RunCheckpointError, checksum, read_generator};
pub use curves::curves;
pub use description::{DataSummary, RunDescription};
pub use loader::{Loaded, Loader};
pub use lock::Lock;
pub use log::{Log, LogEntry};
pub use order::Order;
pub use settings::{Conflict, Purpose, Settings};
