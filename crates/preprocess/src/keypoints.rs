//! OpenPose's JSON files.

use crate::error::{Error, Result};
use crate::joint::Joint;
use crate::warning::Warning;
use serde::Deserialize;

/// The most bytes that a file of keypoints may have: some thousand people with hands and faces.
pub const MOST_BYTES: usize = 16 << 20;

/// Coordinates beyond this distance from the origin cannot be pixels.
const ABSURD: f64 = 1e6;

/// A person's joints: column and row in pixels of the person's picture, in the order of [`Joint`]; (0, 0) is a joint
/// that was not found.
#[derive(Clone, Debug, PartialEq)]
pub struct Keypoints(pub [[f64; 2]; 25]);

#[derive(Deserialize)]
struct File {
    people: Vec<Person>,
}

/// Numbers are (column, row, confidence) for each joint. Some programs write null for what is not finite.
#[derive(Deserialize)]
struct Person {
    pose_keypoints_2d: Option<Vec<Option<f64>>>,
    /// The name before OpenPose 1.2.
    pose_keypoints: Option<Vec<Option<f64>>>,
}

impl Keypoints {
    /// Reads OpenPose's JSON: its BODY_25 (75 numbers a person) or COCO-18 (54), under `pose_keypoints_2d` or
    /// `pose_keypoints`. Of several people the largest is taken, by the box around the joints found; confidences are
    /// ignored. `height` and `width` are those of the person's picture: joints outside of it give a warning.
    ///
    /// # Errors
    /// If the bytes are no such JSON, hold no person or no joint, or if coordinates cannot be pixels.
    pub fn from_json(bytes: &[u8], height: usize, width: usize) -> Result<(Self, Vec<Warning>)> {
        let text = text(bytes)?;
        if text.trim_start().starts_with('[') {
            return Err(Error::KeypointsList);
        }
        let file: File = serde_json::from_str(text).map_err(|cause| not_json(text, cause))?;
        let mut warnings = Vec::new();
        let mut largest: Option<(usize, f64, Self)> = None;
        let (mut count, mut has_bodiless) = (0, false);
        for (index, person) in file.people.into_iter().enumerate() {
            let Some(numbers) = person.pose_keypoints_2d.or(person.pose_keypoints) else {
                has_bodiless = true;
                continue;
            };
            if numbers.is_empty() {
                continue; // Only a face or hands were found.
            }
            count += 1;
            let keypoints = Self::from_numbers(&numbers)?;
            let area = keypoints.box_area();
            if largest.as_ref().is_none_or(|(_, most, _)| area > *most) {
                largest = Some((index, area, keypoints));
            }
        }
        let nobody = || if has_bodiless { Error::NoPoseKeypoints } else { Error::NoPeople };
        let (taken, _, keypoints) = largest.ok_or_else(nobody)?;
        keypoints.expect_pixels()?;
        if count > 1 {
            warnings.push(Warning::SeveralPeople { count, taken });
        }
        let inside = |[x, y]: [f64; 2]| (0.0..width as f64).contains(&x) && (0.0..height as f64).contains(&y);
        let outside = keypoints.found().filter(|&(_, point)| !inside(point));
        warnings.extend(outside.map(|(joint, [x, y])| Warning::JointOutside { joint, x, y, height, width }));
        Ok((keypoints, warnings))
    }

    fn from_numbers(numbers: &[Option<f64>]) -> Result<Self> {
        let order = match numbers.len() {
            75 => &Joint::ALL[..],
            54 => &COCO_18[..],
            count => return Err(Error::KeypointCount { count }),
        };
        let mut points = [[0.0; 2]; 25];
        for (&joint, numbers) in order.iter().zip(numbers.chunks_exact(3)) {
            let coordinate = |value: Option<f64>| match value {
                Some(value) if value.abs() <= ABSURD => Ok(value),
                value => Err(Error::Coordinate { joint, value: value.unwrap_or(f64::NAN) }),
            };
            points[joint as usize] = [coordinate(numbers[0])?, coordinate(numbers[1])?];
        }
        let mut keypoints = Self(points);
        if order.len() == COCO_18.len()
            && let (Some([ax, ay]), Some([bx, by])) = (keypoints.get(Joint::RightHip), keypoints.get(Joint::LeftHip))
        {
            keypoints.0[Joint::MidHip as usize] = [(ax + bx) / 2.0, (ay + by) / 2.0];
        }
        Ok(keypoints)
    }

    /// Where a joint was found.
    pub fn get(&self, joint: Joint) -> Option<[f64; 2]> {
        Some(self.0[joint as usize]).filter(|&point| point != [0.0; 2])
    }

