//! `tryon synth`: a person in a garment, from tensors, from five pictures, or from five folders of them.

use super::pipeline::overlapped;
use super::{PrecisionArgument, draw, finite, load, picture, progress, spare};
use crate::device::DeviceArguments;
use crate::terminal::tell;
use alias_checkpoint::Array;
use alias_model::{Checkpoint, Noise, PersonPlan, PlanOptions, Sample};
use alias_pictures::images::{ParseLabels, SampleFiles, read_sample, write_rgb};
use alias_train::read_generator;
use anyhow::{Context, Result, bail, ensure};
use clap::ArgGroup;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Draw a person wearing a garment.
///
/// From a safetensors file with agnostic, pose, warped_cloth, warped_mask and labels (--tensors), from five PNGs of one size,
/// or from five folders of PNGs of equal names. Height and width are multiples of 128, or of 64 for weights without up_4.
#[derive(clap::Args)]
#[group(skip)]
#[command(group(ArgGroup::new("inputs").required(true).args(["tensors", "agnostic"])))]
pub(crate) struct Arguments {
    /// The generator's checkpoint: safetensors, PyTorch's .pth in either format, or one of a training
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,

    /// Inputs as tensors (N, C, H, W); OUT gets `image` (N, 3, H, W)
    #[arg(long, value_name = "FILE")]
    tensors: Option<PathBuf>,

    #[command(flatten)]
    pictures: Pictures,

    /// Where to write: a safetensors file with --tensors, a PNG for pictures, a folder for folders
    #[arg(short, long, alias = "out", value_name = "OUT")]
    output: PathBuf,

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

#[derive(clap::Args)]
struct Pictures {
    /// The person, torso and arms blanked out
    #[arg(long, value_name = "PNG|DIR", requires_all = ["pose", "cloth", "cloth_mask", "parse"])]
    agnostic: Option<PathBuf>,

    /// The drawn skeleton
    #[arg(long, value_name = "PNG|DIR", requires = "agnostic")]
    pose: Option<PathBuf>,

    /// The garment, warped into place
    #[arg(long, value_name = "PNG|DIR", requires = "agnostic")]
    cloth: Option<PathBuf>,

    /// Where the warped garment is: white
    #[arg(long, value_name = "PNG|DIR", requires = "agnostic")]
    cloth_mask: Option<PathBuf>,

    /// The segmentation of the result: a palette PNG or one of indices
    #[arg(long, value_name = "PNG|DIR", requires = "agnostic")]
    parse: Option<PathBuf>,

    /// What the parse map's indices mean
    #[arg(long, value_name = "SET", value_enum, default_value_t = Labels::Auto, requires = "agnostic")]
    parse_labels: Labels,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Labels {
    /// LIP if any index is over 6, else the seven
    Auto,
    /// The generator's seven: background, kept, garment, hair, left arm, right arm, noise
    Seven,
    /// The twenty of LIP, as in VITON-HD's own files
    Lip,
}

impl From<Labels> for ParseLabels {
    fn from(labels: Labels) -> ParseLabels {
        match labels {
            Labels::Auto => ParseLabels::Auto,
            Labels::Seven => ParseLabels::Seven,
            Labels::Lip => ParseLabels::Lip,
        }
    }
}

pub(crate) fn run(arguments: &Arguments, device: &DeviceArguments) -> Result<String> {
    // What can be wrong without a device is found before one is opened.
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
        Job::Picture(sample) => write_rgb(&arguments.output, &picture(&sample, draw(&sample)?))?,
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
                Ok(picture(&sample, image))
            };
            let write = |item: &Item, picture| Ok(write_rgb(&arguments.output.join(&item.name), &picture)?);
            run_all(&folders.items()?, &arguments.output, read, draw, write)?;
        }
    }
    Ok(String::new())
}

/// Errors where writing the output would replace an input, or something that is no file.
fn check_output(arguments: &Arguments, job: &Job) -> Result<()> {
    let output = &arguments.output;
    let Pictures { agnostic, pose, cloth, cloth_mask, parse, .. } = &arguments.pictures;
    let inputs = [&arguments.tensors, agnostic, pose, cloth, cloth_mask, parse].into_iter().flatten();
    spare(output, inputs.chain([&arguments.weights]).map(PathBuf::as_path))?;
    let fits = if matches!(job, Job::Folders(_)) { output.is_dir() } else { output.is_file() };
    ensure!(
        fits || !output.exists(),
        "{} exists and is not what would be written there; write elsewhere",
        output.display()
    );
    Ok(())
}

/// Draws every item, reports those that fail, and fails in the end if any did.
fn run_all<R: Send, D: Send>(
    items: &[Item],
    output: &Path,
    read: impl Fn(&Item) -> Result<R> + Send,
    draw: impl Fn(&Item, R) -> Result<D>,
    write: impl Fn(&Item, D) -> Result<()> + Send,
) -> Result<()> {
    std::fs::create_dir_all(output).with_context(|| format!("{}", output.display()))?;
    let bar = progress(items.len());
    let mut failed = 0;
    overlapped(items, read, draw, write, |item, result| {
        let name = item.name.to_string_lossy().into_owned();
        if let Err(error) = result {
            // Past the bar, and there, too, where the bar is hidden.
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

/// What the command line asks for, its inputs read as far as can be done at once.
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
        match paths.iter().filter(|path| path.is_dir()).count() {
            5 => Ok(Job::Folders(Folders(paths))),
            0 => {
                let item = Item { name: OsString::new(), paths };
                Ok(Job::Picture(item.read(arguments.pictures.parse_labels)?))
            }
            _ => bail!("some inputs are folders and some are files; give five PNGs or five folders"),
        }
    }
}

/// Folders of agnostic pictures, poses, garments, garment masks and parse maps.
struct Folders([PathBuf; 5]);

impl Folders {
    /// One item for each name that any of the folders holds, in order.
    fn items(&self) -> Result<Vec<Item>> {
        let mut names = std::collections::BTreeSet::new();
        for folder in &self.0 {
            for entry in std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
                let name = entry.with_context(|| format!("{}", folder.display()))?.file_name();
                let text = name.to_string_lossy().to_lowercase();
                // Hidden files are some file system's notes, not pictures.
                if text.ends_with(".png") && !text.starts_with('.') {
                    names.insert(name);
                }
            }
        }
        ensure!(!names.is_empty(), "no PNG in {}", self.0[0].display());
        let item = |name: OsString| Item { paths: self.0.each_ref().map(|folder| folder.join(&name)), name };
        Ok(names.into_iter().map(item).collect())
    }
}

/// The five pictures of one image.
struct Item {
    name: OsString,
    paths: [PathBuf; 5],
}

impl Item {
    fn read(&self, labels: Labels) -> Result<Sample> {
        let [agnostic, pose, warped_cloth, warped_mask, parse] = self.paths.each_ref().map(PathBuf::as_path);
        let files = SampleFiles { agnostic, pose, warped_cloth, warped_mask, parse };
        Ok(read_sample(&files, labels.into())?)
    }
}
