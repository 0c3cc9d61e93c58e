//! A network as a plan: the steps that compute it for inputs of one size and one conditioning, made once and run any
//! number of times.
//!
//! `lowering` makes the list of steps from the network's layers, `choice` decides how each is computed, `weights` packs the
//! checkpoint for that, `engine` runs the steps on a GPU or on processor cores, and `session` puts these together.

pub(crate) mod choice;
mod conditioning;
mod cost;
mod engine;
mod label_bands;
mod lowering;
mod session;
mod weights;

pub use choice::{Target, Tuning};
pub use conditioning::Conditioning;
pub use cost::Cost;
pub use lowering::PlanOptions;
pub use session::{Planned, Prepared, Session};
