//! `tryon train` killed, again and again.

#![cfg(unix)]

mod training;

use alias_model::plan::philox::philox4x32_10;
use alias_train::Checkpoints;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};
use training::{assert_undisturbed, exits, printed, resume, start, tryon, undisturbed};

const KILLS: u32 = 20;
/// About the time that writing a checkpoint takes.
const WRITING: Duration = Duration::from_millis(8);

/// SIGKILL at random instants, every other one while a checkpoint is being written: the run goes on from its newest
/// checkpoint, and ends where an undisturbed one does.
#[test]
fn twenty_kills_change_nothing() {
    let (_, duration) = undisturbed();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let checkpoints = Checkpoints::of(&out);
    let newest = || {
        checkpoints.newest().unwrap().map_or(0, |newest| {
            assert!(newest.damaged.is_empty(), "{:?}", newest.damaged);
            newest.checkpoint.step
        })
    };
    let (mut kills, mut unfinished) = (0, 0);
    while kills < KILLS {
        let before = newest();
        let is_new = checkpoints.steps().unwrap().is_empty();
        let mut command = if is_new { tryon(&start(&out, &[])) } else { tryon(&resume(&out)) };
        let mut process = command.spawn().unwrap();
        let random = f64::from(philox4x32_10([kills, 0, 0, 0], [0, 0])[0]) / f64::from(u32::MAX);
        if kills.is_multiple_of(2) {
            sleep(duration.mul_f64(0.25 * random));
        } else {
            wait_until_it_writes(&mut process, &out);
            sleep(WRITING.mul_f64(random));
        }
        process.kill().unwrap();
        unfinished += usize::from(writes(&process, &out));
        let output = process.wait_with_output().unwrap();
        if output.status.success() {
            // The kill came too late: start again.
            assert_undisturbed(&out);
            fs::remove_dir_all(&out).unwrap();
            continue;
        }
        assert_eq!(output.status.code(), None, "kill {kills}: {}", printed(&output));
        kills += 1;
        assert!(newest() >= before, "kill {kills} lost a checkpoint");
    }
    println!("{KILLS} kills, {unfinished} of them with a file half written");
    assert!(unfinished > 0, "no kill came while a checkpoint was written");
    exits(0, &mut tryon(&resume(&out)));
    assert_undisturbed(&out);
    assert!(!has_file(&out.join("checkpoints"), ".tmp"), "what was half written is gone");
}

/// Waits until the process writes a checkpoint, or ends.
fn wait_until_it_writes(process: &mut Child, out: &Path) {
    let begun = Instant::now();
    while !writes(process, out) && process.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(100), "no checkpoint in {}", out.display());
        sleep(Duration::from_millis(1));
    }
}

/// Whether the process has a checkpoint half written.
fn writes(process: &Child, out: &Path) -> bool {
    has_file(&out.join("checkpoints"), &format!(".{}-", process.id()))
}

fn has_file(folder: &Path, part: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains(part))
}
