//! `tryon wear` as its users run it.

mod common;

use alias_checkpoint::Array;
use alias_model::preprocess::labels::LabelSet;
use alias_model::{Checkpoint, Framing, PersonPhoto, PreparedPerson};
use alias_pictures::images::{Image, Plane, read_size, write_lip_labels, write_mask, write_rgb};
use alias_pictures::wardrobe::PersonFiles;
use common::people::{MATCHING, bytes, joints, keypoints, labels, networks, path, write_garment, write_person};
use common::{assert_holds, fails, succeeds, text, warnings, words};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Two persons and two garments in the layout of the published archive, and weights.
struct Set {
    folder: TempDir,
    weights: PathBuf,
}

const SIZES: [[usize; 2]; 2] = [[128, 96], [301, 220]];

impl Set {
    fn new() -> Set {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("set/test");
        write_person(&root, "a", SIZES[0], 120);
        write_person(&root, "b", SIZES[1], 60);
        write_garment(&root, "c", [128, 96], 200, true);
        write_garment(&root, "d", [150, 100], 20, false);
        fs::write(folder.path().join("set/test_pairs.txt"), "a.jpg c.jpg\nb.jpg d.jpg\na.jpg d.jpg\n").unwrap();
        Set { weights: networks(folder.path()), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of the set.
    fn file(&self, name: &str) -> PathBuf {
        self.path("set/test").join(name)
    }

    /// The command line for the whole set.
    fn all<'a>(&'a self, output: &'a Path, more: &[&'a str]) -> Vec<String> {
        let data = self.path("set");
        self.wear(output, &[&["--data", text(&data)], more].concat())
    }

    /// The command line for person a in garment c.
    fn one(&self, output: &Path, more: &[&str]) -> Vec<String> {
        let (person, garment) = (self.file("image/a.png"), self.file("cloth/c.png"));
        self.wear(output, &[&["--person", text(&person), "--garment", text(&garment)], more].concat())
    }

    fn wear(&self, output: &Path, more: &[&str]) -> Vec<String> {
        let common = ["wear", "--device", "cpu", "--weights", text(&self.weights), "-o", text(output)];
        [&common, more].concat().into_iter().map(str::to_owned).collect()
    }

    /// Draws person a in garment c.
    fn drawn(&self, name: &str, more: &[&str]) -> ([usize; 2], Vec<u8>) {
        let output = self.path(name);
        quiet(&self.one(&output, more));
        bytes(&output)
    }
}

/// Runs it, which must succeed without a word.
#[track_caller]
fn quiet(arguments: &[String]) {
    assert_eq!(warnings(&words(arguments)), "");
}

