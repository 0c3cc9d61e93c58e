//! Persons of simple shapes with everything that `tryon wear` reads, garments, and narrow weights of the three networks.

use alias_model::{GeneratorConfig, Layers, MatchingConfig, SegmentationConfig, fill, rgb8_to_planes};
use alias_pictures::images::{Image, Plane, read_rgb8, write_lip_labels, write_mask, write_rgb};
use std::fs;
use std::path::{Path, PathBuf};

/// The matching module's configuration: pictures are drawn at 256x256.
pub(crate) const MATCHING: MatchingConfig = MatchingConfig::of_size(2, [64, 64]);

/// Writes narrow weights of the three networks into a new folder, and returns it.
pub(crate) fn networks(folder: &Path) -> PathBuf {
    let folder = folder.join("weights");
    fs::create_dir(&folder).unwrap();
    let generator = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(2) };
    for (name, network, seed) in [
        ("seg", SegmentationConfig { ngf: 2 }.network(), 1),
        ("gmm", MATCHING.network(), 2),
        ("alias", generator.network(), 3),
    ] {
        fill(&network.unwrap(), seed).write_safetensors(folder.join(format!("{name}.safetensors"))).unwrap();
    }
    folder
}

/// A path in `root` whose folders exist.
pub(crate) fn path(root: &Path, name: &str) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

/// A label of LIP, and where it is: left, top, right and bottom as shares of the picture. Later ones cover earlier ones.
const PARTS: [(u8, [f64; 4]); 9] = [
    (2, [0.37, 0.05, 0.63, 0.22]),
    (13, [0.42, 0.10, 0.58, 0.24]),
    (10, [0.45, 0.24, 0.55, 0.30]),
    (14, [0.70, 0.30, 0.78, 0.62]),
    (15, [0.22, 0.30, 0.30, 0.62]),
    (5, [0.30, 0.28, 0.70, 0.62]),
    (9, [0.32, 0.62, 0.68, 0.95]),
    (19, [0.32, 0.95, 0.48, 1.00]),
    (18, [0.52, 0.95, 0.68, 1.00]),
];

/// BODY_25's joints as shares of the picture, without feet.
const JOINTS: [[f64; 2]; 19] = [
    [0.50, 0.17],
    [0.50, 0.28],
    [0.31, 0.31],
    [0.27, 0.46],
    [0.26, 0.60],
    [0.69, 0.31],
    [0.73, 0.46],
    [0.74, 0.60],
    [0.50, 0.61],
    [0.40, 0.61],
    [0.40, 0.80],
    [0.40, 0.93],
    [0.60, 0.61],
    [0.60, 0.80],
    [0.60, 0.93],
    [0.46, 0.15],
    [0.54, 0.15],
    [0.43, 0.16],
    [0.57, 0.16],
];

/// LIP's labels of a person, (H, W).
pub(crate) fn labels([height, width]: [usize; 2]) -> Plane<u8> {
    let share = |at: usize, length: usize| (at as f64 + 0.5) / length as f64;
    let label = |at: usize| {
        let (y, x) = (share(at / width, height), share(at % width, width));
        let holds = |&&(_, [left, top, right, bottom]): &&(u8, [f64; 4])| {
            (left..right).contains(&x) && (top..bottom).contains(&y)
        };
        PARTS.iter().rev().find(holds).map_or(0, |&(label, _)| label)
    };
    Plane { height, width, data: (0..height * width).map(label).collect() }
}

/// The 75 numbers of a person's joints.
pub(crate) fn joints([height, width]: [usize; 2]) -> Vec<f64> {
    let mut numbers: Vec<f64> = JOINTS.iter().flat_map(|[x, y]| [x * width as f64, y * height as f64, 0.9]).collect();
    numbers.resize(75, 0.0);
    numbers
}

/// OpenPose's JSON of people with these joints.
pub(crate) fn keypoints(people: &[Vec<f64>]) -> String {
    let people: Vec<_> = people.iter().map(|joints| format!(r#"{{"pose_keypoints_2d":{joints:?}}}"#)).collect();
    format!(r#"{{"version":1.3,"people":[{}]}}"#, people.join(","))
}

/// A picture of bytes (H, W, 3).
pub(crate) fn picture([height, width]: [usize; 2], bytes: impl Fn(usize, usize) -> [u8; 3]) -> Image {
    let bytes: Vec<u8> = (0..height * width).flat_map(|at| bytes(at / width, at % width)).collect();
    Image { height, width, data: rgb8_to_planes(&bytes) }
}

/// Writes a person, grainy so that no two pixels are alike, in VITON-HD's layout, without skeleton.
pub(crate) fn write_person(root: &Path, name: &str, size: [usize; 2], tint: u8) {
    let labels = labels(size);
    let photo = picture(size, |y, x| {
        let label = labels.data[y * size[1] + x];
        let grain = ((y * 31 + x * 17) % 13) as u8;
        [210 - 9 * label + grain, 90 + 6 * label + grain, tint + grain]
    });
    write_rgb(&path(root, &format!("image/{name}.png")), &photo).unwrap();
    write_lip_labels(&path(root, &format!("image-parse-v3/{name}.png")), &labels).unwrap();
    let json = keypoints(&[joints(size)]);
    fs::write(path(root, &format!("openpose_json/{name}_keypoints.json")), json).unwrap();
}

/// Writes a striped garment on VITON-HD's gray, with or without its mask.
pub(crate) fn write_garment(root: &Path, name: &str, size: [usize; 2], tint: u8, has_mask: bool) {
    let [height, width] = size;
    let is_garment =
        |y: usize, x: usize| (height / 5..height * 4 / 5).contains(&y) && (width / 4..width * 3 / 4).contains(&x);
    let stripe = |y: usize| if y % 16 < 8 { [tint, 40, 90] } else { [40, tint, 60] };
    let photo = picture(size, |y, x| if is_garment(y, x) { stripe(y) } else { [246; 3] });
    write_rgb(&path(root, &format!("cloth/{name}.png")), &photo).unwrap();
    if has_mask {
        let data = (0..height * width).map(|at| f32::from(u8::from(is_garment(at / width, at % width)))).collect();
        write_mask(&path(root, &format!("cloth-mask/{name}.png")), &Plane { height, width, data }).unwrap();
    }
}

/// Height, width and bytes (H, W, 3) of a picture.
pub(crate) fn bytes(path: &Path) -> ([usize; 2], Vec<u8>) {
    let picture = read_rgb8(path).unwrap();
    (picture.size(), picture.bytes().to_vec())
}
