//! Running the `tryon` command, and weights for it.

#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod people;

use alias_model::{GeneratorConfig, Layers, fill};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn tryon(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tryon")).args(arguments).output().unwrap()
}

/// Runs it, which must succeed, and returns what it printed.
#[track_caller]
pub(crate) fn succeeds(arguments: &[&str]) -> String {
    let output = tryon(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs it, which must succeed, and returns its warnings.
#[track_caller]
pub(crate) fn warnings(arguments: &[&str]) -> String {
    let output = tryon(arguments);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    complaint
}

/// Runs it, which must fail with `code`, and returns the complaint.
#[track_caller]
pub(crate) fn fails(code: i32, arguments: &[&str]) -> String {
    let output = tryon(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

pub(crate) fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// Fails unless the text holds all of these.
#[track_caller]
pub(crate) fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no '{part}' in: {text}");
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Narrow weights of a generator for sizes that are multiples of 64.
pub(crate) fn weights(folder: &Path) -> PathBuf {
    let path = folder.join("weights.safetensors");
    let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(1) };
    fill(&config.network().unwrap(), 5).write_safetensors(&path).unwrap();
    path
}
