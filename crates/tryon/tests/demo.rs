//! The weights that come with `tryon demo`.

mod common;

use alias_checkpoint::Dtype;
use alias_model::Checkpoint;
use common::{succeeds, text};
use serde_json::Value;
use std::fs;
use std::path::Path;

const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo.safetensors");

/// On 16 scenes that they were not trained on, they clearly beat pasting the warped garment onto the agnostic picture;
/// assets/README.md has the figures for 40 scenes.
#[test]
fn garments_are_moved_onto_unseen_figures() {
    let folder = tempfile::tempdir().unwrap();
    let [set, scores] = ["set", "scores.json"].map(|name| folder.path().join(name));
    succeeds(&["dataset", "draw", text(&set), "--count", "16", "--seed", "1", "--size", "256x128"]);
    let printed =
        succeeds(&["evaluate", "--weights", WEIGHTS, "--data", text(&set), "--json", text(&scores), "--device", "cpu"]);
    let json: Value = serde_json::from_slice(&fs::read(scores).unwrap()).unwrap();
    for (region, bar) in [("picture", 2.0), ("misaligned", 3.0)] {
        let gain = json["mean"][region]["difference"]["psnr"].as_f64().unwrap();
        assert!(gain >= bar, "{region}: {gain} dB, not {bar}\n{printed}");
    }
}

/// Their metadata tell how they were trained.
#[test]
fn weights_are_small_and_tell_their_training() {
    assert!(fs::metadata(WEIGHTS).unwrap().len() <= 8 << 20);
    let weights = Checkpoint::read(WEIGHTS).unwrap();
    assert!(weights.iter().all(|(_, array)| array.dtype() == Dtype::F16));
    let settings: Value = serde_json::from_str(&weights.metadata()["settings"]).unwrap();
    let steps = settings["steps"].as_u64().unwrap() + settings["decay-steps"].as_u64().unwrap();
    assert_eq!(weights.metadata()["step"], steps.to_string(), "the last step");
}

#[test]
fn a_sheet_and_its_scores_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let printed = succeeds(&["demo", "-o", text(folder.path()), "--device", "cpu"]);
    assert!(printed.contains("6 scenes at 256x128 on ") && printed.contains("misaligned  generator"), "{printed}");
    let sheet = alias_pictures::images::read_size(&folder.path().join("sheet.png")).unwrap();
    // Seven columns of six rows.
    assert_eq!(sheet, (17 + 6 * 260, 4 + 7 * 132));
    assert!(Path::new(&folder.path().join("result/06.png")).exists());
}
