//! VITON-HD's work on the host.

pub mod agnostic;
mod error;
mod joint;
mod keypoints;
pub mod labels;
mod picture;
mod raster;
mod skeleton;
mod warning;

pub use error::{Error, Result};
pub use joint::Joint;
pub use keypoints::{Keypoints, MOST_BYTES};
pub use picture::{Labels, Mask, Picture, Rgb8};
pub use skeleton::skeleton;
pub use warning::Warning;
