//! State dicts of networks: the strict report of what does not fit, weights to start a training from, weights for tests.

mod fill;
mod initialize;
mod verify;

pub use fill::fill;
pub use initialize::{SPADE_GAIN, initialize};
