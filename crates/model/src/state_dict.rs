//! State dicts of networks: verification of checkpoints, initial weights for training, weights for tests.

mod fill;
mod initialize;
mod verify;

pub use fill::fill;
pub use initialize::{SPADE_GAIN, initialize};