#[track_caller]
fn refused(arguments: &[String]) -> String {
    fails(1, &words(arguments))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The photo's bytes, and what may change in it.
fn photo_and_region(photo: &Path) -> (Vec<u8>, Vec<bool>) {
    let read = PersonFiles::of_photo(photo, [None, None, None]).unwrap().read(LabelSet::Lip).unwrap();
    let person = PersonPhoto { photo: &read.photo, labels: &read.labels, keypoints: &read.keypoints, skeleton: None };
    let prepared = PreparedPerson::new(&person, Framing::of_size([256, 256]), MATCHING).unwrap();
    (read.photo.bytes().to_vec(), prepared.region().pixels().to_vec())
}

#[test]
fn a_set_is_drawn_by_its_pairs_and_changes_only_what_was_painted_over() {
    let set = Set::new();
    let (output, sheet) = (set.path("out"), set.path("sheet.png"));
    quiet(&set.all(&output, &["--sheet", text(&sheet)]));
    assert_eq!(names(&output), ["a_c.png", "a_d.png", "b_d.png"]);
    for (result, photo, size) in [("a_c", "a", SIZES[0]), ("a_d", "a", SIZES[0]), ("b_d", "b", SIZES[1])] {
        let (drawn_size, drawn) = bytes(&output.join(format!("{result}.png")));
        assert_eq!(drawn_size, size, "{result}");
        let (photo, region) = photo_and_region(&set.file(&format!("image/{photo}.png")));
        let changed: Vec<bool> = (0..region.len()).map(|i| drawn[3 * i..][..3] != photo[3 * i..][..3]).collect();
        let count = |is_inside: bool| changed.iter().zip(&region).filter(|(c, r)| **c && **r == is_inside).count();
        let inside = region.iter().filter(|&&inside| inside).count();
        assert_eq!(count(false), 0, "{result}");
        assert!(count(true) > inside / 2 && inside > region.len() / 8 && inside < region.len() / 2, "{result}");
    }
    let (a_c, a_d) = (bytes(&output.join("a_c.png")), bytes(&output.join("a_d.png")));
    assert!(a_c != a_d, "garments differ");
    assert!(read_size(&sheet).unwrap().0 > 3 * 256);

    // One pair of it, the files found beside the photos.
    assert!(set.drawn("one.png", &[]) == a_c);
}

#[test]
fn files_are_named_by_options_or_lie_beside_the_photo() {
    let set = Set::new();
    let expected = set.drawn("expected.png", &[]);
    let flat = |name: &str| path(&set.path("flat"), name);
    let copy = |from: &str, to: &str| fs::copy(set.file(from), flat(to)).unwrap();
    copy("image/a.png", "p.png");
    copy("cloth/c.png", "g.png");
    copy("image-parse-v3/a.png", "labels.png");
    copy("openpose_json/a_keypoints.json", "joints.json");
    copy("cloth-mask/c.png", "white.png");
    let output = set.path("out.png");
    let [person, garment, parse, joints, mask] = ["p.png", "g.png", "labels.png", "joints.json", "white.png"].map(flat);
    let photos = ["--person", text(&person), "--garment", text(&garment)];
    let options = ["--parse", text(&parse), "--keypoints", text(&joints), "--garment-mask", text(&mask)];
    quiet(&set.wear(&output, &[&photos[..], &options].concat()));
    assert!(bytes(&output) == expected);

    let complaint = refused(&set.wear(&output, &photos));
    assert_holds(&complaint, &["no label map for", "p.png", "p_parse", "--parse names one"]);
    copy("image-parse-v3/a.png", "p_parse.png");
    copy("openpose_json/a_keypoints.json", "p_keypoints.json");
    copy("cloth-mask/c.png", "g_mask.png");
    fs::remove_file(&output).unwrap();
    quiet(&set.wear(&output, &photos));
    assert!(bytes(&output) == expected);

    // A skeleton that is there is used; one that is not on black, too, but told.
    let mut skeleton = Image::filled(128, 96, [-1.0; 3]);
    (20..100).for_each(|y| (40..50).for_each(|x| skeleton.set_pixel(y, x, [1.0, -1.0, 1.0])));
    write_rgb(&flat("p_rendered.png"), &skeleton).unwrap();
    quiet(&set.wear(&output, &photos));
    assert!(bytes(&output) != expected);
    write_rgb(&flat("p_rendered.png"), &Image::filled(128, 96, [1.0, -1.0, 1.0])).unwrap();
    let told = warnings(&words(&set.wear(&output, &photos)));
    assert_holds(&told, &["p_rendered.png: most of the skeleton's picture is not black", "--disable_blending"]);
}

#[test]
fn options_change_what_they_say() {
    let set = Set::new();
    let expected = set.drawn("expected.png", &[]);
    assert!(set.drawn("apart.png", &["--one-at-a-time"]) == expected);
    let seeds = ["1", "1", "2"].map(|seed| set.drawn("seed.png", &["--seed", seed]));
    assert!(seeds[0] == seeds[1], "the same seed");
    assert!(seeds[0] != expected && seeds[0] != seeds[2], "another seed");
    // These weights work at 64x64.
    assert!(set.drawn("size.png", &["--size", "128x128"]) != expected);
    let squeezed = warnings(&words(&set.one(&set.path("squeezed.png"), &["--size", "256x128"])));
    assert_holds(&squeezed, &["--size 256x128: ", "64x64, another aspect ratio", "use 256x256"]);
    let whole = set.drawn("whole.png", &["--no-paste"]);
    let (photo, region) = photo_and_region(&set.file("image/a.png"));
    let outside = (0..region.len()).filter(|&i| !region[i] && whole.1[3 * i..][..3] != photo[3 * i..][..3]).count();
    assert!(whole.0 == SIZES[0] && outside > region.len() / 4, "{outside}");
}

#[test]
fn stages_are_what_training_reads() {
    let set = Set::new();
    let stages = set.path("stages");
    quiet(&set.all(&stages.join("image"), &["--no-paste", "--stages", text(&stages)]));
    // The pictures have the photos' sizes; of the stages, which have the drawn one, training reads a set of one size.
    for name in names(&stages.join("image")) {
        fs::copy(stages.join("agnostic-v3.2").join(&name), stages.join("image").join(&name)).unwrap();
    }
    fs::write(stages.join("train_pairs.txt"), "a_c a_c\na_d a_d\nb_d b_d\n").unwrap();
    let printed = succeeds(&["dataset", "check", text(&stages)]);
    assert_holds(&printed, &["3 examples of 256x256, all readable", "warped garment: warped-cloth\n"]);
}

#[test]
fn what_is_done_is_skipped() {
    let set = Set::new();
    let output = set.path("out");
    quiet(&set.all(&output, &[]));
    let first = bytes(&output.join("a_c.png"));
    fs::remove_file(output.join("a_c.png")).unwrap();
    fs::write(output.join("b_d.png"), "kept").unwrap();
    quiet(&set.all(&output, &["--skip-done"]));
    assert!(bytes(&output.join("a_c.png")) == first);
    assert_eq!(fs::read(output.join("b_d.png")).unwrap(), b"kept");
    let printed = succeeds(&words(&set.all(&output, &["--skip-done"])));
    assert_holds(&printed, &["already holds the picture of every pair"]);
}

#[test]
fn pairs_that_fail_are_told_and_the_others_drawn() {
    let set = Set::new();
    let root = set.path("set/test");
    for name in ["e", "f", "g", "h"] {
        write_person(&root, name, [64, 48], 10);
    }
    fs::remove_file(set.file("openpose_json/e_keypoints.json")).unwrap();
    let whole = fs::read(set.file("image/f.png")).unwrap();
    fs::write(set.file("image/f.png"), &whole[..whole.len() / 2]).unwrap();
    write_lip_labels(&set.file("image-parse-v3/g.png"), &labels([64, 47])).unwrap();
    let pairs = path(set.folder.path(), "pairs.txt");
    fs::write(&pairs, "e c\nf c\na c\ng c\nh c\nnobody c\nh nothing\n").unwrap();
    let output = set.path("out");
    let complaint = refused(&set.all(&output, &["--pairs", text(&pairs)]));
    assert_holds(
        &complaint,
        &[
            "e_c: there is no file of keypoints for e; looked for e in openpose_json",
            "f_c: ",
            "image/f.png: not a readable PNG",
            "g_c: ",
            "image-parse-v3/g.png is 64x47, but",
            "nobody_c: there is no photo for nobody",
            "h_nothing: there is no garment for nothing",
            "error: 5 of 7 failed, see above; the others are in",
        ],
    );
    assert_eq!(names(&output), ["a_c.png", "h_c.png"], "and nothing half written");
    fs::write(output.join("f_c.png"), "old").unwrap();
    let complaint = refused(&set.all(&output, &["--pairs", text(&pairs)]));
    assert_holds(&complaint, &["f_c.png is of an earlier run"]);
    assert_eq!(fs::read(output.join("f_c.png")).unwrap(), b"old");
    fs::write(&pairs, "e c\n").unwrap();
    assert_holds(&refused(&set.all(&output, &["--pairs", text(&pairs)])), &["nothing was drawn, see above"]);
}

#[test]
fn what_cannot_work_is_refused_before_the_work() {
    let set = Set::new();
    let output = set.path("out.png");
    let complaint = |more: &[&str]| refused(&set.one(&output, more));
    let nowhere = set.path("nowhere/out.png");
    assert_holds(&refused(&set.one(&nowhere, &[])), &["nowhere is no folder to write to; create it first"]);
    assert_holds(
        &refused(&set.one(&set.path("out.gif"), &[])),
        &["out.gif: pictures are written as PNGs; give a name that ends in .png"],
    );
    let input = set.file("image-parse-v3/a.png");
    let before = fs::read(&input).unwrap();
    assert_holds(&refused(&set.one(&input, &[])), &["image-parse-v3/a.png is an input; write elsewhere"]);
    assert!(fs::read(&input).unwrap() == before);
    let root = set.path("set/test");
    assert_holds(
        &complaint(&["--stages", text(&root)]),
        &["image-parse-v3 holds pictures that are read; name another folder by --stages"],
    );
    assert!(!root.join("agnostic-v3.2").exists(), "nothing is created beside inputs");
    assert_holds(&complaint(&["--sheet", text(&nowhere)]), &["nowhere is no folder to write to"]);
    assert_holds(&complaint(&["--sheet", text(&output)]), &["out.png is where another output goes"]);
    let stages = set.path("stages");
    let within = ["--stages", text(&stages)];
    assert_holds(&refused(&set.one(&stages.join("warped-cloth/a_c.png"), &within)), &["another output goes"]);
    let photos = set.file("image");
    assert_holds(&refused(&set.all(&photos, &[])), &["image holds pictures that are read; name another folder by -o"]);
    let pairs = path(set.folder.path(), "pairs.txt");
    fs::write(&pairs, "a c\n").unwrap();
    let over = refused(&set.all(&set.path("out"), &["--pairs", text(&pairs), "--sheet", text(&pairs)]));
    assert_holds(&over, &["pairs.txt: pictures are written as PNGs"]);
    write_garment(&set.path("set/test"), "b_d", [128, 96], 200, true);
    write_person(&set.path("set/test"), "a_b", SIZES[0], 120);
    fs::write(&pairs, "a_b d\na b_d\n").unwrap();
    let same = refused(&set.all(&set.path("out"), &["--pairs", text(&pairs)]));
    assert_holds(&same, &["two pairs would both be written to", "a_b_d.png"]);
    assert!(!set.path("out").exists() && !stages.exists());
    assert_holds(
        &complaint(&["--labels", "seven"]),
        &["image-parse-v3/a.png", "face, trousers and shoes are one class"],
    );
    assert_holds(&complaint(&["--labels", "pascal"]), &["image-parse-v3/a.png", "no garments", "LIP or ATR"]);
    assert_holds(
        &complaint(&["--size", "256x200"]),
        &["--size: height and width must be multiples of 128, not 256x200"],
    );

    let without = |name: &str| {
        let weights = set.path(&format!("without_{name}"));
        fs::create_dir(&weights).unwrap();
        for other in ["seg", "gmm", "alias"].iter().filter(|other| **other != name) {
            let file = format!("{other}.safetensors");
            fs::copy(set.weights.join(&file), weights.join(&file)).unwrap();
        }
        weights
    };
    let with = |weights: &Path| {
        let (person, garment) = (set.file("image/a.png"), set.file("cloth/c.png"));
        let photos = ["wear", "--device", "cpu", "--person", text(&person), "--garment", text(&garment)];
        fails(1, &[&photos[..], &["-o", text(&output), "--weights", text(weights)]].concat())
    };
    for (name, said) in [
        ("seg", "no segmentation generator (seg_final.pth)"),
        ("gmm", "no geometric matching module (gmm_final.pth)"),
        ("alias", "no image generator (alias_final.pth)"),
    ] {
        assert_holds(&with(&without(name)), &["--weights names", said, "or a folder with all"]);
    }
    let twice = set.path("without_alias");
    fs::copy(twice.join("seg.safetensors"), twice.join("seg2.safetensors")).unwrap();
    let said = "are both weights of the segmentation generator; name one of them";
    assert_holds(&with(&twice), &["seg.safetensors and", "seg2.safetensors", said]);
    // A folder may hold other files; they are told where a network is missing.
    let beside = without("nothing");
    fs::write(beside.join("training_args.bin"), "no checkpoint").unwrap();
    let (person, garment, drawn) = (set.file("image/a.png"), set.file("cloth/c.png"), set.path("beside.png"));
    let photos = ["wear", "--device", "cpu", "--person", text(&person), "--garment", text(&garment)];
    succeeds(&[&photos[..], &["-o", text(&drawn), "--weights", text(&beside)]].concat());
    fs::remove_file(beside.join("gmm.safetensors")).unwrap();
    let said = ["no geometric matching module", "none of the three networks':\n", "training_args.bin: this is neither"];
    assert_holds(&with(&beside), &said);
    // The same file twice is no contradiction.
    let (folder, file) = (text(&set.weights), set.weights.join("seg.safetensors"));
    succeeds(&[&photos[..], &["-o", text(&drawn), "--weights", folder, text(&file)]].concat());
    let other = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/checkpoint_legacy.pth"));
    assert_holds(&with(&other), &["checkpoint_legacy.pth is none of the three networks'", "tryon inspect"]);
    assert_holds(&with(&set.path("set")), &["set holds no checkpoint (.pth"]);
    assert_holds(&with(&set.path("none.pth")), &["none.pth: No such file"]);
    assert!(!output.exists());

    let data = set.path("set/test/image");
    assert_holds(
        &refused(&set.wear(&output, &["--data", text(&data)])),
        &["there is no folder of photos", "test/image"],
    );
    fails(2, &["wear", "--weights", "w", "-o", "o"]);
    fails(2, &["wear", "--weights", "w", "-o", "o", "--person", "p"]);
    fails(2, &["wear", "--weights", "w", "-o", "o", "--data", "d", "--person", "p", "--garment", "g"]);
    for one in ["--garment", "--garment-mask", "--parse", "--keypoints", "--pose"] {
        fails(2, &["wear", "--weights", "w", "-o", "o", "--data", "d", one, "f"]);
    }
    let one = ["wear", "--weights", "w", "-o", "o", "--person", "p", "--garment", "g"];
    fails(2, &[&one[..], &["--pairs", "f"]].concat());
    fails(2, &[&one[..], &["--skip-done"]].concat());
}

#[test]
fn label_maps_of_atr_are_read_as_such_and_told_where_they_are_not() {
    let set = Set::new();
    // ATR has no label for the neck.
    let mut lip = labels(SIZES[0]);
    lip.data.iter_mut().filter(|label| **label == 10).for_each(|label| *label = 13);
    let parse = set.file("image-parse-v3/a.png");
    write_lip_labels(&parse, &lip).unwrap();
    let expected = set.drawn("lip.png", &[]);
    let atr = |label: u8| [0, 0, 2, 0, 0, 4, 0, 0, 0, 6, 0, 0, 0, 11, 14, 15, 0, 0, 9, 10][usize::from(label)];
    write_lip_labels(&parse, &Plane { data: lip.data.iter().map(|&label| atr(label)).collect(), ..lip }).unwrap();
    assert!(set.drawn("atr.png", &["--labels", "atr"]) == expected);
    let said = warnings(&words(&set.one(&set.path("as_lip.png"), &[])));
    assert_holds(&said, &["warning: ", "image-parse-v3/a.png: the labels fit those of ATR better"]);
    let said = refused(&set.all(&set.path("out"), &["--labels", "atr"]));
    assert_holds(&said, &["image-parse-v3/b.png: label 19", "is not one of the 18 of ATR (0 to 17)"]);
}

#[test]
fn warnings_name_the_file() {
    let set = Set::new();
    let file = set.file("openpose_json/a_keypoints.json");
    let said = |people: &[Vec<f64>]| {
        fs::write(&file, keypoints(people)).unwrap();
        warnings(&words(&set.one(&set.path("out.png"), &[])))
    };
    let person = joints(SIZES[0]);
    let small = person.iter().map(|v| v / 2.0).collect();
    let two = said(&[small, person.clone()]);
    assert_holds(&two, &["warning: ", "a_keypoints.json: holds 2 people; the largest, number 2, is taken"]);
    assert_eq!(two.lines().count(), 1, "{two}");
    let mut armless = person.clone();
    armless[3 * 4..][..3].fill(0.0);
    assert_holds(&said(&[armless]), &["a_keypoints.json: the right wrist was not found: "]);
    let mut outside = person;
    outside[3 * 7] = 500.0;
    assert_holds(
        &said(&[outside]),
        &["a_keypoints.json: the left wrist at (500.0, ", "is outside of the 128x96 picture"],
    );
}

#[test]
fn masks_that_cannot_be_the_garments_are_told() {
    let set = Set::new();
    let mask = set.file("cloth-mask/c.png");
    let is_garment = |y: usize, x: usize| (25..102).contains(&y) && (24..72).contains(&x);
    let said = |value: &dyn Fn(usize, usize) -> bool| {
        let data = (0..128 * 96).map(|at| f32::from(u8::from(value(at / 96, at % 96)))).collect();
        write_mask(&mask, &Plane { height: 128, width: 96, data }).unwrap();
        warnings(&words(&set.one(&set.path("out.png"), &[])))
    };
    assert_eq!(said(&is_garment), "");
    assert_holds(
        &said(&|y, x| !is_garment(y, x)),
        &["cloth/c.png: the mask is white along the picture's border", "Invert it"],
    );
    assert_holds(&said(&|y, x| is_garment(y + 50, x)), &["cloth/c.png: the mask leaves out", "give none"]);
    assert_holds(&said(&|y, x| (y, x) == (64, 48)), &["cloth/c.png: less than a hundredth of the mask is white"]);
    // The photo in place of its mask.
    fs::copy(set.file("cloth/c.png"), &mask).unwrap();
    let said = warnings(&words(&set.one(&set.path("out.png"), &[])));
    assert_holds(&said, &["cloth-mask/c.png: ", "so it looks like a photo or a label map"]);
}

/// Runs person a in garment c, which must fail and leave nothing behind.
#[track_caller]
fn hostile(set: &Set, parts: &[&str]) {
    let output = path(&set.path("hostile"), "out.png");
    let complaint = refused(&set.one(&output, &[]));
    assert_holds(&complaint, parts);
    assert!(complaint.len() < 2000, "{complaint}");
    assert!(names(&set.path("hostile")).is_empty(), "{complaint}");
}

#[test]
fn hostile_keypoints_are_refused() {
    let set = Set::new();
    let file = set.file("openpose_json/a_keypoints.json");
    let good = fs::read_to_string(&file).unwrap();
    let mut far = joints(SIZES[0]);
    far[0] = 1e300;
    let nested = format!(r#"{{"hands":{}"#, "[".repeat(100_000));
    for (json, said) in [
        (format!("{good}{}", " ".repeat(16 << 20)), "are more than the 16777216 that a file of keypoints may have"),
        (nested, "keypoints must be JSON as OpenPose writes it: EOF"),
        (good.replacen("0.9", "NaN", 1), "says NaN, which is no coordinate; write 0, 0, 0"),
        (keypoints(&[far]), "the nose lies at 1e300"),
        (keypoints(&[]), "no person was found in the picture"),
        (keypoints(&[vec![0.0; 75]]), "the person has no joint"),
        (String::new(), "keypoints must be JSON"),
    ] {
        fs::write(&file, json).unwrap();
        hostile(&set, &["a_keypoints.json: ", said]);
    }
}

#[test]
fn hostile_pictures_are_refused() {
    let set = Set::new();
    let mask = set.file("cloth-mask/c.png");
    let good = fs::read(&mask).unwrap();
    for (value, said) in [(0.0, "the mask is black everywhere"), (1.0, "the mask is white everywhere")] {
        write_mask(&mask, &Plane { height: 128, width: 96, data: vec![value; 128 * 96] }).unwrap();
        hostile(&set, &["cloth-mask/c.png: ", said, "white where the garment is"]);
    }
    fs::write(&mask, good).unwrap();

    let photo = set.file("image/a.png");
    let good = fs::read(&photo).unwrap();
    write_rgb(&photo, &Image::filled(1, 1, [0.0; 3])).unwrap();
    hostile(&set, &["a.png", "is 128x96, but", "is 1x1", "must be of one size"]);
    fs::write(&photo, huge(&good)).unwrap();
    hostile(&set, &["image/a.png: 20000x20000", "scale the picture down"]);
    fs::write(&photo, &huge(&good)[..40]).unwrap();
    hostile(&set, &["image/a.png: 20000x20000"]);
    fs::write(&photo, "").unwrap();
    hostile(&set, &["image/a.png: "]);
    fs::write(&photo, good).unwrap();

    let garment = set.file("cloth/c.png");
    fs::remove_file(&mask).unwrap();
    write_rgb(&garment, &Image::filled(1, 1, [0.0; 3])).unwrap();
    hostile(&set, &["cloth/c.png: ", "give the garment's mask"]);
    write_rgb(&garment, &Image::filled(1, 3000, [0.0; 3])).unwrap();
    hostile(&set, &["cloth/c.png: "]);
}

/// A PNG that claims 20,000x20,000 pixels.
fn huge(png: &[u8]) -> Vec<u8> {
    let mut png = png.to_vec();
    let side = 20_000_u32.to_be_bytes();
    png[16..20].copy_from_slice(&side);
    png[20..24].copy_from_slice(&side);
    let sum = png[12..29].iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
    });
    png[29..33].copy_from_slice(&(!sum).to_be_bytes());
    png
}

#[test]
fn weights_that_hold_nan_are_named() {
    let set = Set::new();
    for name in ["seg", "gmm", "alias"] {
        let file = set.weights.join(format!("{name}.safetensors"));
        let good = fs::read(&file).unwrap();
        let mut weights = Checkpoint::read(&file).unwrap();
        let key =
            weights.keys().find(|key| key.ends_with("weight") || key.ends_with("weight_orig")).unwrap().to_owned();
        let array = weights.get(&key).unwrap();
        let (shape, mut values) = (array.shape().to_vec(), array.to_f32().unwrap().to_vec());
        values[3] = f32::NAN;
        weights.insert(&key, Array::from_f32(&shape, &values));
        weights.write_safetensors(&file).unwrap();
        hostile(&set, &[&format!("{name}.safetensors: "), &key, "NaN", "tryon inspect"]);
        fs::write(&file, good).unwrap();
    }
    quiet(&set.one(&set.path("fine.png"), &[]));
}
