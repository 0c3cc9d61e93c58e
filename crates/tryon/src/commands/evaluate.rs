//! `tryon evaluate`: how close a generator's pictures are to the true ones.

use super::report::{Report, Scored, paste};
use super::{PrecisionArgument, cores, draw, in_parallel, load, parse_size, picture, progress, spare};
use crate::device::{DeviceArguments, name};
use crate::terminal::print;
use alias_model::{GeneratorConfig, Painter, Precision};
use alias_pictures::dataset::{Dataset, Example};
use alias_pictures::images::{Image, write_rgb};
use alias_pictures::sheet;
use alias_train::read_generator;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fs::create_dir_all;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Compare what a generator draws with the true pictures of a dataset.
///
/// Prints L1, PSNR and SSIM, means of each picture's own, over the whole picture, over the garment, and over its misaligned part,
/// which the warped garment fails to cover. What to beat is "paste": the warped garment laid onto the agnostic picture by its
/// mask. Pictures are compared as PNGs hold them, in 256 levels. L1 is a share of their range, PSNR is in dB and 100 at most.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The generator's checkpoint: safetensors, PyTorch's .pth in either format, or one of a training
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,

    /// The dataset's folder, laid out as VITON-HD's, as `tryon dataset check` reads it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// Draw and compare at this size, height x width [default: that of the pictures]
    #[arg(long, value_name = "HxW", value_parser = parse_size)]
    size: Option<[usize; 2]>,

    /// Take only the first N examples
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,

    /// Write the means, and the scores of each picture
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write worst.png, the ten pictures of the lowest PSNR, into this folder
    #[arg(short, long, alias = "out", value_name = "DIR")]
    output: Option<PathBuf>,

    /// Add the noise of this seed before each normalization, as the authors do
    #[arg(long, value_name = "SEED")]
    noise: Option<u64>,

    /// Use instance norm in place of ALIAS's mask norm: the ablation of the paper's figure 8
    #[arg(long)]
    plain: bool,

    /// How weights and activations are stored; sums are float32 in any case
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionArgument,
}

/// How many pictures are read and scored at once, at most: each takes memory, and they are drawn one after the other.
const THREADS: usize = 16;
/// How many of the worst are shown.
const WORST: usize = 10;
/// Where the column of what is pasted goes: before the result.
const PASTE: usize = 5;
/// Higher pictures are scaled down in the sheet: ten rows of eight of them are enough.
const CELL_HEIGHT: usize = 384;

pub(crate) fn run(arguments: &Arguments, device: &DeviceArguments) -> Result<String> {
    // What can be wrong without a device is found before one is opened.
    let dataset = Dataset::open(&arguments.data)?;
    let dataset = match arguments.size {
        Some(size) => dataset.at_size(size),
        None => dataset,
    };
    let [height, width] = dataset.size();
    let checkpoint = read_generator(&arguments.weights)?;
    let weights = || format!("{}", arguments.weights.display());
    let config = GeneratorConfig::infer(&checkpoint).with_context(weights)?;
    let size = config.layers.check_size(height, width);
    size.with_context(|| format!("{}; give another --size", arguments.data.display()))?;
    prepare_outputs(arguments)?;
    let precision = Precision::from(arguments.precision);
    let device = device.open(precision)?;
    let painter = load(&checkpoint, &device, precision, arguments.plain).with_context(weights)?;
    drop(checkpoint);

    let count = arguments.count.map_or(dataset.len(), |count| dataset.len().min(count as usize));
    let evaluator = Evaluator { dataset, painter: Mutex::new(painter), noise: arguments.noise };
    let started = Instant::now();
    let bar = progress(count);
    let pictures = in_parallel(cores().min(THREADS), count, |index| {
        let scored = evaluator.score(index)?;
        bar.inc(1);
        Ok(scored)
    })?;
    bar.finish_and_clear();
    let rate = count as f64 / started.elapsed().as_secs_f64();
    let report = Report { pictures };
    let worst = report.worst(WORST);
    let heading = format!("{count} pictures of {height}x{width}, {rate:.2} a second on {}\n\n", name(&device));
    // Before anything is written, which may fail.
    print(&(heading + &report.table()))?;

    if let Some(path) = &arguments.json {
        let value = json!({
            "weights": weights(),
            "data": arguments.data.display().to_string(),
            "size": format!("{height}x{width}"),
            "count": count,
            "noise": arguments.noise,
            "plain": arguments.plain || config.plain,
            "precision": format!("{precision:?}").to_lowercase(),
            "device": name(&device),
            "images_per_second": rate,
            "mean": report.means_json(),
            "pictures": report.pictures_json(),
            "worst": worst.iter().map(|&index| &report.pictures[index].name).collect::<Vec<_>>(),
        });
        alias_checkpoint::write_atomically(path, |file| writeln!(file, "{value:#}"))
            .with_context(|| format!("{}", path.display()))?;
    }
    let Some(folder) = &arguments.output else { return Ok(String::new()) };
    let path = folder.join("worst.png");
    let rows = worst.iter().map(|&index| evaluator.row(index)).collect::<Result<Vec<_>>>()?;
    let mut titles = sheet::TITLES.to_vec();
    titles.insert(PASTE, "paste");
    write_rgb(&path, &sheet::sheet(&titles, &rows, height.min(CELL_HEIGHT)))?;
    Ok(format!("\n{}, the lowest PSNR first:\n{}", path.display(), report.list(&worst)))
}

/// Makes the folders to write to, and looks for what would be in the way, before hours of work.
fn prepare_outputs(arguments: &Arguments) -> Result<()> {
    if let Some(path) = &arguments.json {
        spare(path, [arguments.weights.as_path()])?;
        ensure!(!path.is_dir(), "{} is a folder; --json takes a file", path.display());
        create_dir_all(path.parent().unwrap_or(path)).with_context(|| format!("{}", path.display()))?;
    }
    if let Some(folder) = &arguments.output {
        create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    }
    Ok(())
}

/// A generator, and what it is tried on.
struct Evaluator {
    dataset: Dataset,
    /// One picture at a time: each takes the memory of an image.
    painter: Mutex<Painter>,
    noise: Option<u64>,
}

impl Evaluator {
    /// Example `index`, and what the generator makes of it.
    fn draw(&self, index: usize) -> Result<(Example, Image)> {
        let example = self.dataset.read(index)?;
        let painter = self.painter.lock().unwrap_or_else(PoisonError::into_inner);
        let drawn = draw(&painter, &example.sample, self.noise);
        let drawn = drawn.with_context(|| format!("drawing {}", self.dataset.name(index)))?;
        let drawn = picture(&example.sample, drawn);
        Ok((example, drawn))
    }

    fn score(&self, index: usize) -> Result<Scored> {
        let (Example { sample, truth }, drawn) = self.draw(index)?;
        let truth = picture(&sample, truth);
        Ok(Scored::new(self.dataset.name(index).to_owned(), &sample, &drawn, &truth))
    }

    /// A row of the sheet. It is drawn again: to keep all pictures until the worst are known takes memory without bounds.
    fn row(&self, index: usize) -> Result<Vec<Image>> {
        let (Example { sample, truth }, drawn) = self.draw(index)?;
        let mut row = sheet::columns(&sample, drawn, picture(&sample, truth)).to_vec();
        row.insert(PASTE, paste(&sample));
        Ok(row)
    }
}
