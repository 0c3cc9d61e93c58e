//! `tryon evaluate`: how close a generator's pictures are to the true ones.

use super::outputs::Outputs;
use super::report::{Report, Scored, paste};
use super::{PrecisionArgument, cores, draw, in_parallel, load, parse_size, progress, to_image};
use crate::device::{DeviceArguments, name};
use crate::terminal::print;
use alias_model::{GeneratorConfig, Painter, Precision};
use alias_pictures::dataset::{Dataset, Example};
use alias_pictures::images::{Image, write_sheet};
use alias_pictures::sheet;
use alias_train::read_generator;
use anyhow::{Context, Result};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Compare what a generator draws with the true pictures of a dataset.
///
/// Prints the means of L1, PSNR and SSIM over all pictures: for the whole picture, for the garment, and for its
/// misaligned part, which the warped garment fails to cover. The baseline to beat is "paste": the warped garment pasted
/// onto the agnostic picture by its mask. Pictures are compared in 256 levels, as PNGs hold them. L1 is a fraction of
/// the range; PSNR is in dB, at most 100.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The generator's checkpoint: safetensors, PyTorch's .pth in either format, or a training's checkpoint
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,

    /// The dataset's folder, in VITON-HD's layout (see `tryon dataset check --help`)
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// Draw and compare at this size, height x width [default: that of the pictures]
    #[arg(long, value_name = "HxW", value_parser = parse_size)]
    size: Option<[usize; 2]>,

    /// Evaluate only the first N examples
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,

    /// Write the means and each picture's scores to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write worst.png, the ten pictures with the lowest PSNR, into this folder
    #[arg(short, long, alias = "out", value_name = "DIR")]
    output: Option<PathBuf>,

    /// Add noise from this seed before each normalization, as the authors do [default: no noise]
    #[arg(long, value_name = "SEED")]
    noise: Option<u64>,

    /// Use instance norm in place of ALIAS's mask norm: the ablation of the paper's figure 8
    #[arg(long)]
    plain: bool,

    /// Precision in which weights and activations are stored; sums are always float32
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionArgument,
}

/// The most pictures that are read and scored at once. More would take memory but no less time, since they are drawn
/// one by one.
const THREADS: usize = 16;
/// The name of the sheet of the worst pictures.
const WORST_PICTURE: &str = "worst.png";
/// The number of pictures in worst.png.
const WORST: usize = 10;
/// The column of worst.png that shows the pasted garment: before the result.
const PASTE: usize = 5;
/// Taller pictures are scaled down in worst.png, which holds 80.
const CELL_HEIGHT: usize = 384;

pub(crate) fn run(arguments: &Arguments, device: &DeviceArguments) -> Result<String> {
    // Errors that need no device are found before one is opened.
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
    prepare_outputs(arguments, &dataset)?;
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
    // Printed before files are written, which may fail.
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
    let path = folder.join(WORST_PICTURE);
    let rows = worst.iter().map(|&index| evaluator.row(index)).collect::<Result<Vec<_>>>()?;
    let mut titles = sheet::TITLES.to_vec();
    titles.insert(PASTE, "paste");
    write_sheet(&path, &sheet::sheet(&titles, &rows, height.min(CELL_HEIGHT)))?;
    Ok(format!("\n{}, the lowest PSNR first:\n{}", path.display(), report.list(&worst)))
}

/// Creates the output folders and refuses outputs that cannot be written, before hours of work.
fn prepare_outputs(arguments: &Arguments, dataset: &Dataset) -> Result<()> {
    let Arguments { data, weights, json, output, .. } = arguments;
    let pairs = Dataset::pairs_file(data);
    let mut outputs = Outputs::new(dataset.paths(), [weights].into_iter().chain(&pairs).map(PathBuf::as_path));
    if let Some(folder) = output {
        outputs.folder(folder, "-o")?;
        outputs.picture(&folder.join(WORST_PICTURE))?;
    }
    json.iter().try_for_each(|json| outputs.file(json))?;
    outputs.create()
}

/// A generator, and the dataset that it is evaluated on.
struct Evaluator {
    dataset: Dataset,
    /// Draws one picture at a time, since each takes the memory of a whole image.
    painter: Mutex<Painter>,
    noise: Option<u64>,
}

impl Evaluator {
    /// Example `index`, and the picture that the generator draws for it.
    fn draw(&self, index: usize) -> Result<(Example, Image)> {
        let example = self.dataset.read(index)?;
        let painter = self.painter.lock().unwrap_or_else(PoisonError::into_inner);
        let drawn = draw(&painter, &example.sample, self.noise);
        let drawn = drawn.with_context(|| format!("drawing {}", self.dataset.name(index)))?;
        let drawn = to_image(&example.sample, drawn);
        Ok((example, drawn))
    }

    fn score(&self, index: usize) -> Result<Scored> {
        let (Example { sample, truth }, drawn) = self.draw(index)?;
        let truth = to_image(&sample, truth);
        Ok(Scored::new(self.dataset.name(index).to_owned(), &sample, &drawn, &truth))
    }

    /// A row of worst.png. Its picture is drawn again, since keeping all of them until the worst are known takes
    /// unbounded memory.
    fn row(&self, index: usize) -> Result<Vec<Image>> {
        let (Example { sample, truth }, drawn) = self.draw(index)?;
        let mut row = sheet::columns(&sample, drawn, to_image(&sample, truth)).to_vec();
        row.insert(PASTE, paste(&sample));
        Ok(row)
    }
}
