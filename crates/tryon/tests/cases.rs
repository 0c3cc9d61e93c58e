//! Files as people have them, each of a kind that users have reported: read as they are meant, or refused with the remedy.
//! `cases/base` holds five well-formed pictures, of which each case replaces one.

mod common;

use alias_pictures::images::read_rgb;
use common::{fails, succeeds, text, weights};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo.safetensors");
const INPUTS: [&str; 5] = ["agnostic", "pose", "cloth", "cloth-mask", "parse"];

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name)
}

/// The command line that draws from the base pictures, `case` in place of `input`.
fn arguments(input: &str, file: &Path, output: &Path) -> Vec<String> {
    let files = ["agnostic", "pose", "cloth", "mask", "parse"].map(|name| case(&format!("base/{name}.png")));
    let mut arguments: Vec<String> = ["--device", "cpu", "synth", "--weights", WEIGHTS].map(str::to_owned).to_vec();
    for (name, base) in INPUTS.iter().zip(files) {
        let path = if *name == input { file.to_owned() } else { base };
        arguments.extend([format!("--{name}"), text(&path).to_owned()]);
    }
    arguments.extend(["-o".to_owned(), text(output).to_owned()]);
    arguments
}

/// Draws, and returns the picture and what was told.
#[track_caller]
fn drawn(input: &str, file: &str) -> (Vec<f32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.png");
    let output = Command::new(env!("CARGO_BIN_EXE_tryon")).args(arguments(input, &case(file), &path)).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{file}: {told}");
    (read_rgb(&path).unwrap().data, told)
}

