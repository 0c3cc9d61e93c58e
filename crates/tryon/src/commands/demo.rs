//! `tryon demo`: drawn scenes, tried on.

use super::{draw, load, picture, progress};
use crate::{DeviceArguments, name};
use alias_model::{Architecture, Checkpoint, Config, Layers, Precision, Sample, fill};
use anyhow::{Context, Result};
use std::path::PathBuf;
use tryon::images::{Image, Plane, write_labels, write_rgb};
use tryon::{scene, sheet};

/// Draw sample scenes, try the garments on, and write pictures and a contact sheet.
///
/// The inputs are written in the form that `tryon synth` takes folders in. Without --weights the generator's are drawn at
/// random: that shows that everything runs, not what a trained generator draws.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder to write to
    #[arg(short, long, value_name = "DIR", default_value = "demo")]
    output: PathBuf,

    /// A trained generator's checkpoint
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

/// Seeds of the scenes.
const SCENES: std::ops::Range<u64> = 1..5;
/// Narrow enough for a software rasterizer to draw an image in about a second.
const RANDOM: Config = Config { ngf: 8, layers: Layers::More, ..Config::PUBLISHED };

pub(crate) fn run(arguments: &Arguments, device: &DeviceArguments) -> Result<String> {
    let checkpoint = match &arguments.weights {
        Some(path) => Checkpoint::read(path)?,
        None => fill(&Architecture::new(RANDOM)?, 1),
    };
    let device = device.open(Precision::F32)?;
    let painter = load(&checkpoint, &device, Precision::F32, false)?;
    drop(checkpoint);
    // Three to two, as tall people are, in the multiples that the layers need.
    let multiple = painter.architecture().config.layers.multiple();
    let (height, width) = (384_usize.next_multiple_of(multiple), 256_usize.next_multiple_of(multiple));

    let bar = progress(SCENES.count());
    let mut rows = Vec::new();
    for seed in SCENES {
        let file = format!("{seed:02}.png");
        bar.set_message(file.clone());
        let scene = scene::draw(seed, height, width);
        let result = picture(&scene.sample, draw(&painter, &scene.sample, None)?);
        write_inputs(arguments, &file, &scene.sample)?;
        write_picture(arguments, "result", &file, &result)?;
        rows.push(sheet::columns(&scene.sample, 0, &result).to_vec());
        bar.inc(1);
    }
    bar.finish_and_clear();
    let path = arguments.output.join("sheet.png");
    write_rgb(&path, &sheet::sheet(&sheet::TITLES, &rows, height))?;
    let weights = if arguments.weights.is_some() { "" } else { " (random weights: textures, not garments)" };
    Ok(format!("{} scenes at {height}x{width} on {}: {}{weights}\n", rows.len(), name(&device), path.display()))
}

/// Writes what the generator was given, as `tryon synth` reads it.
fn write_inputs(arguments: &Arguments, name: &str, sample: &Sample) -> Result<()> {
    let Sample { height, width, .. } = *sample;
    let white = |mask: &[f32]| mask.iter().map(|m| 2.0 * m - 1.0).collect::<Vec<_>>().repeat(3);
    write_picture(arguments, "agnostic", name, &picture(sample, sample.agnostic.clone()))?;
    write_picture(arguments, "pose", name, &picture(sample, sample.pose.clone()))?;
    write_picture(arguments, "cloth", name, &picture(sample, sample.warped_cloth.clone()))?;
    write_picture(arguments, "cloth-mask", name, &picture(sample, white(&sample.warped_mask)))?;
    let labels = Plane { height, width, data: sample.labels.clone() };
    Ok(write_labels(&folder(arguments, "parse")?.join(name), &labels)?)
}

fn write_picture(arguments: &Arguments, kind: &str, name: &str, image: &Image) -> Result<()> {
    Ok(write_rgb(&folder(arguments, kind)?.join(name), image)?)
}

fn folder(arguments: &Arguments, kind: &str) -> Result<PathBuf> {
    let folder = arguments.output.join(kind);
    std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    Ok(folder)
}
