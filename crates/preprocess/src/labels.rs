//! The label sets of human parsers, and whether a label map can be what it is said to be.

use crate::error::{Error, Result};
use crate::joint::Joint::{self, LeftAnkle, LeftHip, LeftShoulder, Nose, RightAnkle, RightHip, RightShoulder};
use crate::keypoints::Keypoints;
use crate::picture::Labels;
use crate::warning::Warning;

/// What the numbers of a label map mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelSet {
    /// The 20 of LIP, in VITON-HD's `image-parse` files; there, as in CIHP, 10 is the neck and other skin of the torso.
    Lip,
    /// The 18 of ATR, as SCHP numbers them.
    Atr,
    /// The 7 of Pascal Person Part, which do not serve: no garments.
    Pascal,
    /// The 7 classes of the image generator, which do not serve: face, trousers and shoes are one.
    Generator,
}

/// ATR's labels as LIP's. A belt becomes trousers; a bag becomes a glove, so that it is noise among the 13 classes.
const ATR_TO_LIP: [u8; 18] = [0, 1, 2, 4, 5, 12, 9, 6, 9, 18, 19, 13, 16, 17, 14, 15, 3, 11];

/// LIP's labels as the 13 classes of the segmentation generator: background, hair, face, upper garment, lower garment,
/// left and right arm, left and right leg, left and right shoe, socks, noise.
pub const LIP_TO_13: [u8; 20] = [0, 1, 1, 12, 2, 3, 3, 3, 11, 4, 0, 12, 4, 2, 5, 6, 7, 8, 9, 10];

/// The 13 classes as the 7 of the image generator: background, kept parts, garment, hair, left arm, right arm, noise.
pub const FROM_13_TO_7: [u8; 13] = [0, 3, 1, 2, 1, 4, 5, 1, 1, 1, 1, 1, 6];

/// LIP's labels as the 7 classes of the image generator.
pub const LIP_TO_7: [u8; 20] = {
    let mut classes = [0; 20];
    let mut label = 0;
    while label < 20 {
        classes[label] = FROM_13_TO_7[LIP_TO_13[label] as usize];
        label += 1;
    }
    classes
};

/// A label of LIP for each of the 13 classes.
pub const FROM_13_TO_LIP: [u8; 13] = [0, 2, 13, 5, 9, 14, 15, 16, 17, 18, 19, 8, 3];

impl LabelSet {
    /// A person's map of this set as one of LIP's labels, and what speaks against its being of this set. The joints,
    /// where they are given, must belong to a picture of the map's size.
    ///
    /// # Errors
    /// If the set does not serve, or if the map holds a label that the set has not.
    pub fn read(self, labels: &Labels, keypoints: Option<&Keypoints>) -> Result<(Labels, Vec<Warning>)> {
        let lip = self.to_lip(labels)?;
        let mut found = contradictions(&lip, keypoints);
        let other = if self == Self::Lip { Self::Atr } else { Self::Lip };
        let fits_better = |other: &Labels| contradictions(other, keypoints).len() < found.len();
        if !found.is_empty() && found != [Warning::NoPerson] {
            if labels.pixels().iter().all(|&label| label < 7) {
                found.push(Warning::FewLabels);
            } else if other.to_lip(labels).is_ok_and(|other| fits_better(&other)) {
                found.push(Warning::OtherLabelSet { set: other.name() });
            }
        }
        Ok((lip, found))
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lip => "LIP",
            Self::Atr => "ATR",
            Self::Pascal => "Pascal Person Part",
            Self::Generator => "the image generator",
        }
    }

    fn to_lip(self, labels: &Labels) -> Result<Labels> {
        const LIP: [u8; 20] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
        let table = match self {
            Self::Lip => &LIP[..],
            Self::Atr => &ATR_TO_LIP[..],
            Self::Pascal => {
                return Err(Error::LabelSet { set: self.name(), reason: "it has no garments, only parts of the body" });
            }
            Self::Generator => {
                return Err(Error::LabelSet {
                    set: self.name(),
                    reason: "face, trousers and shoes are one class there",
                });
            }
        };
        if let Some(at) = labels.pixels().iter().position(|&label| usize::from(label) >= table.len()) {
            let (y, x) = (at / labels.width(), at % labels.width());
            return Err(Error::Label { value: labels.pixel(y, x), x, y, set: self.name(), count: table.len() });
        }
        Ok(labels.map(|label| table[usize::from(label)]))
    }
}

