//! `tryon evaluate` as its users run it.

mod common;

use alias_checkpoint::Array;
use alias_model::Checkpoint;
use alias_pictures::dataset::Dataset;
use alias_pictures::images::{Image, read_rgb, write_rgb};
use common::{fails, succeeds, text, weights};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn drawn(folder: &Path, count: &str, size: &str) -> PathBuf {
    let set = folder.join("set");
    succeeds(&["dataset", "draw", text(&set), "--count", count, "--size", size]);
    set
}

/// Evaluates, and returns what was printed and the JSON.
fn evaluate(weights: &Path, set: &Path, more: &[&str]) -> (String, Value) {
    let json = set.with_extension("json");
    let printed = succeeds(
        &[&["evaluate", "--weights", text(weights), "--data", text(set), "--json", text(&json)], more].concat(),
    );
    (printed, serde_json::from_slice(&fs::read(json).unwrap()).unwrap())
}

/// The picture that `tryon synth` draws of an example, read back from its PNG.
fn synthesized(weights: &Path, set: &Path, name: &str, more: &[&str]) -> Image {
    let out = set.with_extension("png");
    let folders = [
        ("--agnostic", "agnostic"),
        ("--pose", "openpose"),
        ("--cloth", "cloth"),
        ("--cloth-mask", "cloth-mask"),
        ("--parse", "image-parse"),
    ];
    let files = folders.map(|(flag, folder)| [flag.to_owned(), format!("{}/{folder}/{name}.png", set.display())]);
    let mut arguments = vec!["synth", "--weights", text(weights), "-o", text(&out)];
    arguments.extend(files.iter().flatten().map(String::as_str).chain(more.iter().copied()));
    succeeds(&arguments);
    read_rgb(&out).unwrap()
}

/// L1 and PSNR of two pictures in 256 levels, weighted by pixel.
fn distance(a: &[f32], b: &[f32], weights: &[f32]) -> [f64; 2] {
    let level = |v: f32| (f64::from(v) * 127.5 + 127.5).round();
    let (mut l1, mut square, mut total) = (0.0, 0.0, 0.0);
    for ((a, b), weight) in a.iter().zip(b).zip(weights.iter().cycle()) {
        let (difference, weight) = (level(*a) - level(*b), f64::from(*weight));
        l1 += weight * difference.abs() / 255.0;
        square += weight * difference.powi(2);
        total += weight;
    }
    [l1 / total, 10.0 * (255.0 * 255.0 * total / square).log10()]
}

#[track_caller]
fn assert_close(scores: &Value, want: &[f64]) {
    for (key, want) in ["l1", "psnr", "ssim"].into_iter().zip(want) {
        let got = scores[key].as_f64().unwrap();
        assert!((got - want).abs() < 1e-9, "{key} is {got}, not {want}");
    }
}

/// The scores equal those that plain loops compute, from what `tryon synth` writes and from the pasted garment.
#[test]
fn scores_are_those_of_written_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, set) = (weights(folder.path()), drawn(folder.path(), "3", "128x64"));
    let noise = ["--noise", "7"];
    let (printed, json) = evaluate(&weights, &set, &noise);
    let dataset = Dataset::open(&set).unwrap();
    let pictures = json["pictures"].as_array().unwrap();
    assert_eq!(pictures.len(), 3);
    for (index, picture) in pictures.iter().enumerate() {
        let (name, example) = (dataset.name(index), dataset.read(index).unwrap());
        assert_eq!(picture["name"], name);
        let sample = example.sample;
        let result = synthesized(&weights, &set, name, &noise).data;
        let mut pasted = sample.agnostic.clone();
        for (i, value) in pasted.iter_mut().enumerate() {
            let cover = sample.warped_mask[i % sample.labels.len()];
            *value = *value * (1.0 - cover) + sample.warped_cloth[i] * cover;
        }
        let garment: Vec<_> = sample.labels.iter().map(|&label| if label == 2 { 1.0 } else { 0.0 }).collect();
        let missing: Vec<_> =
            garment.iter().zip(&sample.warped_mask).map(|(garment, mask)| garment * (1.0 - mask)).collect();
        for (region, weights) in [("picture", vec![1.0; garment.len()]), ("garment", garment), ("misaligned", missing)]
        {
            assert_close(&picture["generator"][region], &distance(&result, &example.truth, &weights));
            assert_close(&picture["paste"][region], &distance(&pasted, &example.truth, &weights));
        }
    }
    for (region, who) in ["picture", "garment", "misaligned"].iter().flat_map(|r| [(r, "generator"), (r, "paste")]) {
        let mean = |key| pictures.iter().map(|picture| picture[who][region][key].as_f64().unwrap()).sum::<f64>() / 3.0;
        let means = ["l1", "psnr", "ssim"].map(mean);
        assert_close(&json["mean"][region][who], &means);
        let [l1, psnr, ssim] = means;
        let line = format!("{who:12}{l1:>8.4}{psnr:>9.2}{ssim:>9.4}");
        assert!(printed.contains(&line), "no '{line}' in {printed}");
    }
    let gain = &json["mean"]["misaligned"]["difference"]["psnr"];
    let psnr = |who: &str| json["mean"]["misaligned"][who]["psnr"].as_f64().unwrap();
    assert_eq!(gain.as_f64().unwrap(), psnr("generator") - psnr("paste"));
    assert!(printed.starts_with("3 pictures of 128x64, "), "{printed}");
    let settings = ["size", "count", "noise", "plain", "precision"].map(|key| json[key].to_string());
    assert_eq!(settings, ["\"128x64\"", "3", "7", "false", "\"f32\""]);
}

