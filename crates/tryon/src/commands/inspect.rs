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
