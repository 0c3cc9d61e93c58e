//! Pictures, masks and label maps in memory, read from files and written to them.

mod error;
mod format;
mod image;
mod jpeg;
mod note;
mod orientation;
mod palette;
mod parse;
mod read;
mod write;

pub use error::{Error, Result};
pub use image::{Image, Plane};
pub use note::Note;
pub use palette::PALETTE;
pub use parse::{ParseLabels, labels_from_parse};
pub use read::{
    SampleFiles, read_labels, read_labels_noting, read_mask, read_mask_noting, read_rgb, read_rgb8, read_sample,
    read_sample_noting, read_size, read_skeleton_noting, same_size,
};
pub use write::{write_labels, write_lip_labels, write_mask, write_rgb, write_rgb8, write_sheet};

#[cfg(test)]
mod tests;
