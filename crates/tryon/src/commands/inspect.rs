//! `tryon inspect`: the contents of a checkpoint.

use alias_checkpoint::Array;
use alias_model::{Checkpoint, GeneratorConfig};
use anyhow::Result;
use std::fmt::Write;
use std::path::PathBuf;

/// Show a checkpoint's configuration, its tensors' names and shapes, and the number of parameters.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The file: safetensors, or PyTorch's .pth in either format
    file: PathBuf,
}

/// Suffixes of buffers, which are part of the state dict but not learned.
const BUFFERS: [&str; 5] = [".weight_u", ".weight_v", ".running_mean", ".running_var", ".num_batches_tracked"];

pub(crate) fn run(arguments: &Arguments) -> Result<String> {
    let checkpoint = Checkpoint::read(&arguments.file)?;
    let mut text = String::new();
    let width = checkpoint.keys().map(str::len).max().unwrap_or(0);
    // Escaped: names in a file may hold a terminal's control sequences.
    for (key, array) in checkpoint.iter() {
        let (key, dtype) = (key.escape_debug().to_string(), format!("{:?}", array.dtype()));
        writeln!(text, "{key:width$}  {dtype:<4}  {:?}", array.shape())?;
    }
    for (key, value) in checkpoint.metadata() {
        writeln!(text, "metadata {}: {}", key.escape_debug(), value.escape_debug())?;
    }
    let is_buffer = |key: &str| BUFFERS.iter().any(|suffix| key.ends_with(suffix));
    let count = |buffers: bool| -> usize {
        checkpoint
            .iter()
            .filter(|(key, _)| is_buffer(key) == buffers)
            .map(|(_, array): (_, &Array)| array.numel())
            .sum()
    };
    writeln!(text, "{} tensors, {} parameters, {} elements of buffers", checkpoint.len(), count(false), count(true))?;
    let extremes = Extremes::of(&checkpoint)?;
    if let Some((key, value)) = extremes.largest {
        writeln!(text, "largest value {value:.3e}, in {}", key.escape_debug())?;
    }
    if !extremes.not_finite.is_empty() {
        let keys: Vec<_> = extremes.not_finite.iter().map(|key| key.escape_debug().to_string()).collect();
        writeln!(text, "NaN or infinity in {} tensors: {}", keys.len(), keys.join(", "))?;
    }
    match GeneratorConfig::infer(&checkpoint) {
        Ok(GeneratorConfig { ngf, layers, norm, spectral, .. }) => {
            let spectral = if spectral { "with" } else { "without" };
            writeln!(
                text,
                "an ALIAS generator: ngf {ngf}, layers {layers:?}, norm {norm:?}, {spectral} spectral norm"
            )?;
        }
        Err(_) => writeln!(text, "not an ALIAS generator")?,
    }
    Ok(text)
}

/// What makes an image wrong that weights draw.
#[derive(Default)]
struct Extremes<'a> {
    /// The finite value that is furthest from 0, and its tensor.
    largest: Option<(&'a str, f32)>,
    /// Tensors that hold NaN or infinity.
    not_finite: Vec<&'a str>,
}

impl Extremes<'_> {
    fn of(checkpoint: &Checkpoint) -> Result<Extremes<'_>> {
        let mut extremes = Extremes::default();
        for (key, array) in checkpoint.iter() {
            let values = array.to_f32()?;
            if values.iter().any(|value| !value.is_finite()) {
                extremes.not_finite.push(key);
            }
            let finite = values.into_iter().filter(|value| value.is_finite());
            let largest = finite.max_by(|a, b| a.abs().total_cmp(&b.abs()));
            if let Some(value) = largest.filter(|v| extremes.largest.is_none_or(|(_, most)| v.abs() > most.abs())) {
                extremes.largest = Some((key, value));
            }
        }
        Ok(extremes)
    }
}
