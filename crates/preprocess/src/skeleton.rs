//! The skeleton picture, as OpenPose's GPU renderer draws it on black (`*_rendered.png` in the data set).

use crate::joint::Joint::{self, *};
use crate::keypoints::Keypoints;
use crate::picture::Rgb8;

/// OpenPose's pairs of joints, in the order drawn. A line has the colour of its second joint.
#[rustfmt::skip]
const PAIRS: [(Joint, Joint); 24] = [
    (Neck, MidHip), (Neck, RightShoulder), (Neck, LeftShoulder), (RightShoulder, RightElbow),
    (RightElbow, RightWrist), (LeftShoulder, LeftElbow), (LeftElbow, LeftWrist), (MidHip, RightHip),
    (RightHip, RightKnee), (RightKnee, RightAnkle), (MidHip, LeftHip), (LeftHip, LeftKnee), (LeftKnee, LeftAnkle),
    (Neck, Nose), (Nose, RightEye), (RightEye, RightEar), (Nose, LeftEye), (LeftEye, LeftEar),
    (LeftAnkle, LeftBigToe), (LeftBigToe, LeftSmallToe), (LeftAnkle, LeftHeel), (RightAnkle, RightBigToe),
    (RightBigToe, RightSmallToe), (RightAnkle, RightHeel),
];

/// OpenPose's colours of the joints, red, green, blue.
#[rustfmt::skip]
const COLOURS: [[u8; 3]; 25] = [
    [255, 0, 85], [255, 0, 0], [255, 85, 0], [255, 170, 0], [255, 255, 0], [170, 255, 0], [85, 255, 0], [0, 255, 0],
    [255, 0, 0], [0, 255, 85], [0, 255, 170], [0, 255, 255], [0, 170, 255], [0, 85, 255], [0, 0, 255], [255, 0, 170],
    [170, 0, 255], [255, 0, 255], [85, 0, 255], [0, 0, 255], [0, 0, 255], [0, 0, 255], [0, 255, 255], [0, 255, 255],
    [0, 255, 255],
];

/// OpenPose's opacity of each line and disc.
const OPACITY: f64 = 0.6;

/// Draws the joints found and the lines between them.
///
/// As in OpenPose, a line is an ellipse with the joints at its ends and a half width of a 120th of the picture's
/// shorter side, a joint a disc with a radius of a 100th; both shrink, to a third at most, for people whose box's
/// height and width sum to less than 400 pixels. Each is laid over those before it with an opacity of 0.6.
///
/// # Panics
/// If height or width is 0.
pub fn skeleton(height: usize, width: usize, keypoints: &Keypoints) -> Rgb8 {
    let mut canvas = Canvas(crate::picture::Picture::filled(height, width, [0.0; 3]));
    let extent = |axis: usize| {
        let values = || keypoints.found().map(move |(_, point)| point[axis]);
        values().reduce(f64::max).unwrap_or(0.0) - values().reduce(f64::min).unwrap_or(0.0)
    };
    let scale = ((extent(0) + extent(1)) / 400.0).clamp(0.33, 1.0) * height.min(width) as f64;
    let (radius, half_width) = (scale / 100.0, scale / 120.0);
    for (from, to) in PAIRS {
        if let (Some(a), Some(b)) = (keypoints.get(from), keypoints.get(to)) {
            canvas.line(a, b, half_width, COLOURS[to as usize]);
        }
    }
    for (joint, point) in keypoints.found() {
        let inside = |x: f64, y: f64| (x - point[0]).powi(2) + (y - point[1]).powi(2) <= radius * radius;
        canvas.blend([point, point], radius, COLOURS[joint as usize], inside);
    }
    canvas.0.map(|pixel| pixel.map(|v: f64| v.round() as u8))
}

struct Canvas(crate::picture::Picture<[f64; 3]>);

impl Canvas {
    fn line(&mut self, a: [f64; 2], b: [f64; 2], half_width: f64, colour: [u8; 3]) {
        let middle = [0, 1].map(|axis| (a[axis] + b[axis]) / 2.0);
        let half = [b[0] - middle[0], b[1] - middle[1]];
        let half_length = half[0].hypot(half[1]);
        let (cosine, sine) = (half[0] / half_length, half[1] / half_length);
        // Where both ends are one point this is NaN or infinite, and nothing is drawn.
        let inside = |x: f64, y: f64| {
            let (x, y) = (x - middle[0], y - middle[1]);
            let (along, across) = (cosine * x + sine * y, sine * x - cosine * y);
            (along / half_length).powi(2) + (across / half_width).powi(2) <= 1.0
        };
        self.blend([a, b], half_width, colour, inside);
    }

    /// Blends the pixels that are `inside` and within `reach` of the box around two points.
    fn blend(&mut self, [a, b]: [[f64; 2]; 2], reach: f64, colour: [u8; 3], inside: impl Fn(f64, f64) -> bool) {
        // A cast clamps what is outside of the picture, and makes NaN 0.
        let range = |axis: usize, size: usize| {
            let (low, high) = (a[axis].min(b[axis]) - reach, a[axis].max(b[axis]) + reach);
            low.floor() as usize..(high.ceil() as usize).saturating_add(1).min(size)
        };
        let columns = range(0, self.0.width());
        for y in range(1, self.0.height()) {
            let row = self.0.row_mut(y);
            for x in columns.clone().filter(|&x| inside(x as f64, y as f64)) {
                for (value, colour) in row[x].iter_mut().zip(colour) {
                    *value += OPACITY * (f64::from(colour) - *value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_colour_of_its_second_joint_and_openposes_width() {
        let mut keypoints = Keypoints([[0.0; 2]; 25]);
        keypoints.0[RightElbow as usize] = [60.0, 100.0];
        keypoints.0[RightWrist as usize] = [460.0, 100.0];
        let picture = skeleton(600, 720, &keypoints);
        // 600 / 120 = 5 pixels to either side of the middle.
        assert_eq!(picture.pixel(100, 260), [153, 153, 0]);
        assert_eq!((picture.pixel(105, 260), picture.pixel(106, 260)), ([153, 153, 0], [0; 3]));
        // 600 / 100 = 6 pixels around a joint; the elbow's disc over the end of the line.
        assert_eq!((picture.pixel(106, 60), picture.pixel(107, 60)), ([153, 102, 0], [0; 3]));
        assert_eq!(picture.pixel(100, 54), [153, 102, 0]);
        assert_eq!(picture.pixel(100, 460), [214, 214, 0]);
    }

    #[test]
    fn joints_that_were_not_found_are_not_drawn() {
        let picture = skeleton(64, 48, &Keypoints([[0.0; 2]; 25]));
        assert!(picture.bytes().iter().all(|&b| b == 0));
    }

    #[test]
    fn hostile_keypoints_do_no_harm() {
        for value in [f64::NAN, f64::INFINITY, -1e300, 1e300] {
            skeleton(64, 48, &Keypoints([[value, -value]; 25]));
            skeleton(64, 48, &Keypoints(std::array::from_fn(|i| [value, i as f64])));
        }
    }
}
