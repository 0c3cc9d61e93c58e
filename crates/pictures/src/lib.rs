//! Pictures for the networks: picture files, datasets in VITON-HD's layout, scores, contact sheets.
//!
//! Not a general image library. Pictures in memory are RGB planes of `f32` in [-1, 1], as the networks take them; files
//! are read as PNG, JPEG, WebP, GIF, BMP or TIFF, by their content, and turned upright as EXIF says; they are written as
//! PNG. Nothing is cropped.
//!
//! Start with [`images::Image`], a picture in memory, and [`images::read_rgb`] and [`images::write_rgb`].
//! [`images::read_sample`] reads the generator's inputs, [`dataset::Dataset`] a folder of examples,
//! [`folder::Folder`] finds pictures by name,
//! [`metrics::Comparison`] scores one picture against another, and [`sheet::sheet`] lays out many.
//! [`pipeline::overlapped`] reads, draws and writes many at once.
//!
//! ```
//! use alias_pictures::images::{Image, read_rgb, write_rgb};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("red.png");
//! write_rgb(&path, &Image::filled(4, 6, [1.0, -1.0, -1.0]))?; // height, width, colour
//! let red = read_rgb(&path)?;
//! assert_eq!((red.height, red.width, red.pixel(3, 5)), (4, 6, [1.0, -1.0, -1.0]));
//! # Ok(())
//! # }
//! ```

pub mod dataset;
pub mod folder;
pub mod font;
pub mod images;
pub mod metrics;
mod pairs;
pub mod pipeline;
pub mod resize;
pub mod sheet;
pub mod wardrobe;