#[track_caller]
fn refused(input: &str, file: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let arguments = arguments(input, file, &folder.path().join("out.png"));
    fails(1, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn mean_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32
}

#[test]
fn masks_and_labels_are_read_as_they_are_meant() {
    for (input, file, meant, words) in [
        ("cloth-mask", "mask_0_1.png", "mask_0_1_meant.png", "masks are 0 and 255"),
        ("parse", "parse_quantized.png", "base/parse.png", "labels are taken from them"),
        ("parse", "parse_lip_reordered.png", "parse_lip_meant.png", "those of LIP and CIHP"),
    ] {
        let (picture, told) = drawn(input, file);
        assert!(told.starts_with("warning: ") && told.contains(file) && told.contains(words), "{told}");
        assert_eq!((picture, String::new()), drawn(input, meant), "{file}");
    }
}

#[test]
fn pictures_are_upright_and_of_any_format() {
    for (input, file, meant) in [
        ("agnostic", "turned_180.jpg", "base/agnostic.png"),
        // The person, in place of a garment.
        ("cloth", "garment_webp.jpg", "base/agnostic.png"),
    ] {
        let (picture, told) = drawn(input, file);
        let difference = mean_difference(&picture, &drawn(input, meant).0);
        assert!(told.is_empty() && difference < 0.02, "{file}: {difference}, {told}");
    }
    let told = refused("parse", &case("parse.jpg"));
    assert!(told.contains("a JPEG, which changes labels") && told.contains("palette (indexed)"), "{told}");
}

#[test]
fn foreign_files_are_called_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("garment.png");
    for (content, words) in [
        (&b"\0\0\0\x20ftypavif\0\0\0\0avif"[..], "this is an AVIF picture; convert it"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1", "this is a HEIC picture"),
        (b"<!DOCTYPE html><html>", "this is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"", "an empty file"),
        (b"hello, this is text", "no picture of a known format"),
    ] {
        fs::write(&path, content).unwrap();
        let told = refused("cloth", &path);
        assert!(told.contains(words) && told.contains("garment.png"), "{told}");
    }
}

#[test]
fn a_generator_is_found_in_any_checkpoint() {
    let names = |printed: &str| -> Vec<String> {
        let lines = printed.lines().filter(|line| line.contains("F32"));
        lines.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    };
    let plain = succeeds(&["inspect", text(&case("not_finite.pth"))]);
    assert!(plain.contains("NaN or infinity in 1 tensors: conv_0.weight"), "{plain}");
    for file in ["loss_beside_weights.pth", "compiled.pth", "parametrized.pth", "multistep.pth"] {
        let printed = succeeds(&["inspect", text(&case(file))]);
        assert_eq!(names(&printed), names(&plain), "{file}");
        assert!(printed.contains("an ALIAS generator") && printed.contains("with spectral norm"), "{file}: {printed}");
    }
    let told = fails(1, &["inspect", text(&case("download.zip"))]);
    assert!(told.contains("holds 'checkpoints/alias_final.pth'") && told.contains("unpack it"), "{told}");
    let told = fails(1, &["inspect", text(&case(""))]);
    assert!(told.contains("this is a folder. To fix it, name a checkpoint file"), "{told}");
}

/// Whole weights under a prefix, beside others, draw what they draw without.
#[test]
fn weights_under_a_prefix_draw_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let weights = alias_model::Checkpoint::read(weights(folder.path())).unwrap();
    let draw = |checkpoint: &alias_model::Checkpoint| {
        let (file, output) = (folder.path().join("w.safetensors"), folder.path().join("out.png"));
        checkpoint.write_safetensors(&file).unwrap();
        let mut arguments = arguments("", Path::new(""), &output);
        arguments[4] = text(&file).to_owned();
        succeeds(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        fs::read(output).unwrap()
    };
    let mut wrapped = alias_model::Checkpoint::new();
    wrapped.insert("n_averaged", alias_model::checkpoint::Array::from_f32(&[1], &[1.0]));
    wrapped.insert("netD.conv_0.bias", alias_model::checkpoint::Array::from_f32(&[1], &[1.0]));
    for (name, array) in weights.iter() {
        let name = match name.strip_suffix(".weight_orig") {
            Some(base) => format!("{base}.parametrizations.weight.original"),
            None => name.replace(".weight_", ".parametrizations.weight.0._"),
        };
        wrapped.insert(format!("netG.{name}"), array.clone());
    }
    assert_eq!(draw(&wrapped), draw(&weights));

    let mut hr = alias_model::Checkpoint::new();
    for (name, array) in weights.iter().filter(|(name, _)| !name.contains("head_0.norm_0.conv_shared.0.weight")) {
        hr.insert(name, array.clone());
    }
    let narrow = alias_model::checkpoint::Array::from_f32(&[128, 7, 3, 3], &vec![0.0; 128 * 7 * 9]);
    hr.insert("head_0.norm_0.conv_shared.0.weight", narrow);
    let file = folder.path().join("hr.safetensors");
    hr.write_safetensors(&file).unwrap();
    let printed = succeeds(&["inspect", text(&file)]);
    assert!(printed.contains("it is HR-VITON's image generator"), "{printed}");
}

/// A dataset of one example, whose files are called `name`, with a pairs file of these bytes.
fn dataset(name: &str, mask: &str, pairs: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (kind, file) in [
        ("image", "base/agnostic.png"),
        ("agnostic", "base/agnostic.png"),
        ("openpose", "base/pose.png"),
        ("cloth", "base/cloth.png"),
        ("cloth-mask", mask),
        ("image-parse", "base/parse.png"),
    ] {
        fs::create_dir(folder.path().join(kind)).unwrap();
        fs::copy(case(file), folder.path().join(kind).join(name)).unwrap();
    }
    fs::write(folder.path().join("train_pairs.txt"), pairs).unwrap();
    folder
}

#[test]
fn pairs_files_and_names_of_any_system_are_read() {
    let pairs = |file: &str| fs::read(case(file)).unwrap();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    for (name, pairs) in [
        ("photo.png", pairs("pairs_bom.txt")),
        ("photo.JPG", pairs("pairs_bom.txt")),
        ("photo_rendered.png", pairs("pairs_bom.txt")),
        ("IMG 0001 (1).png", pairs("pairs_spaces.txt")),
        ("cafe\u{301}.png", "caf\u{e9}.png caf\u{e9}.png\n".into()),
        ("photo.png", [vec![0xff, 0xfe], utf16("photo.png photo.png\r\n")].concat()),
        ("photo.png", utf16("photo.png photo.png\n")),
    ] {
        let folder = dataset(name, "base/mask.png", &pairs);
        let printed = succeeds(&["dataset", "check", text(folder.path())]);
        assert!(printed.starts_with("1 examples of 128x64"), "{name}: {printed}");
    }
    let folder = dataset("photo.png", "mask_0_1.png", &pairs("pairs_bom.txt"));
    let output =
        Command::new(env!("CARGO_BIN_EXE_tryon")).args(["dataset", "check", text(folder.path())]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.contains("masks are 0 and 255"), "{told}");
}

#[test]
fn folders_of_viton_hds_own_names_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = ["agnostic-v3.2", "openpose_img", "cloth", "cloth-mask", "image-parse-v3"];
    let inputs = inputs.map(|name| case("viton_names").join(name));
    let mut arguments = vec!["--device", "cpu", "synth", "--weights", WEIGHTS];
    let options = INPUTS.map(|name| format!("--{name}"));
    for (option, input) in options.iter().zip(&inputs) {
        arguments.extend([option.as_str(), text(input)]);
    }
    let output = folder.path().join("out");
    arguments.extend(["-o", text(&output)]);
    succeeds(&arguments);
    assert!(output.join("00005_00.png").is_file());
}

#[test]
fn outputs_are_checked_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.jpg");
    let line = arguments("", Path::new(""), &output);
    let told = fails(1, &line.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(told.contains("give a name that ends in .png") && !output.exists(), "{told}");
    // A file is in the way of the cache folder. It is told before anything is measured, which would take longer.
    fs::write(folder.path().join("cache"), "").unwrap();
    let told = Command::new(env!("CARGO_BIN_EXE_tryon"))
        .args(["--device", "gpu", "bench", "--tune", "--ngf", "2", "--size", "128x128"])
        .env("XDG_CACHE_HOME", folder.path().join("cache"))
        .env("HOME", folder.path().join("cache"))
        .output()
        .unwrap();
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains("cannot be written to") && told.contains("set XDG_CACHE_HOME"), "{told}");
}

/// Where the system refuses memory or threads.
#[cfg(target_os = "linux")]
mod limits {
    use super::*;

    #[test]
    fn too_little_memory_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        succeeds(&["dataset", "draw", text(&data), "--count", "1", "--size", "1024x768"]);
        let mut line = arguments("", Path::new(""), &folder.path().join("out.png"));
        for (at, kind) in [(6, "agnostic"), (8, "openpose"), (10, "cloth"), (12, "cloth-mask"), (14, "image-parse")] {
            line[at] = text(&data.join(kind).join("000001.png")).to_owned();
        }
        let command = format!("ulimit -v 300000; exec {} {}", env!("CARGO_BIN_EXE_tryon"), line.join(" "));
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && told.starts_with("error: out of memory"), "{told}");
    }
}
