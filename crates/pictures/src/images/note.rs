//! What was read otherwise than a file says, or looks wrong, although it can be read.

use std::path::PathBuf;

/// Something about a file that its owner should know. Each message names the file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Note {
    /// A mask of two values of which the larger one is not white, such as 0 and 1.
    #[error("{}: its largest value is {largest} of 255, so it is taken for white; masks are 0 and 255", path.display())]
    MaskScaled {
        /// The file.
        path: PathBuf,
        /// Its largest value, where white is 255.
        largest: f32,
    },
    /// A mask without any bright pixel.
    #[error("{}: its largest value is {largest} of 255, but masks are white where the garment is", path.display())]
    MaskDark {
        /// The file.
        path: PathBuf,
        /// Its largest value, where white is 255.
        largest: f32,
    },
    /// A picture in place of a mask.
    #[error(
        "{}: {share} % of it is gray, neither dark nor bright, so it looks like a photo or a label map; masks are black and \
         white", path.display()
    )]
    MaskGray {
        /// The file.
        path: PathBuf,
        /// The share of gray areas, in percent.
        share: u8,
    },
    /// A skeleton that is not on black.
    #[error(
        "{}: most of the skeleton's picture is not black, as if it were drawn over the photo; run OpenPose with \
         --disable_blending, or leave the picture out of `wear`, which then draws the skeleton from the keypoints",
        path.display()
    )]
    SkeletonNotOnBlack {
        /// The file.
        path: PathBuf,
    },
    /// A parse map in the colours of a known palette, with other indices or none.
    #[error(
        "{}: its indices are not in the order of any known palette, but its colours are those of {palette}; labels are \
         taken from them",
        path.display()
    )]
    LabelsByColour {
        /// The file.
        path: PathBuf,
        /// The palette.
        palette: &'static str,
    },
    /// A parse map whose indices are in no known order, and whose colours are those of several palettes.
    #[error("{}: its palette is in another order than any known one; check that its indices are the labels", path.display())]
    LabelsUnsure {
        /// The file.
        path: PathBuf,
    },
}
