//! What a person should know although the result can be computed.

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
        "the {joint} at ({x:.1}, {y:.1}) is outside of the {height}x{width} picture (height x width); do the keypoints belong to it?"
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
        "the {joint} was not found: as in the authors' code, gray is drawn to the picture's upper left corner instead, {consequence}"
    )]
    DrawnToCorner {
        /// Which.
        joint: Joint,
        /// What the result lacks.
        consequence: &'static str,
    },
    /// Both hips are one point or were not found.
    #[error(
        "the hips are one point or were not found: torso and hips are left out of the gray area, and the old garment stays visible there"
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
}
