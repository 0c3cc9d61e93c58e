//! VITON-HD's work on the host.

pub mod agnostic;
mod error;
mod joint;
mod keypoints;
mod picture;
mod raster;
mod warning;

pub use error::{Error, Result};
pub use joint::Joint;
pub use keypoints::{Keypoints, MOST_BYTES};
pub use picture::{Labels, Mask, Picture, Rgb8};
pub use warning::Warning;
