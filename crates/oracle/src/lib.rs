//! Tests every kernel against its twin: a float64 reference implementation on the host, as plain loops.
//!
//! [`check`] compares an operation's result and gradients with the twin's, and the twin's gradients with finite
//! differences of the twin. For tests only; nothing that ships depends on this crate.

mod array;
mod check;
pub mod golden;
mod params;

pub use array::{Array, Random};
pub use check::{
    Twin, check, check_on_cores, check_on_gpu, device, devices, gpu, gpu_if_any, gpu_with_bounds_checks, own_devices,
    relative_l2,
};
pub use params::{check_params, check_struct};
