//! The person without the old garment: labels without garment, neck and arms, and the picture with gray over them.
//!
//! Drawn as the authors of VITON-HD draw it, to the pixel, oddities included; [`warnings`] tells where those show.

use crate::error::Result;
use crate::joint::Joint::{self, LeftElbow, LeftHip, LeftShoulder, LeftWrist, Neck};
use crate::joint::Joint::{RightElbow, RightHip, RightShoulder, RightWrist};
use crate::keypoints::Keypoints;
use crate::picture::{Labels, Mask, Rgb8};
use crate::raster::{Point, ellipse, line, quadrilateral, rectangle};
use crate::warning::Warning;

/// The byte that the picture is painted with.
pub const GRAY: u8 = 128;

/// LIP's labels of garments on the upper body: upper clothes, dress, coat.
const UPPER: [u8; 3] = [5, 6, 7];
/// LIP's label of the neck.
const NECK: u8 = 10;
/// LIP's labels that come back over the gray: face with glasses, and all below the waist but socks. Hair and hat do
/// not.
const KEPT: [u8; 8] = [4, 13, 9, 12, 16, 17, 18, 19];

/// The units, in pixels, in which the areas around the bones are measured; at least 1. Lines along the bones are 10 units
/// wide, discs at shoulders and elbows have a radius of 5 in the gray area and of 15 in the arms' labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Radii {
    /// The unit of what is removed from the arms' labels: 10 pixels at 1024x768 in the authors' code.
    pub labels: u32,
    /// The unit of the gray area: 20 pixels at 1024x768 in the authors' code.
    pub gray: u32,
}

impl Radii {
    /// The authors' units, for pictures of 1024x768.
    pub const PUBLISHED: Self = Self { labels: 10, gray: 20 };

    /// The authors' units in proportion to the picture's height, rounded. Their own code does not scale them.
    pub fn scaled(height: usize) -> Self {
        let scale = |radius: u32| ((f64::from(radius) * height as f64 / 1024.0).round() as u32).max(1);
        Self { labels: scale(Self::PUBLISHED.labels), gray: scale(Self::PUBLISHED.gray) }
    }
}

/// Labels of LIP without garment, neck and what of each arm is near its bones: those become 0. `r` is
/// [`Radii::labels`].
///
/// Each arm is a chain of joints that starts at the other shoulder. A joint that is missing, or whose predecessor is,
/// is passed over.
pub fn parse_agnostic(labels: &Labels, keypoints: &Keypoints, r: u32) -> Labels {
    let mut out = labels.map(|label| if UPPER.contains(&label) || label == NECK { 0 } else { label });
    let left = (14, [RightShoulder, LeftShoulder, LeftElbow, LeftWrist]);
    let right = (15, [LeftShoulder, RightShoulder, RightElbow, RightWrist]);
    for (label, [mut last, shoulder, elbow, wrist]) in [left, right] {
        let mut near = Mask::filled(labels.height(), labels.width(), false);
        for joint in [shoulder, elbow, wrist] {
            let (Some(from), Some(to)) = (keypoints.get(last), keypoints.get(joint)) else {
                continue;
            };
            line(&mut near, from, to, 10 * r);
            disc(&mut near, to, if joint == wrist { 4 * r } else { 15 * r });
            last = joint;
        }
        for y in 0..labels.height() {
            let pixels = out.row_mut(y).iter_mut().zip(near.row(y));
            pixels.filter(|(found, near)| **near && **found == label).for_each(|(found, _)| *found = 0);
        }
    }
    out
}

/// Where the picture is painted over, before face and lower body come back. `r` is [`Radii::gray`].
///
/// The hips are moved as far apart as the shoulders are. Only elbows and wrists may be missing: a missing shoulder, hip
/// or neck is drawn to (0, 0). Where both hips are one point the authors divide by zero; here all that touches a hip is
/// then left out.
pub fn gray_area(height: usize, width: usize, keypoints: &Keypoints, r: u32) -> Mask {
    let mut area = Mask::filled(height, width, false);
    let at = |joint: Joint| keypoints.0[joint as usize];
    let (right_shoulder, left_shoulder) = (at(RightShoulder), at(LeftShoulder));
    let hips = spread_hips(at(RightHip), at(LeftHip), distance(left_shoulder, right_shoulder));

    line(&mut area, right_shoulder, left_shoulder, 10 * r);
    disc(&mut area, right_shoulder, 5 * r);
    disc(&mut area, left_shoulder, 5 * r);
    let limbs =
        [(RightShoulder, RightElbow), (RightElbow, RightWrist), (LeftShoulder, LeftElbow), (LeftElbow, LeftWrist)];
    for (from, to) in limbs {
        if let (Some(from), Some(to)) = (keypoints.get(from), keypoints.get(to)) {
            line(&mut area, from, to, 10 * r);
            disc(&mut area, to, 5 * r);
        }
    }
    if let Some([right_hip, left_hip]) = hips {
        for hip in [right_hip, left_hip] {
            around(&mut area, hip, 3 * r, 6 * r, ellipse);
        }
        line(&mut area, right_shoulder, right_hip, 6 * r);
        line(&mut area, left_shoulder, left_hip, 6 * r);
        line(&mut area, right_hip, left_hip, 12 * r);
        quadrilateral(&mut area, [right_shoulder, left_shoulder, left_hip, right_hip]);
    }
    around(&mut area, at(Neck), 7 * r, 7 * r, rectangle);
    area
}

