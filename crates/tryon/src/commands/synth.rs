//! `tryon synth`: draws a person in a garment, from tensors, from five pictures, or from five folders of pictures.

use super::outputs::Outputs;
use super::{PrecisionArgument, draw, finite, load, progress, to_image};
use crate::device::DeviceArguments;
use crate::terminal::tell;
use alias_checkpoint::Array;
use alias_model::{Checkpoint, Noise, PersonPlan, PlanOptions, Sample};
use alias_pictures::folder::Folder;
use alias_pictures::images::{ParseLabels, SampleFiles, read_sample_noting, write_rgb};
use alias_pictures::pipeline::overlapped;
use alias_train::read_generator;
use anyhow::{Context, Result, bail, ensure};
use clap::ArgGroup;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Draw a person wearing a garment.
///
/// The inputs are a safetensors file with agnostic, pose, warped_cloth, warped_mask and labels (--tensors), five
/// pictures of one size, or five folders of pictures with equal names, whatever their extensions. Height and width are multiples of 128, or of 64 for
/// weights without up_4.
#[derive(clap::Args)]
#[group(skip)]
#[command(group(ArgGroup::new("inputs").required(true).args(["tensors", "agnostic"])))]
pub(crate) struct Arguments {
    /// The generator's checkpoint: safetensors, PyTorch's .pth in either format, or a training's checkpoint
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,

    /// The inputs as tensors (N, C, H, W); OUT then holds `image` (N, 3, H, W)
    #[arg(long, value_name = "FILE")]
    tensors: Option<PathBuf>,

    #[command(flatten)]
    pictures: Pictures,

    /// The output: a safetensors file with --tensors, a PNG for five pictures, a folder for five folders
    #[arg(short, long, alias = "out", value_name = "OUT")]
    output: PathBuf,

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

#[derive(clap::Args)]
struct Pictures {
    /// The agnostic picture: the person with torso and arms blanked out
    #[arg(long, value_name = "FILE|DIR", requires_all = ["pose", "cloth", "cloth_mask", "parse"])]
    agnostic: Option<PathBuf>,

    /// The pose: the skeleton, drawn on black
    #[arg(long, value_name = "FILE|DIR", requires = "agnostic")]
    pose: Option<PathBuf>,

    /// The garment, warped into place
    #[arg(long, value_name = "FILE|DIR", requires = "agnostic")]
    cloth: Option<PathBuf>,

    /// The mask of the warped garment: white where it is
    #[arg(long, value_name = "FILE|DIR", requires = "agnostic")]
    cloth_mask: Option<PathBuf>,

    /// The segmentation of the result: a palette PNG, or a gray one of class indices
    #[arg(long, value_name = "FILE|DIR", requires = "agnostic")]
    parse: Option<PathBuf>,