    /// The joints that were found.
    pub fn found(&self) -> impl Iterator<Item = (Joint, [f64; 2])> {
        Joint::ALL.into_iter().filter_map(|joint| Some((joint, self.get(joint)?)))
    }

    /// The area of the box around the joints found.
    fn box_area(&self) -> f64 {
        let extent = |axis: usize| {
            let values = || self.found().map(move |(_, point)| point[axis]);
            values().reduce(f64::max).unwrap_or(0.0) - values().reduce(f64::min).unwrap_or(0.0)
        };
        extent(0) * extent(1)
    }

    /// Refuses people without a joint, and coordinates that are shares of the picture's size.
    fn expect_pixels(&self) -> Result<()> {
        if self.found().next().is_none() {
            return Err(Error::NoJoints);
        }
        if self.found().all(|(_, point)| point.iter().all(|v| v.abs() <= 1.0)) {
            return Err(Error::NormalizedKeypoints);
        }
        Ok(())
    }
}

/// The joints in the order of OpenPose's COCO-18, which has no middle of the hips and no feet.
#[rustfmt::skip]
const COCO_18: [Joint; 18] = {
    use Joint::*;
    [
        Nose, Neck, RightShoulder, RightElbow, RightWrist, LeftShoulder, LeftElbow, LeftWrist, RightHip, RightKnee,
        RightAnkle, LeftHip, LeftKnee, LeftAnkle, RightEye, LeftEye, RightEar, LeftEar,
    ]
};

/// The bytes as text without a byte order mark.
fn text(bytes: &[u8]) -> Result<&str> {
    if bytes.len() > MOST_BYTES {
        return Err(Error::KeypointsTooLong { bytes: bytes.len(), limit: MOST_BYTES });
    }
    // JSON begins with two ASCII characters: a zero byte among them means two bytes a character.
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || bytes.iter().take(2).any(|&b| b == 0) {
        return Err(Error::KeypointsNotUtf8);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|_| Error::KeypointsNotUtf8)
}

