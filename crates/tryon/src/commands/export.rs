//! `tryon export`: the generator of a training.

use super::{passed_over, spare};
use alias_model::Checkpoint;
use alias_train::{Checkpoints, Newest, Saved, generator};
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;

/// Write the generator of a training as weights for every other command.
///
/// The metadata tell the step and the settings of the training.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder that `tryon train` wrote to, of which the newest checkpoint is taken, or one of its checkpoints
    #[arg(value_name = "RUN|CHECKPOINT")]
    from: PathBuf,

    /// Where to write: a safetensors file
    #[arg(short, long, alias = "output", value_name = "FILE")]
    out: PathBuf,

    /// Write 16-bit floats, for half the size
    #[arg(long)]
    half: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<String> {
    let Arguments { from, out, half } = arguments;
    spare(out, [from.as_path()])?;
    let saved = if from.is_dir() {
        let newest = Checkpoints::of(from).newest()?;
        let Newest { saved, damaged } = newest
            .with_context(|| format!("{}: no checkpoint of a training in its folder checkpoints", from.display()))?;
        passed_over(&damaged);
        saved
    } else {
        Saved::read(from)?
    };
    ensure!(!out.is_dir(), "{} is a folder; name a file to write", out.display());
    let weights = generator(&saved);
    let weights = if *half { in_half(&weights)? } else { weights };
    weights.write_safetensors(out)?;
    let size = std::fs::metadata(out).with_context(|| format!("{}", out.display()))?.len();
    Ok(format!("{}: step {}, {:.1} MiB\n", out.display(), saved.step, size as f64 / f64::from(1 << 20)))
}

fn in_half(weights: &Checkpoint) -> Result<Checkpoint> {
    let mut half = Checkpoint::new();
    for (name, array) in weights.iter() {
        half.insert(name, array.to_half()?);
    }
    half.metadata_mut().extend(weights.metadata().clone());
    Ok(half)
}