    /// Meaning of the parse map's indices
    #[arg(long, value_name = "SET", value_enum, default_value_t = ParseLabelsArgument::Auto, requires = "agnostic")]
    parse_labels: ParseLabelsArgument,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ParseLabelsArgument {
    /// LIP if any index exceeds 6, else the seven
    Auto,
    /// The generator's seven: background, kept, garment, hair, left arm, right arm, noise
    Seven,
    /// The twenty of the LIP dataset, as in VITON-HD's own files
    Lip,
}

impl From<ParseLabelsArgument> for ParseLabels {
    fn from(labels: ParseLabelsArgument) -> ParseLabels {
        match labels {
            ParseLabelsArgument::Auto => ParseLabels::Auto,
            ParseLabelsArgument::Seven => ParseLabels::Seven,
            ParseLabelsArgument::Lip => ParseLabels::Lip,
        }
    }
}

pub(crate) fn run(arguments: &Arguments, device: &DeviceArguments) -> Result<String> {
    // Errors that need no device are found before one is opened.
    let job = Job::new(arguments)?;
    check_output(arguments, &job)?;
    let checkpoint = read_generator(&arguments.weights)?;
    let precision = arguments.precision.into();
    let device = device.open(precision)?;
    let painter = load(&checkpoint, &device, precision, arguments.plain);
    let painter = painter.with_context(|| format!("{}", arguments.weights.display()))?;
    drop(checkpoint);
    let draw = |sample: &Sample| draw(&painter, sample, arguments.noise);
    match job {
        Job::Tensors(sample) => {
            let image = draw(&sample)?;
            let mut output = Checkpoint::new();
            output.insert("image", Array::from_f32(&[sample.batch, 3, sample.height, sample.width], &image));
            output.write_safetensors(&arguments.output)?;
        }
        Job::Picture(sample) => write_rgb(&arguments.output, &to_image(&sample, draw(&sample)?))?,
        Job::Folders(folders) => {
            let noise = arguments.noise.map_or(Noise::None, Noise::Seed);
            let options = PlanOptions { noise: noise != Noise::None, ..Default::default() };
            let read = |item: &Item| {
                let sample = item.read(arguments.pictures.parse_labels)?;
                let plan = painter.plan(&sample, options)?;
                Ok((sample, plan))
            };
            let draw = |_: &Item, (sample, plan): (Sample, PersonPlan)| {
                let image = finite(painter.prepare(plan)?.draw(&sample, noise)?)?;
                Ok(to_image(&sample, image))
            };
            let write = |item: &Item, picture| Ok(write_rgb(&arguments.output.join(&item.name), &picture)?);
            run_all(&folders.items()?, &arguments.output, read, draw, write)?;
        }
    }
    Ok(String::new())
}

/// An error if writing the output would replace an input, or a folder by a file, or a file by a folder.
fn check_output(arguments: &Arguments, job: &Job) -> Result<()> {
    let output = &arguments.output;
    let Pictures { agnostic, pose, cloth, cloth_mask, parse, .. } = &arguments.pictures;
    let inputs = [&arguments.tensors, agnostic, pose, cloth, cloth_mask, parse].into_iter().flatten();
    let mut outputs = Outputs::new([], inputs.chain([&arguments.weights]).map(PathBuf::as_path));
    match job {
        Job::Tensors(_) => outputs.file(output),
        Job::Picture(_) => outputs.picture(output),
        Job::Folders(_) => outputs.folder(output, "-o"),
    }?;
    outputs.create()
}

/// Draws every item and reports those that fail; an error at the end if any did.
fn run_all<R: Send, D: Send>(
    items: &[Item],
    output: &Path,
    read: impl Fn(&Item) -> Result<R> + Send,
    draw: impl Fn(&Item, R) -> Result<D>,
    write: impl Fn(&Item, D) -> Result<()> + Send,
) -> Result<()> {
    let bar = progress(items.len());
    let mut failed = 0;
    overlapped(items, read, draw, write, |item, result| {
        let name = item.name.to_string_lossy().into_owned();
        if let Err(mut error) = result {
            if output.join(&item.name).exists() {
                error = error.context(format!("{} is of an earlier run", output.join(&item.name).display()));
            }
            // Unlike the bar's own `println`, this also prints where the bar is hidden.
            bar.suspend(|| tell(format_args!("{name}: {error:#}")));
            failed += 1;
        }
        bar.set_message(name);
        bar.inc(1);
    });
    bar.finish_and_clear();
    ensure!(failed < items.len(), "all {failed} failed, see above");
    ensure!(failed == 0, "{failed} of {} failed, see above; the others are in {}", items.len(), output.display());
    Ok(())
}

/// What to draw. The inputs of a single drawing are read already.
enum Job {
    Tensors(Sample),
    Picture(Sample),
    Folders(Folders),
}

impl Job {
    fn new(arguments: &Arguments) -> Result<Job> {
        if let Some(tensors) = &arguments.tensors {
            let sample = Sample::from_tensors(&Checkpoint::read(tensors)?);
            return Ok(Job::Tensors(sample.with_context(|| format!("{}", tensors.display()))?));
        }
        let Pictures { agnostic, pose, cloth, cloth_mask, parse, .. } = &arguments.pictures;
        let paths = [agnostic, pose, cloth, cloth_mask, parse].map(|path| path.clone().unwrap_or_default());
        if let Some(missing) = paths.iter().find(|path| !path.exists()) {
            bail!("{} does not exist", missing.display());
        }
        match paths.iter().filter(|path| path.is_dir()).count() {
            5 => Ok(Job::Folders(Folders(paths))),
            0 => {
                let item = Item { name: OsString::new(), paths };
                Ok(Job::Picture(item.read(arguments.pictures.parse_labels)?))
            }
            _ => bail!("some inputs are folders and some are files; give five pictures or five folders"),
        }
    }
}

/// Folders of agnostic pictures, poses, garments, garment masks and parse maps.
struct Folders([PathBuf; 5]);

impl Folders {
    /// One item for each name that any of the folders holds, in order.
    fn items(&self) -> Result<Vec<Item>> {
        let mut folders = Vec::new();
        for path in &self.0 {
            folders.push(Folder::list(path).with_context(|| format!("{}", path.display()))?);
        }
        let names: BTreeSet<_> = folders.iter().flat_map(Folder::names).map(str::to_owned).collect();
        ensure!(!names.is_empty(), "no picture in {}", self.0[0].display());
        let item = |name: String| Item {
            // Where one is missing, a file that is not there, which the error then names.
            paths: std::array::from_fn(|k| {
                let found = folders[k].find(&name).map(Path::to_owned);
                found.unwrap_or_else(|| folders[k].path().join(format!("{name}.png")))
            }),
            name: format!("{name}.png").into(),
        };
        Ok(names.into_iter().map(item).collect())
    }
}

/// The five input files of one drawing.
struct Item {
    /// The file to write, in the folder of results.
    name: OsString,
    paths: [PathBuf; 5],
}

impl Item {
    /// Reads the files, and tells what was read otherwise than they say.
    fn read(&self, labels: ParseLabelsArgument) -> Result<Sample> {
        let [agnostic, pose, warped_cloth, warped_mask, parse] = self.paths.each_ref().map(PathBuf::as_path);
        let files = SampleFiles { agnostic, pose, warped_cloth, warped_mask, parse };
        let mut notes = Vec::new();
        let sample = read_sample_noting(&files, labels.into(), &mut notes)?;
        notes.iter().for_each(|note| tell(format_args!("warning: {note}")));
        Ok(sample)
    }
}
