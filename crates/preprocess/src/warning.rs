//! What a person should know although the result can be computed.

use crate::error::rgb;
use crate::joint::Joint;

/// What a person should know although the result can be computed. Each message names the thing and the consequence; the
/// caller knows the file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// Keypoints of several people.
    #[error("holds {count} people; the largest, number {}, is taken", taken + 1)]
    SeveralPeople {
        /// How many have keypoints.
        count: usize,
        /// The index of the one that is taken.
        taken: usize,
    },
    /// A joint was found where there is no picture.
    #[error(
        "the {joint} at ({x:.1}, {y:.1}) is outside of the {height}x{width} picture (height x width); do the \
         keypoints belong to it?"
    )]
    JointOutside {
        /// Which.
        joint: Joint,
        /// Its column.
        x: f64,
        /// Its row.
        y: f64,
        /// The picture's rows.
        height: usize,
        /// The picture's columns.
        width: usize,
    },
    /// A joint was not found to which the gray area is drawn all the same.
    #[error(
        "the {joint} was not found: as in the authors' code, gray is drawn to the picture's upper left corner \
         instead, {consequence}"
    )]
    DrawnToCorner {
        /// Which.
        joint: Joint,
        /// What the result lacks.
        consequence: &'static str,
    },
    /// Both hips are one point or were not found.
    #[error(
        "the hips are one point or were not found: torso and hips are left out of the gray area, and the old garment \
         stays visible there"
    )]
    NoHips,
    /// A joint of an arm was not found.
    #[error("the {joint} was not found: {consequence}")]
    ArmIncomplete {
        /// Which.
        joint: Joint,
        /// What the result lacks.
        consequence: &'static str,
    },
    /// A label map without a person.
    #[error("every label is background: the map shows no person")]
    NoPerson,
    /// A label map without a garment on the upper body.
    #[error(
        "no pixel is labelled as upper clothes, dress or coat: there is nothing to replace, or the labels mean \
         something else"
    )]
    NoGarment,
    /// A label map in which parts of a person are in the wrong order.
    #[error("the {upper} is labelled below the {lower}: do the labels mean something else?")]
    UpsideDown {
        /// What should be higher.
        upper: &'static str,
        /// What should be lower.
        lower: &'static str,
    },
    /// A label map in which a small part of a person is larger than a large one.
    #[error("more pixels are labelled as {large} than as {small}: do the labels mean something else?")]
    LargerThan {
        /// What has more pixels.
        large: &'static str,
        /// What has fewer.
        small: &'static str,
    },
    /// A label that cannot be where a joint is.
    #[error(
        "the {place} lies on label {label} of LIP, where it cannot be: do labels and keypoints belong to one picture?"
    )]
    LabelUnder {
        /// The joint, or the place between joints.
        place: &'static str,
        /// The label there, as one of LIP's.
        label: u8,
    },
    /// A label map that fits another set better.
    #[error("the labels fit those of {set} better")]
    OtherLabelSet {
        /// The other set's name.
        set: &'static str,
    },
    /// A label map with too few different labels.
    #[error(
        "all labels are below 7: are they those of Pascal Person Part, or the image generator's classes? Neither \
         serves for a person"
    )]
    FewLabels,
    /// A garment's mask that is nearly all black.
    #[error(
        "less than a hundredth of the mask is white; it must be white where the garment is. Correct it, or give none, so \
         that the garment is cut out"
    )]
    MaskTiny,
    /// A garment's mask that is white where the background is.
    #[error(
        "the mask is white along the picture's border, where the photo shows its background; it must be white where \
         the garment is. Invert it, or give none, so that the garment is cut out"
    )]
    MaskInverted,
    /// A garment's mask that is not where something differs from the background.
    #[error(
        "the mask leaves out {missed} % of what differs from the photo's background: is it inverted, turned, or another \
         garment's? Correct it, or give none, so that the garment is cut out"
    )]
    MaskElsewhere {
        /// The share that is left out, in percent.
        missed: u8,
    },
    /// A garment before another background than those that the networks learned from.
    #[error(
        "the garment's background is {}, but {} in the pictures that published weights learned from; \
         --replace-background replaces it", rgb(*colour), rgb([*usual; 3])
    )]
    Background {
        /// Its colour.
        colour: [u8; 3],
        /// The usual gray.
        usual: u8,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_in_words_and_the_remedy_is_named() {
        let said = |colour| Warning::Background { colour, usual: 246 }.to_string();
        let white = said([255; 3]);
        assert!(
            white.contains("background is white, but gray 246 in") && white.contains("--replace-background"),
            "{white}"
        );
        assert!(said([250, 240, 9]).contains("is red 250, green 240, blue 9, but"));
    }
}
