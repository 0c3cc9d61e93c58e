//! What the tests of `tryon train` share: a small dataset, and a run that nothing disturbs.

#![allow(dead_code, reason = "no test uses all of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Steps of the undisturbed run.
pub(crate) const STEPS: u64 = 8;
/// The narrowest networks. With 5 examples and batches of 2, epochs end within steps.
const SETTINGS: [&str; 18] = [
    "--size",
    "64x64",
    "--layers",
    "more",
    "--ngf",
    "1",
    "--ndf",
    "1",
    "--batch",
    "2",
    "--steps",
    "5",
    "--decay-steps",
    "3",
    "--seed",
    "7",
    "--checkpoint-every",
    "1",
];

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn tryon(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tryon"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What it printed on stderr and stdout.
pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stderr[..], &output.stdout].concat()).into_owned()
}

/// Runs it, which must succeed.
#[track_caller]
pub(crate) fn succeeds(arguments: &[&str]) -> String {
    exits(0, &mut tryon(arguments))
}

/// Runs it, which must exit with `code`.
#[track_caller]
pub(crate) fn exits(code: i32, command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {}", printed(&output));
    printed(&output)
}

/// A dataset of five examples, drawn once.
pub(crate) fn data() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        succeeds(&["dataset", "draw", text(folder.path()), "--count", "5", "--size", "128x64"]);
        folder
    });
    folder.path()
}

/// The command line that starts the run in folder `out`.
pub(crate) fn start<'a>(out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--data", text(data()), "--out", text(out)], &SETTINGS[..], more].concat()
}

/// The command line that resumes it.
pub(crate) fn resume(out: &Path) -> [&str; 4] {
    ["train", "--resume", "--out", text(out)]
}

/// A run of [`STEPS`] steps that nothing disturbs, and how long it took.
pub(crate) fn undisturbed() -> &'static (TempDir, Duration) {
    static RUN: OnceLock<(TempDir, Duration)> = OnceLock::new();
    RUN.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        succeeds(&start(folder.path(), &[]));
        (folder, begun.elapsed())
    })
}

pub(crate) fn checkpoint(run: &Path, step: u64) -> PathBuf {
    run.join(format!("checkpoints/step-{step:08}.safetensors"))
}

/// Asserts that a finished run equals the undisturbed one, bit for bit.
#[track_caller]
pub(crate) fn assert_undisturbed(run: &Path) {
    let (undisturbed, _) = undisturbed();
    let same = |name: &Path| fs::read(run.join(name)).unwrap() == fs::read(undisturbed.path().join(name)).unwrap();
    assert!(same(&checkpoint(Path::new(""), STEPS)), "another checkpoint");
    assert!(same(Path::new("generator.safetensors")), "another generator");
    assert_eq!(steps(run), (1..=STEPS).collect::<Vec<_>>(), "each step is logged once");
    assert_eq!(losses(run), losses(undisturbed.path()));
}

/// The lines of a run's log; the last one may be half written.
fn lines(run: &Path) -> Vec<serde_json::Value> {
    let log = fs::read_to_string(run.join("log.jsonl")).unwrap_or_default();
    log.lines().map_while(|line| serde_json::from_str(line).ok()).collect()
}

/// The steps that a run has logged.
pub(crate) fn steps(run: &Path) -> Vec<u64> {
    lines(run).iter().filter_map(|line| line["step"].as_u64()).collect()
}

/// The losses of each step, as they are logged.
pub(crate) fn losses(run: &Path) -> Vec<[f64; 5]> {
    const NAMES: [&str; 5] = ["discriminator", "generator", "gan", "feature_matching", "perceptual"];
    lines(run)[1..].iter().map(|line| NAMES.map(|name| line[name].as_f64().unwrap())).collect()
}

/// Waits until a run has logged `count` steps.
pub(crate) fn wait_for(run: &Path, count: usize) {
    let begun = Instant::now();
    while steps(run).len() < count {
        assert!(begun.elapsed() < Duration::from_secs(100), "no {count} steps in {}", run.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A copy of a run's folder.
pub(crate) fn copy(run: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["checkpoints", "samples"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        for entry in fs::read_dir(run.join(name)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.path().join(name).join(path.file_name().unwrap())).unwrap();
        }
    }
    for name in ["log.jsonl", "generator.safetensors"] {
        fs::copy(run.join(name), folder.path().join(name)).unwrap();
    }
    folder
}
