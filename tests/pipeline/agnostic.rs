//! Every case of kind `pipeline_agnostic`, drawn by the authors' method with Pillow, is found again to the pixel.

use alias_model::preprocess::agnostic::{GRAY, gray_area, image_agnostic, painted_area, parse_agnostic};
use alias_model::preprocess::labels::{LIP_TO_7, LabelSet};
use alias_model::preprocess::{Keypoints, Labels, Rgb8, Warning};
use alias_oracle::golden::{Golden, cases, own};

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().map(|&v| v as u8).collect()
}

/// Whether each pixel's bit is set; the first pixel of a byte is its highest bit.
fn bits(values: &[f32]) -> Vec<bool> {
    values.iter().flat_map(|&byte| (0..8).rev().map(move |bit| byte as u8 >> bit & 1 == 1)).collect()
}

/// Each pixel repeated to a square of `shrink` pixels.
fn enlarged(small: &[u8], width: usize, shrink: usize) -> Vec<u8> {
    let row = |row: &[u8]| row.iter().flat_map(|&v| std::iter::repeat_n(v, shrink)).collect::<Vec<_>>();
    small.chunks_exact(width / shrink).flat_map(|small| row(small).repeat(shrink)).collect()
}

fn check(case: &Golden) {
    let config = |key: &str| case.meta["config"][key].as_u64().unwrap_or_else(|| panic!("{}: no {key}", case.name));
    let (height, width, shrink) = (config("height") as usize, config("width") as usize, config("shrink") as usize);
    let (r_parse, r_image) = (config("r_parse") as u32, config("r_image") as u32);
    let count = case.tensor("pose").shape[0];
    let item = |name: &str, i: usize| {
        let data = &case.tensor(name).data;
        assert_eq!(data.len() % count, 0, "{}: {name}", case.name);
        &data[data.len() / count * i..][..data.len() / count]
    };
    for i in 0..count {
        let name = format!("{}, person {i}", case.name);
        let pose = item("pose", i).as_chunks::<2>().0;
        let keypoints = Keypoints(std::array::from_fn(|joint| pose[joint].map(f64::from)));
        let labels = Labels::new(height, width, enlarged(&bytes(item("parse", i)), width, shrink)).unwrap();
        let agnostic = parse_agnostic(&labels, &keypoints, r_parse);
        if shrink > 1 {
            let removed = agnostic.pixels().iter().zip(labels.pixels()).map(|(a, b)| a != b);
            assert!(removed.eq(bits(item("removed", i))), "{name}: labels removed");
            assert_eq!(
                painted_area(&labels, &keypoints, r_image).pixels(),
                bits(item("painted", i)),
                "{name}: painted"
            );
        } else {
            assert_eq!(agnostic.pixels(), bytes(item("parse_agnostic", i)), "{name}: labels");
            let picture = Rgb8::from_bytes(height, width, &bytes(item("image", i))).unwrap();
            let painted = image_agnostic(&picture, &labels, &keypoints, r_image).unwrap();
            assert!(painted.bytes() == bytes(item("image_agnostic", i)), "{name}: picture");
            assert!(
                painted.pixels().contains(&[GRAY; 3])
                    && gray_area(height, width, &keypoints, r_image).pixels().contains(&true)
            );
        }
    }
}

#[test]
fn labels_and_pictures_are_the_authors() {
    cases("pipeline_agnostic").iter().for_each(check);
}

/// The drawn people of this workspace's cases: labels of LIP with their joints. Not those of any other case, where a joint or a
/// part of the body may be missing without which nothing can be told.
fn people() -> Vec<(Labels, Keypoints)> {
    let of = |case: &Golden| {
        let size = |key: &str| case.meta["config"][key].as_u64().unwrap() as usize;
        let (height, width, shrink) = (size("height"), size("width"), size("shrink"));
        let (poses, parses) = (&case.tensor("pose").data, &case.tensor("parse").data);
        let person = |(pose, parse): (&[f32], &[f32])| {
            let keypoints = Keypoints(std::array::from_fn(|j| [pose[2 * j].into(), pose[2 * j + 1].into()]));
            (Labels::new(height, width, enlarged(&bytes(parse), width, shrink)).unwrap(), keypoints)
        };
        poses
            .chunks_exact(50)
            .zip(parses.chunks_exact(height * width / shrink / shrink))
            .map(person)
            .collect::<Vec<_>>()
    };
    ["pipeline_agnostic", "pipeline_agnostic_1024x768"].map(own).iter().flat_map(of).collect()
}

/// The map in ATR's labels; those that it has not become background or the like.
fn as_atr(labels: &Labels) -> Labels {
    const LIP_TO_ATR: [u8; 20] = [0, 1, 2, 0, 3, 4, 7, 4, 12, 6, 0, 17, 5, 11, 14, 15, 12, 13, 9, 10];
    labels.map(|label| LIP_TO_ATR[usize::from(label)])
}

#[test]
fn well_formed_people_give_no_warning() {
    for (labels, keypoints) in people() {
        for keypoints in [None, Some(&keypoints)] {
            assert_eq!(LabelSet::Lip.read(&labels, keypoints).unwrap().1, []);
            let (back, warnings) = LabelSet::Atr.read(&as_atr(&labels), keypoints).unwrap();
            assert_eq!(warnings, []);
            // Gloves, coats, socks and necks have no label of their own in ATR.
            let pairs = back.pixels().iter().zip(labels.pixels());
            assert!(pairs.filter(|(_, label)| ![3, 7, 8, 10].contains(*label)).all(|(back, label)| back == label));
        }
    }
}

#[test]
fn labels_of_another_set_give_warnings() {
    let other = |set: &'static str| Warning::OtherLabelSet { set };
    for (labels, keypoints) in people() {
        for keypoints in [None, Some(&keypoints)] {
            let (_, warnings) = LabelSet::Lip.read(&as_atr(&labels), keypoints).unwrap();
            assert!(warnings.contains(&other("ATR")), "{warnings:?}");
            assert!(LabelSet::Atr.read(&labels, keypoints).is_err(), "ATR has no 18 and 19");
            // People without shoes in the picture.
            let barefoot = labels.map(|label| if label > 17 { 0 } else { label });
            let (_, warnings) = LabelSet::Atr.read(&barefoot, keypoints).unwrap();
            assert!(warnings.contains(&other("LIP")), "{warnings:?}");
            let seven = labels.map(|label| LIP_TO_7[usize::from(label)]);
            let (_, warnings) = LabelSet::Lip.read(&seven, keypoints).unwrap();
            assert!(warnings.contains(&Warning::FewLabels), "{warnings:?}");
        }
    }
}

#[test]
fn shuffled_labels_give_warnings() {
    let (mut state, mut silent, mut count) = (1_u64, 0, 0);
    for (labels, keypoints) in people() {
        for _ in 0..10 {
            let mut table: [u8; 20] = std::array::from_fn(|i| i as u8);
            for i in (2..20).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                table.swap(i, 1 + (state >> 33) as usize % i);
            }
            let shuffled = labels.map(|label| table[usize::from(label)]);
            let (_, warnings) = LabelSet::Lip.read(&shuffled, Some(&keypoints)).unwrap();
            silent += usize::from(warnings.is_empty());
            count += 1;
        }
    }
    // Some shuffles only swap what is alike, as left and right.
    assert!(50 * silent <= count, "{silent} of {count} went unnoticed");
}