/// Python writes NaN and Infinity, which JSON has not.
fn not_json(text: &str, cause: serde_json::Error) -> Error {
    let line = text.lines().nth(cause.line().saturating_sub(1)).unwrap_or("");
    let rest = line.get(cause.column().saturating_sub(1)..).unwrap_or("").trim_start_matches('-');
    let word = ["NaN", "Infinity"].into_iter().find(|word| rest.starts_with(&word[..1]) && line.contains(word));
    match word {
        Some(word) => Error::KeypointsNotFinite { word, line: cause.line(), column: cause.column() },
        None => Error::KeypointsJson { cause },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(people: &[&[f64]]) -> String {
        let people: Vec<_> = people.iter().map(|p| format!(r#"{{"pose_keypoints_2d":{p:?}}}"#)).collect();
        format!(r#"{{"version":1.3,"people":[{}]}}"#, people.join(","))
    }

    /// Joint i at (10 i + 10, 20 i + 20) times `scale`.
    fn numbers(count: usize, scale: f64) -> Vec<f64> {
        (0..count).flat_map(|i| [10.0 * scale * (i + 1) as f64, 20.0 * scale * (i + 1) as f64, 0.9]).collect()
    }

    fn read(text: &str) -> Result<(Keypoints, Vec<Warning>)> {
        Keypoints::from_json(text.as_bytes(), 1024, 768)
    }

    fn message(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn body_25_and_both_names_are_read() {
        let text = json(&[&numbers(25, 1.0)]);
        let (keypoints, warnings) = read(&text).unwrap();
        assert_eq!((keypoints.0[4], warnings), ([50.0, 100.0], vec![]));
        let old = text.replace("pose_keypoints_2d", "pose_keypoints");
        assert_eq!(read(&old).unwrap().0, keypoints);
        assert_eq!(read(&format!("\u{feff}{text}")).unwrap().0, keypoints);
    }

    #[test]
    fn coco_18_has_other_hips() {
        let (keypoints, _) = read(&json(&[&numbers(18, 1.0)])).unwrap();
        assert_eq!(keypoints.get(Joint::RightHip), Some([90.0, 180.0]));
        assert_eq!(keypoints.get(Joint::LeftHip), Some([120.0, 240.0]));
        assert_eq!(keypoints.get(Joint::MidHip), Some([105.0, 210.0]));
        assert_eq!(keypoints.get(Joint::LeftHeel), None);
        assert_eq!(keypoints.get(Joint::LeftEar), Some([180.0, 360.0]));
    }

    #[test]
    fn the_largest_person_is_taken() {
        let (keypoints, warnings) = read(&json(&[&numbers(25, 0.5), &numbers(25, 1.0), &[]])).unwrap();
        assert_eq!(keypoints.0[0], [10.0, 20.0]);
        assert_eq!(warnings, [Warning::SeveralPeople { count: 2, taken: 1 }]);
    }

    #[test]
    fn people_without_a_body_are_passed_over() {
        let text = json(&[&numbers(25, 1.0)]);
        let person = &text[text.find("[{").unwrap() + 1..text.len() - 2];
        for other in ["{}", r#"{"pose_keypoints_2d":null}"#, r#"{"face_keypoints_2d":[1,2,3]}"#] {
            for people in [format!("{other},{person}"), format!("{person},{other}")] {
                let (keypoints, warnings) = read(&format!(r#"{{"people":[{people}]}}"#)).unwrap();
                assert_eq!((keypoints.0[0], warnings), ([10.0, 20.0], vec![]), "{people}");
            }
            assert!(message(&format!(r#"{{"people":[{other},{other}]}}"#)).contains("pose_keypoints_2d"));
        }
    }

    #[test]
    fn joints_outside_are_named() {
        let mut numbers = numbers(25, 1.0);
        (numbers[9], numbers[13]) = (-3.0, 1024.0);
        let (_, warnings) = read(&json(&[&numbers])).unwrap();
        let said: Vec<_> = warnings.iter().map(Warning::to_string).collect();
        assert!(said[0].contains("right elbow at (-3.0, 80.0)") && said[1].contains("right wrist"), "{said:?}");
    }

    #[test]
    fn coordinates_are_read_to_the_last_bit() {
        let mut text = json(&[&numbers(25, 1.0)]);
        text = text.replacen("10.0", "300.99999999999994", 1);
        assert_eq!(read(&text).unwrap().0.0[0][0], 300.999_999_999_999_94);
        // Fast but inexact parsing is off by a bit here.
        text = text.replacen("300.99999999999994", "243.49393849621126", 1);
        assert_eq!(read(&text).unwrap().0.0[0][0], "243.49393849621126".parse::<f64>().unwrap());
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert!(message(r#"{"people":[]}"#).contains("no person"));
        assert!(message(r#"{"people":[{}]}"#).contains("pose_keypoints_2d"));
        assert!(message(&json(&[&numbers(17, 1.0)])).contains("51 numbers"));
        assert!(message(&json(&[&[0.0; 75]])).contains("no joint"));
        assert!(message(&json(&[&numbers(25, 0.001)])).contains("keypoint_scale"));
        let mut absurd = numbers(25, 1.0);
        absurd[3] = 1e300;
        assert!(message(&json(&[&absurd])).contains("neck"), "{}", message(&json(&[&absurd])));
        let text = json(&[&numbers(25, 1.0)]);
        assert!(message(&text.replacen("20.0", "null", 1)).contains("nose"));
        assert!(message(&text.replacen("20.0", "NaN", 1)).contains("NaN"));
        assert!(message(&text.replacen("20.0", "-Infinity", 1)).contains("Infinity"));
        assert!(message(&text.replacen("20.0", "1e999", 1)).contains("out of range"));
        assert!(message(&text[..40]).contains("EOF"));
        let alpha_pose = message(r#" [{"image_id":"a.jpg","keypoints":[1.0,2.0,0.9]}]"#);
        assert!(alpha_pose.contains("AlphaPose") && alpha_pose.contains(r#"{"people": [{"pose_keypoints_2d""#));
    }

    #[test]
    fn hostile_files_are_errors() {
        for nested in ["[".repeat(100_000), r#"{"people":"#.repeat(100_000), format!("{{\"a\":{}", "[".repeat(100_000))]
        {
            read(&nested).unwrap_err();
            read(&format!(r#"{{"people":[{{"pose_keypoints_2d":{nested}"#)).unwrap_err();
            read(&format!(r#"{{"people":[{{"hand":{nested}"#)).unwrap_err();
        }
        let utf16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [&utf16[..], &utf16[2..]] {
            let error = Keypoints::from_json(bytes, 8, 8).unwrap_err();
            assert!(matches!(error, Error::KeypointsNotUtf8), "{error}");
        }
        let error = Keypoints::from_json(&vec![b' '; MOST_BYTES + 1], 8, 8).unwrap_err();
        assert!(matches!(error, Error::KeypointsTooLong { .. }), "{error}");
        Keypoints::from_json(b"", 8, 8).unwrap_err();
        Keypoints::from_json(b"\xff", 8, 8).unwrap_err();
    }
}