/// With an empty mask, "paste" is the agnostic picture: here the true picture, or the true picture plus ten levels.
#[test]
fn a_known_offset_has_known_scores() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, set) = (weights(folder.path()), drawn(folder.path(), "2", "128x64"));
    for (name, offset) in [("000001.png", 0.0), ("000002.png", 10.0 / 127.5)] {
        let truth = read_rgb(&set.join("image").join(name)).unwrap();
        let darker = Image { data: truth.data.iter().map(|v| v.min(0.9)).collect(), ..truth };
        let moved = Image { data: darker.data.iter().map(|v| v + offset).collect(), ..darker };
        write_rgb(&set.join("image").join(name), &darker).unwrap();
        write_rgb(&set.join("agnostic").join(name), &moved).unwrap();
        write_rgb(&set.join("cloth-mask").join(name), &Image::filled(128, 64, [-1.0; 3])).unwrap();
    }
    let (_, json) = evaluate(&weights, &set, &[]);
    let [same, moved] = [0, 1].map(|index| &json["pictures"][index]);
    for region in ["picture", "garment", "misaligned"] {
        assert_close(&same["paste"][region], &[0.0, 100.0, 1.0]);
        // 20 log10(255 / 10)
        assert_close(&moved["paste"][region], &[10.0 / 255.0, 28.130803608679]);
        let ssim = moved["paste"][region]["ssim"].as_f64().unwrap();
        assert!((0.9..0.9999).contains(&ssim), "{ssim}");
        let psnr = json["mean"][region]["paste"]["psnr"].as_f64().unwrap();
        assert!((psnr - 64.0654).abs() < 1e-4, "{psnr}");
    }
    // `--size` scales pictures as they are read.
    let (_, small) = evaluate(&weights, &set, &["--size", "64x64"]);
    assert_eq!(small["size"], "64x64");
    let psnr = small["pictures"][1]["paste"]["picture"]["psnr"].as_f64().unwrap();
    assert!((psnr - 28.1308).abs() < 0.1, "{psnr}");
    // With an empty mask, the whole garment is misaligned.
    assert_eq!(same["generator"]["garment"], same["generator"]["misaligned"]);

    // With a full mask, none of it is.
    for name in ["000001.png", "000002.png"] {
        write_rgb(&set.join("cloth-mask").join(name), &Image::filled(128, 64, [1.0; 3])).unwrap();
    }
    let (printed, json) = evaluate(&weights, &set, &["--count", "1"]);
    assert!(json["mean"]["misaligned"].is_null() && json["pictures"][0]["paste"]["misaligned"].is_null());
    assert!(printed.contains("misaligned  in no picture"), "{printed}");
    assert_eq!(json["pictures"].as_array().unwrap().len(), 1);
}