/// Parts of a person, as groups of LIP's labels.
const GARMENT: &[u8] = &[5, 6, 7];
const HAIR: &[u8] = &[2];
const FACE: &[u8] = &[13];
const GLASSES: &[u8] = &[4];
const ARMS: &[u8] = &[14, 15];
const LEGS: &[u8] = &[9, 16, 17];
const SHOES: &[u8] = &[18, 19];
const NECK: &[u8] = &[10];

/// Of two parts the first is higher in every upright person: the middle of its rows lies above that of the other's.
/// Sitting people and raised arms are within these rules.
const ABOVE: [(&str, &[u8], &str, &[u8]); 9] = [
    ("face", FACE, "garment", GARMENT),
    ("face", FACE, "trousers and legs", LEGS),
    ("face", FACE, "shoes", SHOES),
    ("hair", HAIR, "garment", GARMENT),
    ("hair", HAIR, "shoes", SHOES),
    ("garment", GARMENT, "shoes", SHOES),
    ("garment", GARMENT, "trousers and legs", LEGS),
    ("trousers and legs", LEGS, "shoes", SHOES),
    ("neck", NECK, "shoes", SHOES),
];

/// What of a label map cannot be a person's in LIP's labels.
fn contradictions(labels: &Labels, keypoints: Option<&Keypoints>) -> Vec<Warning> {
    let rows = Rows::of(labels);
    let count = |group: &[u8]| rows.of_group(group).0;
    if labels.pixels().iter().all(|&label| label == 0) {
        return vec![Warning::NoPerson];
    }
    let mut found = Vec::new();
    // A few pixels are noise of the parser.
    let some = (labels.pixels().len() / 1000).max(1);
    if count(GARMENT) < some {
        found.push(Warning::NoGarment);
    }
    for (upper, upper_labels, lower, lower_labels) in ABOVE {
        let ((upper_count, upper_row), (lower_count, lower_row)) =
            (rows.of_group(upper_labels), rows.of_group(lower_labels));
        if upper_count >= some && lower_count >= some && upper_row >= lower_row {
            found.push(Warning::UpsideDown { upper, lower });
        }
    }
    if count(GLASSES) > count(FACE).max(some) {
        found.push(Warning::LargerThan { large: "sunglasses", small: "face" });
    }
    if count(ARMS) >= some && count(HAIR) >= some && rows.last(ARMS) < rows.first(HAIR) {
        found.push(Warning::UpsideDown { upper: "hair", lower: "arms" });
    }
    found.extend(keypoints.into_iter().flat_map(|keypoints| contradicted_joints(labels, keypoints)));
    found
}

/// Joints on labels where no such joint can be: an arm may cover anything, a torso no face.
fn contradicted_joints(labels: &Labels, keypoints: &Keypoints) -> Vec<Warning> {
    let mut found = Vec::new();
    let mut expect = |place: &'static str, point: Option<[f64; 2]>, allowed: &[u8]| {
        let label = point.and_then(|point| label_at(labels, point));
        if let Some(label) = label.filter(|label| !allowed.contains(label)) {
            found.push(Warning::LabelUnder { place, label });
        }
    };
    expect("nose", keypoints.get(Nose), &[1, 2, 3, 4, 11, 13, 14, 15]);
    let corners: Option<Vec<_>> =
        [RightShoulder, LeftShoulder, RightHip, LeftHip].into_iter().map(|joint| keypoints.get(joint)).collect();
    let middle = corners.map(|corners| [0, 1].map(|axis| corners.iter().map(|point| point[axis]).sum::<f64>() / 4.0));
    expect("middle of the torso", middle, &[2, 3, 5, 6, 7, 9, 10, 11, 12, 14, 15]);
    for ankle in [RightAnkle, LeftAnkle] {
        // Feet are narrow, and parsers lose them: background is no contradiction.
        expect(Joint::name(ankle), keypoints.get(ankle), &[0, 3, 6, 8, 9, 12, 16, 17, 18, 19]);
    }
    found
}

