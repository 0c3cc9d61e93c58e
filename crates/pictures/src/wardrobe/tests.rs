use super::*;
use crate::images::{Image, write_lip_labels, write_mask, write_rgb};
use std::fs;

/// A folder in the layout of the published set, with one person and two garments.
fn set() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let path = |name: &str| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    write_rgb(&path("image/a.png"), &Image::filled(20, 15, [0.5; 3])).unwrap();
    let labels = (0..300).map(|k| [0, 5, 13, 2][k / 75]).collect();
    write_lip_labels(&path("image-parse/a.png"), &Plane { height: 20, width: 15, data: labels }).unwrap();
    let numbers: Vec<f64> = (1..=75).map(|k| f64::from(k) / 5.0).collect();
    let json = format!(r#"{{"people":[{{"pose_keypoints_2d":{numbers:?}}}]}}"#);
    fs::write(path("openpose-json/a_keypoints.json"), json).unwrap();
    for name in ["c", "d 1"] {
        write_rgb(&path(&format!("cloth/{name}.png")), &Image::filled(20, 15, [0.9; 3])).unwrap();
    }
    let half = (0..300).map(|k| f32::from(u8::from(k < 150))).collect();
    write_mask(&path("cloth-mask/c.png"), &Plane { height: 20, width: 15, data: half }).unwrap();
    fs::write(path("test_pairs.txt"), "a.png c.png\r\na.png d 1.png\na.png c.png\n").unwrap();
    folder
}

#[test]
fn a_set_is_read_by_its_pairs() {
    let folder = set();
    let wardrobe = Wardrobe::open(folder.path(), Split::Test).unwrap();
    let pairs = wardrobe.pairs(None).unwrap();
    assert_eq!(pairs, [["a", "c"], ["a", "d 1"]], "each once");
    let person = wardrobe.person("a").unwrap();
    assert_eq!(person.pose, None);
    let read = person.read(LabelSet::Lip).unwrap();
    assert_eq!((read.photo.size(), read.labels.size(), read.pose), ([20, 15], [20, 15], None));
    assert!(wardrobe.garment("c").unwrap().read().unwrap().mask.is_some());
    assert!(wardrobe.garment("d 1").unwrap().read().unwrap().mask.is_none());
    assert!(wardrobe.person("b").unwrap_err().to_string().contains("no photo for b"));
    assert!(wardrobe.garment("e").unwrap_err().to_string().contains("no garment for e"));
}

#[test]
fn files_are_found_beside_a_photo() {
    let folder = set();
    let given = || [None, None, None];
    let photo = folder.path().join("image/a.png");
    let found = PersonFiles::of_photo(&photo, given()).unwrap();
    assert!(found.parse.ends_with("image-parse/a.png") && found.keypoints.ends_with("a_keypoints.json"), "{found:?}");
    let garment = GarmentFiles::of_photo(&folder.path().join("cloth/c.png"), None);
    assert!(garment.mask.unwrap().ends_with("cloth-mask/c.png"));
    assert_eq!(GarmentFiles::of_photo(&folder.path().join("cloth/d 1.png"), None).mask, None);

    let flat = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| fs::copy(folder.path().join(from), flat.path().join(to)).unwrap();
    copy("image/a.png", "p.png");
    let photo = flat.path().join("p.png");
    let error = PersonFiles::of_photo(&photo, given()).unwrap_err().to_string();
    assert!(error.contains("no label map") && error.contains("--parse"), "{error}");
    copy("image-parse/a.png", "p_parse.png");
    let error = PersonFiles::of_photo(&photo, given()).unwrap_err().to_string();
    assert!(error.contains("no file of keypoints") && error.contains("--keypoints"), "{error}");
    copy("openpose-json/a_keypoints.json", "p_keypoints.json");
    let found = PersonFiles::of_photo(&photo, given()).unwrap();
    assert!(found.parse.ends_with("p_parse.png") && found.keypoints.ends_with("p_keypoints.json"), "{found:?}");
    assert_eq!(GarmentFiles::of_photo(&photo, None).mask, None, "the photo is no mask of its own");
    assert_eq!(found.pose, None, "nor a skeleton");
    copy("image/a.png", "p_rendered.png");
    assert!(PersonFiles::of_photo(&photo, given()).unwrap().pose.unwrap().ends_with("p_rendered.png"));
}