#[test]
fn the_ten_worst_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, set) = (weights(folder.path()), drawn(folder.path(), "12", "64x64"));
    let out = folder.path().join("new/out");
    let (printed, json) = evaluate(&weights, &set, &["-o", text(&out)]);
    let pictures = json["pictures"].as_array().unwrap();
    let psnr = |picture: &Value| picture["generator"]["picture"]["psnr"].as_f64().unwrap();
    let mut order: Vec<_> = pictures.iter().collect();
    order.sort_by(|a, b| psnr(a).total_cmp(&psnr(b)));
    let worst: Vec<_> = order[..10].iter().map(|picture| picture["name"].clone()).collect();
    assert_eq!(json["worst"].as_array().unwrap(), &worst);
    let list: String = order[..10]
        .iter()
        .map(|picture| format!("{:>8.2} dB  {}\n", psnr(picture), picture["name"].as_str().unwrap()))
        .collect();
    assert!(printed.ends_with(&list), "{printed}");

    // Cells of 64x64 with margins of 4, under a header of 17.
    let sheet = read_rgb(&out.join("worst.png")).unwrap();
    assert_eq!((sheet.height, sheet.width), (17 + 10 * 68, 4 + 8 * 68));
    let name = worst[9].as_str().unwrap();
    let file = |folder: &str| read_rgb(&set.join(format!("{folder}/{name}.png"))).unwrap();
    for (column, picture) in [(0, file("agnostic")), (6, synthesized(&weights, &set, name, &[])), (7, file("image"))] {
        let differs = |&(y, x): &(usize, usize)| {
            let (a, b) = (sheet.pixel(17 + 9 * 68 + y, 4 + column * 68 + x), picture.pixel(y, x));
            a.iter().zip(b).any(|(a, b)| (a - b).abs() > 1e-6)
        };
        let pixels = (0..64).flat_map(|y| (0..64).map(move |x| (y, x)));
        assert_eq!(pixels.clone().find(differs), None, "column {column}");
    }
}

#[test]
fn complaints_name_the_thing_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, set) = (weights(folder.path()), drawn(folder.path(), "2", "128x64"));
    let complaint = |weights: &Path, set: &Path, more: &[&str]| {
        fails(1, &[&["evaluate", "--weights", text(weights), "--data", text(set)], more].concat())
    };

    let before = fs::read(&weights).unwrap();
    let said = complaint(&weights, &set, &["--json", text(&weights)]);
    assert!(said.contains("weights.safetensors is an input; write elsewhere"), "{said}");
    assert!(fs::read(&weights).unwrap() == before);
    let said = complaint(&weights, &set, &["--json", text(&set)]);
    assert!(said.contains("set is a folder; name a file in it"), "{said}");
    let pairs = set.join("train_pairs.txt");
    let before = fs::read(&pairs).unwrap();
    let said = complaint(&weights, &set, &["--json", text(&pairs)]);
    assert!(said.contains("train_pairs.txt is an input; write elsewhere"), "{said}");
    let said = complaint(&weights, &set, &["-o", text(&set.join("image"))]);
    assert!(said.contains("image holds pictures that are read"), "{said}");
    assert!(fs::read(&pairs).unwrap() == before);

    let other = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/checkpoint_legacy.pth"));
    let said = complaint(other, &set, &[]);
    assert!(said.contains("checkpoint_legacy.pth: this is no ALIAS generator"), "{said}");

    let mut checkpoint = Checkpoint::read(&weights).unwrap();
    checkpoint.insert("conv_img.bias", Array::from_f32(&[3], &[0.0, f32::NAN, 0.0]));
    let damaged = folder.path().join("damaged.safetensors");
    checkpoint.write_safetensors(&damaged).unwrap();
    let said = complaint(&damaged, &set, &[]);
    assert!(said.contains("drawing 00000") && said.contains("`tryon inspect` names such tensors"), "{said}");
    let said = succeeds(&["inspect", text(&damaged)]);
    assert!(said.contains("NaN or infinity in 1 tensors: conv_img.bias"), "{said}");

    fs::remove_file(set.join("cloth/000002.png")).unwrap();
    fs::remove_file(set.join("image/000001.png")).unwrap();
    let said = complaint(&weights, &set, &[]);
    for part in ["cannot be used, for 2 reasons", "image: no 000001.png", "cloth: no 000002.png"] {
        assert!(said.contains(part), "{said}");
    }

    let odd = drawn(&folder.path().join("odd"), "1", "100x64");
    let said = complaint(&weights, &odd, &[]);
    assert!(said.contains("odd/set; give another --size: the image is 100x64"), "{said}");
}