/// The label of the pixel that holds a point, if one does.
fn label_at(labels: &Labels, [x, y]: [f64; 2]) -> Option<u8> {
    let inside = (0.0..labels.width() as f64).contains(&x) && (0.0..labels.height() as f64).contains(&y);
    inside.then(|| labels.pixel(y as usize, x as usize))
}

/// How many pixels of each label each row has.
struct Rows(Vec<[usize; 20]>);

impl Rows {
    fn of(labels: &Labels) -> Self {
        let count = |row: &[u8]| {
            let mut counts = [0; 20];
            row.iter().for_each(|&label| counts[usize::from(label)] += 1);
            counts
        };
        Self(labels.rows().map(count).collect())
    }

    fn group<'a>(&'a self, group: &'a [u8]) -> impl DoubleEndedIterator<Item = (usize, usize)> + 'a {
        self.0.iter().map(|row| group.iter().map(|&label| row[usize::from(label)]).sum()).enumerate()
    }

    /// How many pixels a group has, and their mean row.
    fn of_group(&self, group: &[u8]) -> (usize, f64) {
        let (count, sum) = self.group(group).fold((0, 0), |(count, sum), (y, n)| (count + n, sum + y * n));
        (count, sum as f64 / count as f64)
    }

    fn first(&self, group: &[u8]) -> Option<usize> {
        self.group(group).find(|&(_, count)| count > 0).map(|(y, _)| y)
    }

    fn last(&self, group: &[u8]) -> Option<usize> {
        self.group(group).rev().enumerate().find(|(_, (_, count))| *count > 0).map(|(_, (y, _))| y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_those_of_the_authors() {
        let to_13 = [
            &[0_u8, 10][..],
            &[1, 2],
            &[4, 13],
            &[5, 6, 7],
            &[9, 12],
            &[14],
            &[15],
            &[16],
            &[17],
            &[18],
            &[19],
            &[8],
            &[3, 11],
        ];
        for (class, group) in to_13.iter().enumerate() {
            assert!(group.iter().all(|&label| usize::from(LIP_TO_13[usize::from(label)]) == class), "{class}");
        }
        let to_7 = [&[0_u8][..], &[2, 4, 7, 8, 9, 10, 11], &[3], &[1], &[5], &[6], &[12]];
        for (class, group) in to_7.iter().enumerate() {
            assert!(group.iter().all(|&label| usize::from(FROM_13_TO_7[usize::from(label)]) == class), "{class}");
        }
    }

    #[test]
    fn a_label_of_each_class_is_of_that_class() {
        assert!(FROM_13_TO_LIP.iter().map(|&lip| usize::from(LIP_TO_13[usize::from(lip)])).eq(0..13));
    }

    #[test]
    fn sets_that_do_not_serve_are_refused_with_the_reason() {
        let map = Labels::filled(8, 8, 1);
        let refusal = |set: LabelSet| set.read(&map, None).unwrap_err().to_string();
        assert!(refusal(LabelSet::Pascal).contains("no garments"));
        assert!(refusal(LabelSet::Generator).contains("one class"));
    }

    #[test]
    fn labels_that_a_set_has_not_are_named() {
        let mut map = Labels::filled(8, 6, 5);
        map.row_mut(3)[2] = 18;
        let error = LabelSet::Atr.read(&map, None).unwrap_err().to_string();
        assert!(error.contains("label 18 at column 2, row 3") && error.contains("ATR"), "{error}");
    }

    #[test]
    fn empty_maps_are_told() {
        let (_, warnings) = LabelSet::Lip.read(&Labels::filled(8, 8, 0), None).unwrap();
        assert_eq!(warnings, [Warning::NoPerson]);
        let (_, warnings) = LabelSet::Lip.read(&Labels::filled(64, 64, 9), None).unwrap();
        assert!(warnings.contains(&Warning::NoGarment));
    }
}