#[test]
fn exactly_the_named_photo_is_taken() {
    let folder = set();
    let root = folder.path();
    let copy = |from: &str, to: &str| fs::copy(root.join(from), root.join(to)).unwrap();
    copy("image/a.png", "image/a.jpg");
    copy("image-parse/a.png", "image-parse/a.jpg");
    copy("cloth/c.png", "cloth/c.jpg");
    fs::write(root.join("test_pairs.txt"), "a.png c.jpg\na.jpg c.png\na c\nb.jpg c\n").unwrap();
    let wardrobe = Wardrobe::open(root, Split::Test).unwrap();
    // Without extension the first kind of file is meant; names stay short where that is the same.
    assert_eq!(wardrobe.pairs(None).unwrap(), [["a", "c.jpg"], ["a.jpg", "c"], ["a", "c"], ["b", "c"]]);
    let person = wardrobe.person("a.jpg").unwrap();
    assert!(person.photo.ends_with("image/a.jpg") && person.parse.ends_with("image-parse/a.png"), "{person:?}");
    assert!(wardrobe.person("a").unwrap().photo.ends_with("image/a.png"));
    let garment = wardrobe.garment("c.jpg").unwrap();
    assert!(garment.photo.ends_with("cloth/c.jpg") && garment.mask.unwrap().ends_with("cloth-mask/c.png"));
}

#[test]
fn every_alternative_folder_is_looked_through() {
    let folder = set();
    let root = folder.path();
    fs::create_dir(root.join("image-parse-v3")).unwrap();
    fs::create_dir(root.join("openpose_json")).unwrap();
    let person = Wardrobe::open(root, Split::Test).unwrap().person("a").unwrap();
    assert!(
        person.parse.ends_with("image-parse/a.png") && person.keypoints.ends_with("openpose-json/a_keypoints.json")
    );
    fs::copy(root.join("image-parse/a.png"), root.join("image-parse-v3/a.png")).unwrap();
    let person = Wardrobe::open(root, Split::Test).unwrap().person("a").unwrap();
    assert!(person.parse.ends_with("image-parse-v3/a.png"), "the first one that has it");
}

#[test]
fn a_missing_file_in_a_line_of_two_names_is_told_as_such() {
    let folder = set();
    fs::write(folder.path().join("test_pairs.txt"), "a.png c.png\na.png  nothere.png\na.png, c.png\n").unwrap();
    let wardrobe = Wardrobe::open(folder.path(), Split::Test).unwrap();
    assert_eq!(wardrobe.pairs(None).unwrap(), [["a", "c"], ["a", "nothere"]]);
}

#[test]
fn what_does_not_fit_is_told() {
    let folder = set();
    let root = folder.path();
    let person = Wardrobe::open(root, Split::Test).unwrap().person("a").unwrap();
    write_rgb(&root.join("image/a.png"), &Image::filled(20, 16, [0.5; 3])).unwrap();
    let error = person.read(LabelSet::Lip).unwrap_err().to_string();
    assert!(error.contains("is 20x15") && error.contains("is 20x16"), "{error}");
    for (value, word) in [(0.0, "black"), (1.0, "white")] {
        let mask = Plane { height: 20, width: 15, data: vec![value; 300] };
        write_mask(&root.join("cloth-mask/c.png"), &mask).unwrap();
        let error = Wardrobe::open(root, Split::Test).unwrap().garment("c").unwrap().read().unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("c.png"), "{error}");
    }
    for (values, words) in [([30, 127], "largest value is 127 of 255"), ([128, 255], "smallest value is 128 of 255")] {
        let data = (0..300).map(|k| values[k % 2] as f32 / 255.0).collect();
        write_mask(&root.join("cloth-mask/c.png"), &Plane { height: 20, width: 15, data }).unwrap();
        let error = Wardrobe::open(root, Split::Test).unwrap().garment("c").unwrap().read().unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("c.png"), "{error}");
    }
    fs::write(root.join("test_pairs.txt"), "a.png").unwrap();
    let error = Wardrobe::open(root, Split::Test).unwrap().pairs(None).unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains("PERSON GARMENT"), "{error}");
    fs::write(root.join("test_pairs.txt"), "\n\n").unwrap();
    assert!(Wardrobe::open(root, Split::Test).unwrap().pairs(None).unwrap_err().to_string().contains("names no pair"));
    assert!(Wardrobe::open(&root.join("cloth"), Split::Test).unwrap_err().to_string().contains("folder that holds"));
    fs::write(root.join("openpose-json/a_keypoints.json"), "{").unwrap();
    let error = person.read(LabelSet::Lip).unwrap_err().to_string();
    assert!(error.contains("a_keypoints.json"), "{error}");
}
