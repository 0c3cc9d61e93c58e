//! Pictures, masks and label maps in memory, read from files and written to them.

mod error;
mod image;
mod jpeg;
mod parse;
mod read;
mod write;

pub use error::{Error, Result};
pub use image::{Image, Plane};
pub use parse::{ParseLabels, labels_from_parse};
pub use read::{SampleFiles, read_labels, read_mask, read_rgb, read_sample, read_size, same_size};
pub use write::{PALETTE, write_labels, write_rgb, write_sheet};

#[cfg(test)]
mod tests;
