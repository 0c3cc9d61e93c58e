//! The command line of `tryon train`.

use crate::commands::parse_size;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Train a generator on pictures, against a discriminator.
///
/// RUN then holds log.jsonl, a line of JSON for each step; losses.png, their curves; samples/, the generator's pictures
/// of the first examples; checkpoints/, from which --resume continues bit for bit; and generator.safetensors, the
/// newest weights, for the other commands. Ctrl-C saves and ends; a second Ctrl-C ends at once.
///
/// A GPU trains where there is a real one, else the processor's cores do.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The run's folder
    #[arg(short, long, alias = "output", value_name = "RUN")]
    pub(super) out: PathBuf,

    /// Resume the run in this folder, with its own settings
    #[arg(long)]
    pub(super) resume: bool,

    /// Threads that load pictures [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Data")]
    pub(super) workers: Option<u16>,

    #[command(flatten)]
    given: Given,
}

/// The settings given on the command line, by the names of [`Settings`](alias_train::Settings).
#[derive(clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Given {
    /// A dataset in VITON-HD's layout (see `tryon dataset check --help`) [with --resume, default: the run's]
    #[arg(long, value_name = "DIR", required_unless_present = "resume", help_heading = "Data")]
    data: Option<PathBuf>,

    /// Train at this size, height x width [default: that of the pictures]
    #[arg(long, value_name = "HxW", value_parser = parse_size, help_heading = "Data")]
    size: Option<[usize; 2]>,

    /// Examples per step; `auto` for as many as fit the device at once [default: 1]
    #[arg(long, value_name = "N", value_parser = batch, help_heading = "Data")]
    batch: Option<BatchSize>,

    /// Examples that are computed together; more take more memory and use a large GPU better [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65536), help_heading = "Data")]
    at_once: Option<u64>,

    /// Steps at the full learning rates [default: 100000]
    #[arg(long, value_name = "N", help_heading = "Training")]
    steps: Option<u64>,

    /// Steps after --steps, in which the rates fall linearly to zero [default: 100000]
    #[arg(long, value_name = "N", help_heading = "Training")]
    decay_steps: Option<u64>,

    /// Seed of the initial weights, the order of the examples, and the noise [default: 0]
    #[arg(long, value_name = "S", help_heading = "Training")]
    seed: Option<u64>,

    /// The generator's learning rate [default: 0.0001]
    #[arg(long, value_name = "R", value_parser = finite, help_heading = "Training")]
    generator_rate: Option<f64>,

    /// The discriminator's learning rate [default: 0.0004]
    #[arg(long, value_name = "R", value_parser = finite, help_heading = "Training")]
    discriminator_rate: Option<f64>,

    /// Adam's epsilon, added to the root of the second moment [default: 0.00000001]
    #[arg(long, value_name = "E", value_parser = finite, help_heading = "Training")]
    eps: Option<f64>,

    /// Width of the generator [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=4096), conflicts_with = "weights", help_heading = "Networks")]
    ngf: Option<u64>,

    /// Upsampling layers of the generator: `more` for sizes that are multiples of 64, `most` for multiples of 128
    /// [default: most]
    #[arg(long, value_parser = ["more", "most"], conflicts_with = "weights", help_heading = "Networks")]
    layers: Option<String>,

    /// Normalization of the generator's blocks that have no mask norm [default: instance]
    #[arg(long, value_parser = ["instance", "batch"], conflicts_with = "weights", help_heading = "Networks")]
    norm: Option<String>,

    /// Train the ablation of the paper's figure 8: no mask norm
    #[arg(long, help_heading = "Networks")]
    plain: bool,

    /// Start the generator from these weights instead of random ones
    #[arg(long, value_name = "FILE", help_heading = "Networks")]
    weights: Option<PathBuf>,

    /// Width of the discriminator [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=512), conflicts_with = "discriminator", help_heading = "Networks")]
    ndf: Option<u64>,

    /// Start the discriminator from these weights; --weights and this option both take a training's checkpoint
    #[arg(long, value_name = "FILE", help_heading = "Networks")]
    discriminator: Option<PathBuf>,

    /// Gain of the initial weights' Xavier initialization; for learning rates far above 1e-4, 1 preserves their rank
    /// [default: 0.02]
    #[arg(long, value_name = "G", value_parser = finite, help_heading = "Networks")]
    gain: Option<f64>,

    /// The adversarial loss [default: hinge]
    #[arg(long, value_parser = ["hinge", "vanilla", "lsgan"], help_heading = "Losses")]
    gan: Option<String>,

    /// Weights of torchvision's vgg19 for the perceptual loss [default: none, the loss is L1 of pixels]
    #[arg(long, value_name = "FILE", help_heading = "Losses")]
    vgg: Option<PathBuf>,

    /// Weight of the feature matching loss [default: 10]
    #[arg(long, value_name = "W", value_parser = finite, help_heading = "Losses")]
    feature_matching: Option<f64>,

    /// Weight of the perceptual loss [default: 10]
    #[arg(long, value_name = "W", value_parser = finite, help_heading = "Losses")]
    perceptual: Option<f64>,

    /// Gradient checkpointing: compute the generator's blocks again in the backward pass instead of keeping their
    /// activations. The same bits, less memory, more time
    #[arg(long, help_heading = "Networks")]
    recompute: bool,

    /// Steps between checkpoints [default: 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    checkpoint_every: Option<u64>,

    /// Number of checkpoints to keep, the newest [default: 3]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    keep: Option<u64>,

    /// Steps between sheets of samples, and between drawings of the loss curves [default: 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    sample_every: Option<u64>,
}

/// The number of examples per step.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum BatchSize {
    /// As many as fit the device. Serialized as null, like an option that was not given.
    Auto,
    Examples(u64),
}

impl Arguments {
    /// Whether the batch is as large as fits the device.
    pub(super) fn fits_batch(&self) -> bool {
        self.given.batch == Some(BatchSize::Auto)
    }

    /// The settings that were given, by the options' names; paths are made absolute.
    pub(super) fn given(&self) -> Result<Map<String, Value>> {
        let Value::Object(mut given) = serde_json::to_value(&self.given)? else { return Ok(Map::new()) };
        if self.fits_batch() {
            ensure!(!self.resume, "a run's batch cannot change: leave --batch auto out to resume");
            ensure!(self.given.at_once.is_none(), "--batch auto sets --at-once as well; leave --at-once out");
        }
        given.retain(|_, value| !value.is_null() && *value != Value::Bool(false));
        for key in ["data", "weights", "discriminator", "vgg"] {
            if let Some(Value::String(path)) = given.get_mut(key) {
                let absolute = std::path::absolute(&path).with_context(|| path.clone())?;
                *path = absolute.into_os_string().into_string().ok().context("paths must be Unicode")?;
            }
        }
        Ok(given)
    }
}

fn batch(text: &str) -> Result<BatchSize, String> {
    match text.parse() {
        _ if text == "auto" => Ok(BatchSize::Auto),
        Ok(examples @ 1..=65536) => Ok(BatchSize::Examples(examples)),
        _ => Err("expected a number from 1 to 65536, or auto".into()),
    }
}

fn finite(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number")?;
    if value.is_finite() && value >= 0.0 { Ok(value) } else { Err("expected a number of at least 0".into()) }
}
