//! `tryon inspect`: the contents of a checkpoint.

use crate::weights::Kind;
use alias_model::network::Network;
use alias_model::{Checkpoint, GeneratorConfig, MatchingConfig, SegmentationConfig};
use alias_train::read_generator;
use anyhow::Result;
use std::fmt::Write;
use std::path::PathBuf;

/// Show the names and shapes of a checkpoint's tensors, values that make images wrong, and which of the three networks it is for.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The file: safetensors, or PyTorch's .pth in either format
    file: PathBuf,
}

/// The most names that are shown of tensors beside the network's.
const BESIDE: usize = 5;

pub(crate) fn run(arguments: &Arguments) -> Result<String> {
    let all = Checkpoint::read(&arguments.file)?;
    let kind = Kind::of(&all).unwrap_or(Kind::Generator);
    let found = kind.state_dict_in(&all);
    let checkpoint = found.as_deref().unwrap_or(&all);
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
    let elements: usize = checkpoint.iter().map(|(_, array)| array.numel()).sum();
    writeln!(text, "{} tensors, {elements} elements", checkpoint.len())?;
    if all.len() > checkpoint.len() {
        let is_beside = |key: &&str| !checkpoint.keys().any(|inner| key.ends_with(inner));
        let beside: Vec<_> =
            all.keys().filter(is_beside).take(BESIDE).map(|key| key.escape_debug().to_string()).collect();
        writeln!(text, "{} tensors beside them, such as {}", all.len() - checkpoint.len(), beside.join(", "))?;
    }
    let extremes = Extremes::of(checkpoint)?;
    if let Some((key, value)) = extremes.largest {
        writeln!(text, "largest value {value:.3e}, in {}", key.escape_debug())?;
    }
    if !extremes.not_finite.is_empty() {
        let keys: Vec<_> = extremes.not_finite.iter().map(|key| key.escape_debug().to_string()).collect();
        writeln!(text, "NaN or infinity in {} tensors: {}", keys.len(), keys.join(", "))?;
    }
    // A training's checkpoint holds the image generator beside the rest of the training's state.
    let weights = read_generator(&arguments.file).map_err(anyhow::Error::from);
    match weights.and_then(|weights| description(&weights)) {
        Ok(description) => writeln!(text, "{description}")?,
        Err(error) => writeln!(text, "none of the three networks; not an ALIAS generator: {error:#}")?,
    }
    Ok(text)
}

/// The network that a checkpoint holds, with its configuration, or why it is not an ALIAS generator.
fn description(weights: &Checkpoint) -> Result<String> {
    let kind = Kind::of(weights)?;
    if let Kind::Segmentation = kind {
        let config = SegmentationConfig::infer(weights)?;
        let parameters = learned(&config.network()?);
        return Ok(format!("a segmentation generator of {parameters} parameters: ngf {}", config.ngf));
    }
    if let Kind::Matching = kind {
        let config = MatchingConfig::infer(weights)?;
        let parameters = learned(&config.network()?);
        let [height, width] = config.low_size(4, 3)?;
        return Ok(format!(
            "a geometric matching module of {parameters} parameters: ngf {}, for inputs of {height}x{width}",
            config.ngf
        ));
    }
    let config = GeneratorConfig::infer(weights)?;
    let GeneratorConfig { ngf, layers, norm, spectral, plain } = config;
    let with = |has: bool| if has { "with" } else { "without" };
    Ok(format!(
        "an ALIAS generator of {} parameters: ngf {ngf}, layers {layers:?}, norm {norm:?}, {} spectral norm, {} mask norm",
        learned(&config.network()?),
        with(spectral),
        with(!plain)
    ))
}

/// The number of a network's learned values.
fn learned(network: &Network) -> usize {
    let all = network.parameters();
    let learned = all.iter().filter(|parameter| parameter.kind.is_learned());
    learned.map(|parameter| parameter.shape.iter().product::<usize>()).sum()
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
