//! Every case of kind `pipeline_agnostic`, drawn by the authors' method with Pillow, is found again to the pixel.

use alias_oracle::golden::{Golden, cases};
use alias_preprocess::agnostic::{GRAY, gray_area, image_agnostic, painted_area, parse_agnostic};
use alias_preprocess::{Keypoints, Labels, Rgb8};

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
