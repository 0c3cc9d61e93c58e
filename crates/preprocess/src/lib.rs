//! VITON-HD's work on the host: from a person's and a garment's pictures to what its networks take, and from the
//! networks' picture back into the person's photo.
//!
//! Everything takes bytes and returns values: no GPU, no files, no network. What the authors' code computes is found
//! again to the pixel, drawing and resizing as Pillow does. What cannot be right is an [`Error`]; what a person should
//! know although the result can be computed is a [`Warning`]. Both name the thing; the caller names the file.
//!
//! | to | use |
//! |---|---|
//! | hold pictures, label maps, masks | [`Rgb8`], [`Labels`], [`Mask`] |
//! | read OpenPose's joints | [`Keypoints::from_json`] |
//! | read a human parser's label map, and check it | [`labels::LabelSet::read`] |
//! | bring pictures to the networks' size, and back | [`Fit`] |
//! | take the old garment off labels and picture | [`agnostic`] |
//! | draw the skeleton picture from joints | [`skeleton()`] |
//! | cut a garment out, and replace its background | [`cutout`] |
//! | put the result into the photo | [`paste()`] |
//!
//! ```
//! use alias_preprocess::agnostic::{Radii, image_agnostic, painted_area, parse_agnostic};
//! use alias_preprocess::labels::LabelSet;
//! use alias_preprocess::{Fit, Keypoints, Labels, Padding, Rgb8, agnostic, paste, skeleton};
//!
//! # fn main() -> alias_preprocess::Result<()> {
//! // A photo of 200x150, all of it garment, and its joints.
//! let photo = Rgb8::filled(200, 150, [90, 60, 30]);
//! let (labels, _) = LabelSet::Lip.read(&Labels::filled(200, 150, 5), None)?;
//! let numbers: Vec<_> = (1..=75).map(f64::from).collect();
//! let json = format!(r#"{{"people":[{{"pose_keypoints_2d":{numbers:?}}}]}}"#);
//! let (keypoints, _) = Keypoints::from_json(json.as_bytes(), 200, 150)?;
//!
//! // What the networks take, at 256x128.
//! let fit = Fit::new(photo.size(), [256, 128])?;
//! let (person, labels) = (fit.picture(&photo, Padding::Edge)?, fit.labels(&labels)?);
//! let (keypoints, radii) = (fit.keypoints(&keypoints), Radii::scaled(256));
//! agnostic::warnings(&keypoints).iter().for_each(|warning| eprintln!("photo.json: {warning}"));
//! let without_garment = parse_agnostic(&labels, &keypoints, radii.labels);
//! let gray = image_agnostic(&person, &labels, &keypoints, radii.gray)?;
//! let pose = skeleton(256, 128, &keypoints);
//! assert_eq!((without_garment.size(), pose.size()), (gray.size(), [256, 128]));
//!
//! // Back: the photo, but for what was painted gray.
//! let generated = gray; // in place of the networks' picture
//! let region = fit.mask_back(&painted_area(&labels, &keypoints, radii.gray))?;
//! let worn = paste(&photo, &fit.picture_back(&generated)?, &region)?;
//! assert_eq!(worn.size(), photo.size());
//! # Ok(())
//! # }
//! ```

pub mod agnostic;
pub mod cutout;
mod error;
mod fit;
mod joint;
mod keypoints;
pub mod labels;
mod paste;
mod picture;
mod raster;
mod resample;
mod skeleton;
mod warning;

pub use error::{Error, Result};
pub use fit::{Fit, Padding};
pub use joint::Joint;
pub use keypoints::{Keypoints, MOST_BYTES};
pub use paste::paste;
pub use picture::{Labels, Mask, Picture, Rgb8};
pub use skeleton::skeleton;
pub use warning::Warning;
