//! What can be wrong with what a person brings.

use crate::joint::Joint;

/// The result of preprocessing.
pub type Result<T> = std::result::Result<T, Error>;

/// What can be wrong with pictures, label maps, masks and keypoints. Each message names the thing and the remedy; the
/// caller knows the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A picture that has no pixel, or whose pixels are not as many as its size says.
    #[error(
        "a picture of {height}x{width} (height x width) has at least one pixel and as many as its size says, not \
         {count}"
    )]
    PixelCount {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Pixels that came with it.
        count: usize,
    },
    /// Two pictures that belong together differ in size.
    #[error(
        "{what} must be of one size, but are {}x{} and {}x{} (height x width)", size[0], size[1], other[0], other[1]
    )]
    Sizes {
        /// Both, as in "the picture and its labels".
        what: &'static str,
        /// Height and width of the first.
        size: [usize; 2],
        /// Height and width of the second.
        other: [usize; 2],
    },
    /// A garment's mask that is below or above half white everywhere.
    #[error(
        "the mask is {} everywhere; it must be white where the garment is and black elsewhere",
        of_one_side(*is_white, *nearest)
    )]
    MaskOfOneValue {
        /// Whether it is above.
        is_white: bool,
        /// The value nearest to half white, where white is 255.
        nearest: f32,
    },
    /// Keypoints that are too long a file.
    #[error("{bytes} bytes are more than the {limit} that a file of keypoints may have; is it one?")]
    KeypointsTooLong {
        /// How many there are.
        bytes: usize,
        /// The most allowed.
        limit: usize,
    },
    /// Keypoints in another encoding.
    #[error("keypoints must be JSON in UTF-8, but this is UTF-16 or no text; save it as UTF-8")]
    KeypointsNotUtf8,
    /// Keypoints that are no JSON, or not OpenPose's.
    #[error("keypoints must be JSON as OpenPose writes it: {cause}")]
    KeypointsJson {
        /// Why.
        cause: serde_json::Error,
    },
    /// Keypoints with Python's words for what is not finite.
    #[error(
        "line {line}, column {column} says {word}, which is no coordinate; write 0, 0, 0 for a joint that was not found"
    )]
    KeypointsNotFinite {
        /// NaN or Infinity.
        word: &'static str,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Keypoints of nobody.
    #[error(
        "no person was found in the picture (\"people\" holds no keypoints); take another picture or another detector"
    )]
    NoPeople,
    /// Keypoints of other programs than OpenPose.
    #[error(
        "this is a list, as AlphaPose and MMPose write it, but keypoints must be OpenPose's: run OpenPose with \
         --write_json, or write {{\"people\": [{{\"pose_keypoints_2d\": [column, row, confidence, ...]}}]}} with its joints"
    )]
    KeypointsList,
    /// Nobody has keypoints of the body.
    #[error("a person has neither \"pose_keypoints_2d\" nor \"pose_keypoints\"; run OpenPose with --write_json")]
    NoPoseKeypoints,
    /// A person without a joint.
    #[error(
        "the person has no joint: all are (0, 0), which stands for not found; take another picture or another detector"
    )]
    NoJoints,
    /// Keypoints of another body model.
    #[error(
        "a person has {count} numbers, but OpenPose's BODY_25 has 75 and its COCO-18 has 54 (column, row and \
         confidence of \
         each joint); run OpenPose with --model_pose BODY_25"
    )]
    KeypointCount {
        /// How many numbers there are.
        count: usize,
    },
    /// A coordinate that cannot be a pixel's.
    #[error("the {joint} lies at {value:?}, which is no pixel; write 0, 0, 0 for a joint that was not found")]
    Coordinate {
        /// Whose.
        joint: Joint,
        /// The coordinate; NaN where it is null.
        value: f64,
    },
    /// Coordinates that are shares of the picture's size.
    #[error("all coordinates are between -1 and 1, but pixels are needed; run OpenPose with --keypoint_scale 0")]
    NormalizedKeypoints,
    /// A label set that does not serve for a person.
    #[error("labels of {set} do not serve for a person: {reason}; use a parser with the labels of LIP or ATR")]
    LabelSet {
        /// Its name.
        set: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A label that its set has not.
    #[error(
        "label {value} at column {x}, row {y} is not one of the {count} of {set} (0 to {}); is the map of another \
         set?", count - 1
    )]
    Label {
        /// The label.
        value: u8,
        /// Its column.
        x: usize,
        /// Its row.
        y: usize,
        /// The set's name.
        set: &'static str,
        /// How many labels the set has.
        count: usize,
    },
    /// A garment before a background that is not uniform.
    #[error(
        "the garment cannot be cut out: the border's colours are up to {noise} levels away from their median \
         {} in \
         most places; give the garment's mask, or a picture on a uniform background", rgb(*colour)
    )]
    BackgroundNotUniform {
        /// The median colour.
        colour: [u8; 3],
        /// The upper quartile of the distances from it.
        noise: u8,
    },
    /// A picture in which no garment differs from the background.
    #[error(
        "no garment was found: nothing large differs from the background, {}; give the garment's mask", rgb(*colour)
    )]
    NoCutout {
        /// The background's colour.
        colour: [u8; 3],
    },
    /// A picture of which everything differs from the background.
    #[error("the garment would fill the picture, so that its background is not seen; give the garment's mask")]
    CutoutIsEverything,
    /// A size that the networks cannot work at.
    #[error(
        "height and width must be multiples of 128, not {height}x{width}; 1024x768 is what published weights are for"
    )]
    FineSize {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// A picture of which nothing is left when it is fitted.
    #[error(
        "a picture of {height}x{width} (height x width) is too long and narrow or too large; crop it to the person or \
         garment"
    )]
    TooNarrow {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

/// A colour in words.
pub(crate) fn rgb([red, green, blue]: [u8; 3]) -> String {
    match [red, green, blue] {
        [255, 255, 255] => "white".into(),
        [0, 0, 0] => "black".into(),
        _ if red == green && green == blue => format!("gray {red}"),
        _ => format!("red {red}, green {green}, blue {blue}"),
    }
}

fn of_one_side(is_white: bool, nearest: f32) -> String {
    match (is_white, nearest) {
        (true, 255.0) => "white".into(),
        (true, _) => format!("above half white (its smallest value is {nearest} of 255)"),
        (false, 0.0) => "black".into(),
        (false, _) => format!("below half white (its largest value is {nearest} of 255)"),
    }
}
