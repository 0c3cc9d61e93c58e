//! `tryon export`: the weights of a training's generator.

use super::outputs::Outputs;
use super::report_damaged;
use alias_model::Checkpoint;
use alias_train::{Checkpoints, Newest, RunCheckpoint};
use anyhow::{Context, Result};
use std::path::PathBuf;

/// Write a training's generator as weights for every other command.
///
/// The metadata hold the step and the settings of the training.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A folder that `tryon train` wrote to, whose newest checkpoint is taken, or one of its checkpoints
    #[arg(value_name = "RUN|CHECKPOINT")]
    from: PathBuf,

    /// The safetensors file to write
    #[arg(short, long, alias = "output", value_name = "FILE")]
    out: PathBuf,

    /// Write 16-bit floats, for half the size
    #[arg(long)]
    half: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<String> {
    let Arguments { from, out, half } = arguments;
    let mut outputs = Outputs::new([], [from.as_path()]);
    outputs.file(out)?;
    outputs.create()?;
    let checkpoint = if from.is_dir() {
        let newest = Checkpoints::of(from).newest()?;
        let Newest { checkpoint, damaged } = newest
            .with_context(|| format!("{}: no checkpoint of a training in its folder checkpoints", from.display()))?;
        report_damaged(&damaged);
        checkpoint
    } else {
        RunCheckpoint::read(from)?
    };
    let weights = checkpoint.generator();
    let weights = if *half { in_half(&weights)? } else { weights };
    weights.write_safetensors(out)?;
    let size = std::fs::metadata(out).with_context(|| format!("{}", out.display()))?.len();
    Ok(format!("{}: step {}, {:.1} MiB\n", out.display(), checkpoint.step, size as f64 / f64::from(1 << 20)))
}

fn in_half(weights: &Checkpoint) -> Result<Checkpoint> {
    let mut half = Checkpoint::new();
    for (name, array) in weights.iter() {
        half.insert(name, array.to_half()?);
    }
    half.metadata_mut().extend(weights.metadata().clone());
    Ok(half)
}
