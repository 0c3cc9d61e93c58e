//! `tryon dataset prepare` as its users run it.

mod common;

use alias_model::planes_to_rgb8;
use alias_model::preprocess::{Fit, Padding, Rgb8};
use alias_pictures::dataset::Dataset;
use alias_pictures::images::read_size;
use common::people::{bytes, labels, networks, write_garment, write_person};
use common::{assert_holds, fails, succeeds, text, warnings, words};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The raw training set of the published archive, and weights.
struct Set {
    folder: TempDir,
    weights: PathBuf,
}

impl Set {
    fn new() -> Set {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("raw/train");
        for (name, size, tint) in [("a", [256, 256], 120), ("b", [301, 220], 60), ("c", [128, 96], 10)] {
            write_person(&root, name, size, tint);
            write_garment(&root, name, [128, 96], 2 * tint, name != "b");
        }
        // As in the published file, whose second column names other garments.
        fs::write(folder.path().join("raw/train_pairs.txt"), "a.jpg c.jpg\nb.jpg a.jpg\nc.jpg b.jpg\n").unwrap();
        Set { weights: networks(folder.path()).join("gmm.safetensors"), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn prepare(&self, output: &Path, more: &[&str]) -> Vec<String> {
        let data = self.path("raw");
        let common = ["dataset", "prepare", "--device", "cpu", "--data", text(&data), "--weights", text(&self.weights)];
        [&common[..], &["-o", text(output)], more].concat().into_iter().map(str::to_owned).collect()
    }
}

#[test]
fn what_is_prepared_can_be_trained_on() {
    let set = Set::new();
    let out = set.path("out");
    assert_eq!(warnings(&words(&set.prepare(&out, &[]))), "");
    assert_eq!(fs::read_to_string(out.join("train_pairs.txt")).unwrap(), "a.png a.png\nb.png b.png\nc.png c.png\n");
    let checked = succeeds(&["dataset", "check", text(&out)]);
    let folders = [
        "3 examples of 256x256, all readable\n",
        "agnostic picture: agnostic-v3.2\n",
        "pose: openpose_img\n",
        "labels: image-parse-v3\n",
        "warped garment: warped-cloth\n",
        "mask of the warped garment: warped-cloth-mask\n",
    ];
    assert_holds(&checked, &folders);

    let dataset = Dataset::open(&out).unwrap();
    // A picture of the drawn size is itself, and the labels are those that it came with.
    let (example, whole) = (dataset.read(0).unwrap(), bytes(&set.path("raw/train/image/a.png")).1);
    assert!(planes_to_rgb8(&example.truth) == whole);
    let classes = [0, 3, 3, 6, 1, 2, 2, 2, 1, 1, 0, 6, 1, 1, 4, 5, 1, 1, 1, 1];
    let expected: Vec<u8> = labels([256, 256]).data.iter().map(|&label| classes[usize::from(label)]).collect();
    assert!(example.sample.labels == expected);
    // Gray covers the garment, and the face is as it was.
    let agnostic = planes_to_rgb8(&example.sample.agnostic);
    let at = |bytes: &[u8], y: usize, x: usize| [0, 1, 2].map(|c| bytes[3 * (256 * y + x) + c]);
    assert_eq!((at(&agnostic, 110, 128), at(&agnostic, 45, 128)), ([128; 3], at(&whole, 45, 128)));
    assert!(example.sample.warped_mask.contains(&1.0));
    // Another picture is fitted.
    let (size, photo) = bytes(&set.path("raw/train/image/b.png"));
    let fit = Fit::new(size, [256, 256]).unwrap();
    let fitted = fit.picture(&Rgb8::from_bytes(size[0], size[1], &photo).unwrap(), Padding::Edge).unwrap();
    assert!(bytes(&out.join("image/b.png")).1 == fitted.bytes());
}

#[test]
fn a_prepared_set_trains() {
    let set = Set::new();
    let (out, run) = (set.path("out"), set.path("run"));
    succeeds(&words(&set.prepare(&out, &["--size", "128x128"])));
    let narrow = ["--layers", "more", "--ngf", "1", "--ndf", "1", "--steps", "1", "--decay-steps", "0"];
    succeeds(&[&["train", "--data", text(&out), "--out", text(&run), "--size", "64x64"], &narrow[..]].concat());
    assert!(run.join("generator.safetensors").exists());
}

#[test]
fn what_is_done_is_skipped_at_its_size() {
    let set = Set::new();
    let out = set.path("out");
    succeeds(&words(&set.prepare(&out, &[])));
    let complaint = fails(1, &words(&set.prepare(&out, &[])));
    assert_holds(
        &complaint,
        &["out already holds pictures; name a new folder, or go on with what is there by --skip-done"],
    );
    let (kept, gone) = (out.join("warped-cloth/a.png"), out.join("warped-cloth-mask/b.png"));
    fs::copy(out.join("warped-cloth/c.png"), &kept).unwrap();
    let (kept_bytes, gone_bytes) = (fs::read(&kept).unwrap(), fs::read(&gone).unwrap());
    fs::remove_file(&gone).unwrap();
    let printed = succeeds(&words(&set.prepare(&out, &["--skip-done"])));
    assert_eq!(printed, format!("3 examples of 256x256 in {}\n", out.display()));
    assert!(fs::read(&kept).unwrap() == kept_bytes && fs::read(&gone).unwrap() == gone_bytes);
    succeeds(&words(&set.prepare(&out, &["--skip-done", "--size", "128x128"])));
    assert_eq!(read_size(&kept).unwrap(), (128, 128));
    succeeds(&["dataset", "check", text(&out)]);
}

#[test]
fn persons_without_a_pairs_file_are_those_with_a_garment() {
    let set = Set::new();
    fs::remove_file(set.path("raw/train_pairs.txt")).unwrap();
    fs::remove_file(set.path("raw/train/cloth/b.png")).unwrap();
    let out = set.path("out");
    succeeds(&words(&set.prepare(&out, &["--size", "128x128"])));
    assert_eq!(fs::read_to_string(out.join("train_pairs.txt")).unwrap(), "a.png a.png\nc.png c.png\n");
    fs::remove_dir_all(set.path("raw/train/cloth")).unwrap();
    let complaint = fails(1, &words(&set.prepare(&set.path("none"), &[])));
    assert_holds(&complaint, &["no picture in image has a garment of the same name in cloth"]);
}

#[test]
fn what_fails_is_told_and_left_out() {
    let set = Set::new();
    let root = set.path("raw/train");
    fs::remove_file(root.join("openpose_json/a_keypoints.json")).unwrap();
    fs::write(root.join("image-parse-v3/b.png"), "cut").unwrap();
    let out = set.path("out");
    let complaint = fails(1, &words(&set.prepare(&out, &[])));
    let said = ["a: there is no file of keypoints for a", "b: ", "image-parse-v3/b.png: ", "error: 2 of 3 failed"];
    assert_holds(&complaint, &said);
    assert_eq!(fs::read_to_string(out.join("train_pairs.txt")).unwrap(), "c.png c.png\n");
    assert_holds(&succeeds(&["dataset", "check", text(&out)]), &["1 examples of 256x256"]);
    fs::remove_file(root.join("image/c.png")).unwrap();
    let out = set.path("none");
    assert_holds(&fails(1, &words(&set.prepare(&out, &[]))), &["error: all 3 failed, see above"]);
    assert!(!out.join("train_pairs.txt").exists());
}

#[test]
fn what_cannot_work_is_refused_before_the_work() {
    let set = Set::new();
    let (root, out) = (set.path("raw/train"), set.path("out"));
    let before: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_holds(&fails(1, &words(&set.prepare(&root, &[]))), &["train already holds pictures"]);
    let complaint = fails(1, &words(&set.prepare(&root, &["--skip-done"])));
    assert_holds(&complaint, &["holds pictures that are read; name another folder by -o"]);
    let raw = set.path("raw");
    fs::write(raw.join("train/train_pairs.txt"), "a a\n").unwrap();
    fs::rename(raw.join("train/train_pairs.txt"), raw.join("train_pairs.txt")).unwrap();
    assert_holds(&fails(1, &words(&set.prepare(&raw, &[]))), &["train_pairs.txt is an input; write elsewhere"]);
    fs::remove_file(raw.join("train_pairs.txt")).unwrap();
    let after: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(before, after);
    let complaint = fails(1, &words(&set.prepare(&out, &["--size", "100x100"])));
    assert_holds(&complaint, &["--size: height and width must be multiples of 128, not 100x100"]);
    let complaint = fails(1, &words(&set.prepare(&out, &["--labels", "seven"])));
    assert_holds(&complaint, &["face, trousers and shoes are one class"]);

    let data = set.path("raw");
    let with = |weights: &Path, code: i32, more: &[&str]| {
        let common = ["dataset", "prepare", "--device", "cpu", "--data", text(&data), "--weights", text(weights)];
        fails(code, &[&common[..], more].concat())
    };
    let seg = set.weights.with_file_name("seg.safetensors");
    let complaint = with(&seg, 1, &["-o", text(&out), "--skip-done"]);
    assert_holds(&complaint, &["--weights names no geometric matching module (gmm_final.pth)"]);
    assert_holds(&with(&set.weights, 2, &[]), &["--output <OUT>"]);
}