/// What becomes gray: the gray area without face and lower body. `r` is [`Radii::gray`].
pub fn painted_area(labels: &Labels, keypoints: &Keypoints, r: u32) -> Mask {
    let mut area = gray_area(labels.height(), labels.width(), keypoints, r);
    for y in 0..labels.height() {
        area.row_mut(y).iter_mut().zip(labels.row(y)).for_each(|(gray, label)| *gray &= !KEPT.contains(label));
    }
    area
}

/// The picture with torso, neck and arms painted gray. `r` is [`Radii::gray`].
///
/// # Errors
/// If the picture and its labels differ in size.
pub fn image_agnostic(picture: &Rgb8, labels: &Labels, keypoints: &Keypoints, r: u32) -> Result<Rgb8> {
    picture.expect_size_of(labels, "the person's picture and its labels")?;
    let painted = painted_area(labels, keypoints, r);
    picture.zip(&painted, "the picture and its gray area", |pixel, gray| if gray { [GRAY; 3] } else { pixel })
}

/// What the results lack where joints were not found.
pub fn warnings(keypoints: &Keypoints) -> Vec<Warning> {
    let missing = |joint: Joint| keypoints.get(joint).is_none();
    let mut found = Vec::new();
    let corner = |joint, consequence| Warning::DrawnToCorner { joint, consequence };
    if missing(Neck) {
        found.push(corner(Neck, "and neckline and collar may stay visible"));
    }
    for shoulder in [RightShoulder, LeftShoulder].into_iter().filter(|&joint| missing(joint)) {
        found.push(corner(shoulder, "and its side of the torso and its arm may stay visible"));
    }
    if keypoints.0[RightHip as usize] == keypoints.0[LeftHip as usize] {
        found.push(Warning::NoHips);
    } else {
        let hips = [RightHip, LeftHip].into_iter().filter(|&joint| missing(joint));
        found.extend(hips.map(|joint| corner(joint, "and the lower torso may stay visible")));
    }
    for joint in [RightElbow, RightWrist, LeftElbow, LeftWrist].into_iter().filter(|&joint| missing(joint)) {
        let consequence = match joint {
            RightWrist | LeftWrist => "the forearm and its sleeve stay as they are",
            _ => "the arm and its sleeve stay as they are",
        };
        found.push(Warning::ArmIncomplete { joint, consequence });
    }
    found
}

fn distance(a: Point, b: Point) -> f64 {
    let (dx, dy) = (a[0] - b[0], a[1] - b[1]);
    (dx * dx + dy * dy).sqrt()
}

/// The hips, `wanted` pixels apart. None if they are one point.
fn spread_hips(right: Point, left: Point, wanted: f64) -> Option<[Point; 2]> {
    let apart = distance(left, right);
    let moved = |hip: Point| {
        [0, 1].map(|axis| {
            let middle = (right[axis] + left[axis]) / 2.0;
            // The order of these operations decides which pixel a corner is truncated to.
            middle + (hip[axis] - middle) / apart * wanted
        })
    };
    (apart > 0.0).then(|| [moved(right), moved(left)])
}

/// Draws what the box from `rx`, `ry` before a point to as much behind it holds.
fn around(mask: &mut Mask, [x, y]: Point, rx: u32, ry: u32, draw: impl Fn(&mut Mask, Point, Point)) {
    let (rx, ry) = (f64::from(rx), f64::from(ry));
    draw(mask, [x - rx, y - ry], [x + rx, y + ry]);
}

fn disc(mask: &mut Mask, centre: Point, radius: u32) {
    around(mask, centre, radius, radius, ellipse);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radii_scale_with_the_height() {
        assert_eq!(Radii::scaled(1024), Radii::PUBLISHED);
        assert_eq!(Radii::scaled(256), Radii { labels: 3, gray: 5 });
        assert_eq!(Radii::scaled(1), Radii { labels: 1, gray: 1 });
    }

    #[test]
    fn missing_joints_are_named_with_the_consequence() {
        let mut keypoints = Keypoints(std::array::from_fn(|i| [30.0 + i as f64, 40.0 + i as f64]));
        assert_eq!(warnings(&keypoints), []);
        for joint in [Neck, LeftShoulder, RightHip, LeftElbow, RightWrist] {
            keypoints.0[joint as usize] = [0.0; 2];
        }
        let said = warnings(&keypoints).iter().map(Warning::to_string).collect::<Vec<_>>();
        for (said, name) in said.iter().zip(["neck", "left shoulder", "right hip", "right wrist", "left elbow"]) {
            assert!(said.contains(name), "{said}");
        }
        assert_eq!(said.len(), 5);
        keypoints.0[LeftHip as usize] = [0.0; 2];
        assert!(warnings(&keypoints).contains(&Warning::NoHips));
    }

    #[test]
    fn hostile_keypoints_do_no_harm() {
        let labels = Labels::filled(40, 30, 14);
        for value in [f64::NAN, f64::INFINITY, -1e300, 1e6, f64::MIN_POSITIVE] {
            let keypoints = Keypoints([[value, -value]; 25]);
            parse_agnostic(&labels, &keypoints, 10);
            gray_area(40, 30, &keypoints, 20);
        }
    }
}
