//! What every kernel is checked against: the same mathematics on the host, in float64, as plain loops.
//!
//! [`check`] makes three comparisons for an operation: its result with the twin's, its gradients with the twin's, and
//! the twin's gradients with finite differences of the twin. For development only; nothing that ships depends on it.

mod array;
mod check;
pub mod golden;
mod params;

pub use array::{Array, Random};
pub use check::{Twin, check, gpu, gpu_with_bounds_checks, relative_l2};
pub use params::{check_params, check_struct};
