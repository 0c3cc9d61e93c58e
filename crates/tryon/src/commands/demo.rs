//! `tryon demo`: garments tried on in drawn scenes.

use super::outputs::prepare_folder;
use super::report::{Report, Scored};
use super::{draw, load, progress, to_image};
use crate::device::{DeviceArguments, name};
use alias_model::{Checkpoint, Precision, Sample};
use alias_pictures::images::{Image, Plane, write_labels, write_rgb, write_sheet};
use alias_pictures::sheet;
use alias_train::read_generator;
use anyhow::{Context, Result};
use std::path::PathBuf;

/// Draw sample scenes, try the garments on, and write pictures and a contact sheet.
///
/// The inputs are written as the folders that `tryon synth` takes. The built-in weights were trained on other drawn
/// scenes; they are not for photos.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder to write to
    #[arg(short, long, alias = "out", value_name = "DIR", default_value = "demo")]
    output: PathBuf,

    /// A generator's checkpoint [default: the built-in weights]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

/// Trained by `tryon train` on scenes of other seeds: assets/README.md.
const WEIGHTS: &[u8] = include_bytes!("../../assets/demo.safetensors");
/// Height and width that they were trained at.
const SIZE: [usize; 2] = [256, 128];
/// Seeds of the scenes.
const SCENES: std::ops::Range<u64> = 1..7;

pub(crate) fn run(arguments: &Arguments, device: &DeviceArguments) -> Result<String> {
    let checkpoint = match &arguments.weights {
        Some(path) => read_generator(path)?,
        None => Checkpoint::from_bytes(WEIGHTS.to_vec())?,
    };
    prepare_folder(&arguments.output)?;
    let device = device.open(Precision::F32)?;
    let painter = load(&checkpoint, &device, Precision::F32, false)?;
    drop(checkpoint);
    let multiple = painter.config().layers.multiple();
    let [height, width] = SIZE.map(|side| side.next_multiple_of(multiple));

    let bar = progress(SCENES.count());
    let (mut rows, mut pictures) = (Vec::new(), Vec::new());
    for seed in SCENES {
        let file = format!("{seed:02}.png");
        bar.set_message(file.clone());
        let alias_scene::Scene { sample, truth } = alias_scene::draw(seed, height, width);
        let result = to_image(&sample, draw(&painter, &sample, None)?);
        let truth = to_image(&sample, truth);
        write_inputs(arguments, &file, &sample)?;
        write_picture(arguments, "result", &file, &result)?;
        pictures.push(Scored::new(file, &sample, &result, &truth));
        rows.push(sheet::columns(&sample, result, truth).to_vec());
        bar.inc(1);
    }
    bar.finish_and_clear();
    let path = arguments.output.join("sheet.png");
    write_sheet(&path, &sheet::sheet(&sheet::TITLES, &rows, height))?;
    let heading = format!("{} scenes at {height}x{width} on {}: {}", rows.len(), name(&device), path.display());
    Ok(format!("{heading}\n\n{}", Report { pictures }.table()))
}

/// Writes the generator's inputs, as `tryon synth` reads them.
fn write_inputs(arguments: &Arguments, name: &str, sample: &Sample) -> Result<()> {
    let Sample { height, width, .. } = *sample;
    let white = |mask: &[f32]| mask.iter().map(|m| 2.0 * m - 1.0).collect::<Vec<_>>().repeat(3);
    write_picture(arguments, "agnostic", name, &to_image(sample, sample.agnostic.clone()))?;
    write_picture(arguments, "pose", name, &to_image(sample, sample.pose.clone()))?;
    write_picture(arguments, "cloth", name, &to_image(sample, sample.warped_cloth.clone()))?;
    write_picture(arguments, "cloth-mask", name, &to_image(sample, white(&sample.warped_mask)))?;
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
