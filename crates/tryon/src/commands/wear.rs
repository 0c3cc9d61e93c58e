//! `tryon wear`: dresses persons in garments, from photos to photos.

use super::generator_inputs::{self, GeneratorInputs};
use super::outputs::Outputs;
use super::preparing::{Preparer, Preparing, lock};
use super::{PrecisionArgument, parse_size, progress};
use crate::device::{DeviceArguments, target};
use crate::terminal::tell;
use crate::weights::Weights;
use alias_model::preprocess::{Rgb8, labels::FROM_13_TO_LIP};
use alias_model::{
    Checkpoints, GeneratorConfig, LoadOptions, Noise, PreparedGarment, PreparedPerson, Seeds, TryOn, Worn,
    rgb8_to_planes,
};
use alias_pictures::images::{Image, write_rgb8, write_sheet};
use alias_pictures::pipeline::overlapped;
use alias_pictures::wardrobe::{GarmentFiles, PersonFiles, Split, Wardrobe};
use alias_pictures::{resize, sheet};
use anyhow::{Context, Result, ensure};
use clap::ArgGroup;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Dress a person in a garment: from photos to a photo.
///
/// Besides the two photos it takes the person's label map, from a human parser, and the person's keypoints, from OpenPose. They
/// are looked for in the folders of VITON-HD's data set beside the photo's, or beside the photo (P_parse.png,
/// P_keypoints.json), unless options name them. The garment's mask is looked for likewise (C_mask.png); without one, the
/// garment is cut out from its background.
///
/// The picture has the photo's size, and is the photo itself wherever the person was not painted over.
#[derive(clap::Args)]
#[group(skip)]
#[command(group(ArgGroup::new("who").required(true).args(["person", "data"])))]
pub(crate) struct Arguments {
    /// The three networks' checkpoints (seg_final.pth, gmm_final.pth, alias_final.pth), or a folder that holds them
    #[arg(long, value_name = "DIR|FILE", required = true, num_args = 1..)]
    weights: Vec<PathBuf>,

    #[command(flatten)]
    one: One,

    /// A folder in VITON-HD's layout: image, cloth, cloth-mask, openpose_json, openpose_img, image-parse-v3
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Which persons wear what: lines of PERSON GARMENT [default: test_pairs.txt in or above the folder]
    #[arg(long, value_name = "FILE", requires = "data", conflicts_with = "person")]
    pairs: Option<PathBuf>,

    /// Leave out pairs whose picture is there already
    #[arg(long, requires = "data", conflicts_with = "person")]
    skip_done: bool,

    /// The picture, a PNG; with --data a folder, for PERSON_GARMENT.png
    #[arg(short, long, alias = "out", value_name = "OUT")]
    output: PathBuf,

    #[command(flatten)]
    preparing: Preparing,

    /// Add noise from this seed in the two networks that use it, as the authors do [default: no noise]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,

    /// Size at which pictures are drawn, height x width in multiples of 128; photos of other sizes are scaled and padded
    /// [default: four times that of the matching module: 1024x768]
    #[arg(long, value_name = "HxW", value_parser = parse_size)]
    size: Option<[usize; 2]>,

    /// Also write what was computed on the way, in five folders that `tryon synth` takes: labels, warped garment and its
    /// mask, gray picture, pose
    #[arg(long, value_name = "DIR")]
    stages: Option<PathBuf>,

    /// Also write a contact sheet, of the first fifty pairs
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,

    /// Write the picture as it was drawn, without putting it into the person's photo
    #[arg(long)]
    no_paste: bool,

    /// Load one network after the other for each picture: takes two thirds of the memory, and far longer
    #[arg(long)]
    one_at_a_time: bool,

    /// Precision in which weights and activations are stored; sums are always float32
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionArgument,
}

#[derive(clap::Args)]
struct One {
    /// The person's photo
    #[arg(long, value_name = "PHOTO", requires = "cloth")]
    person: Option<PathBuf>,

    /// The garment's photo, on a plain background
    #[arg(long = "garment", value_name = "PHOTO", requires = "person", conflicts_with = "data")]
    cloth: Option<PathBuf>,

    /// The garment's mask: white where it is
    #[arg(long, value_name = "FILE", requires = "person", conflicts_with = "data")]
    garment_mask: Option<PathBuf>,

    /// The person's label map
    #[arg(long, value_name = "PNG", requires = "person", conflicts_with = "data")]
    parse: Option<PathBuf>,

    /// The person's keypoints, as OpenPose writes them
    #[arg(long, value_name = "JSON", requires = "person", conflicts_with = "data")]
    keypoints: Option<PathBuf>,

    /// The person's skeleton, drawn on black [default: looked for, or drawn from the keypoints]
    #[arg(long, value_name = "FILE", requires = "person", conflicts_with = "data")]
    pose: Option<PathBuf>,
}

/// The most rows of a contact sheet.
const SHEET_ROWS: usize = 50;
/// Height of a contact sheet's pictures.
const CELL: usize = 256;
const TITLES: [&str; 7] = ["person", "garment", "gray", "pose", "labels", "warped", "result"];

/// A person and a garment to draw.
struct Job {
    /// The name of the picture, without extension.
    name: String,
    person: PersonFiles,
    garment: GarmentFiles,
    output: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, device: &DeviceArguments) -> Result<String> {
    // Errors that need no device are found before one is opened, and before minutes of work.
    let (jobs, missing) = jobs(arguments)?;
    if jobs.is_empty() && missing == 0 {
        return Ok(format!("{} already holds the picture of every pair\n", arguments.output.display()));
    }
    check_outputs(arguments, &jobs)?;
    let weights = Weights::read(&arguments.weights)?;
    let checkpoints = Checkpoints {
        segmentation: weights.segmentation()?,
        matching: weights.matching()?,
        generator: weights.generator()?,
    };
    let precision = arguments.precision.into();
    let device = device.open(precision)?;
    let target = target(&device, precision, GeneratorConfig::infer(checkpoints.generator)?)?;
    let load = if arguments.one_at_a_time { TryOn::one_at_a_time } else { TryOn::load_with };
    let try_on = load(device, &checkpoints, LoadOptions::default(), target)?;
    drop(weights);
    let work = Work::new(arguments, try_on)?;
    let total = jobs.len() + missing;
    let failed = missing + work.all(&jobs)?;
    ensure!(
        failed < total,
        if total == 1 { "nothing was drawn, see above".into() } else { format!("all {failed} failed, see above") }
    );
    ensure!(failed == 0, "{failed} of {total} failed, see above; the others are in {}", arguments.output.display());
    Ok(String::new())
}

/// What to draw, and how many pairs lack a file, which were told.
fn jobs(arguments: &Arguments) -> Result<(Vec<Job>, usize)> {
    let One { person, cloth, garment_mask, parse, keypoints, pose } = &arguments.one;
    if let (Some(person), Some(cloth)) = (person, cloth) {
        for path in [person, cloth] {
            ensure!(
                path.is_file(),
                "{} is no file; --person and --garment name photos, --data a folder",
                path.display()
            );
        }
        let given = [parse, keypoints, pose].map(Option::clone);
        let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let job = Job {
            name: format!("{}_{}", stem(person), stem(cloth)),
            person: PersonFiles::of_photo(person, given)?,
            garment: GarmentFiles::of_photo(cloth, garment_mask.clone()),
            output: arguments.output.clone(),
        };
        return Ok((vec![job], 0));
    }
    let root = arguments.data.as_deref().context("--data names a folder")?;
    let wardrobe = Wardrobe::open(root, Split::Test)?;
    let mut missing = 0;
    let (mut jobs, mut names) = (Vec::new(), BTreeSet::new());
    for [person, garment] in wardrobe.pairs(arguments.pairs.as_deref())? {
        let name = format!("{person}_{garment}");
        let output = arguments.output.join(format!("{name}.png"));
        if arguments.skip_done && output.is_file() {
            continue;
        }
        match (wardrobe.person(&person), wardrobe.garment(&garment)) {
            (Ok(person), Ok(garment)) => {
                ensure!(
                    names.insert(name.clone()),
                    "two pairs would both be written to {}; draw them by two pairs files, to two folders",
                    output.display()
                );
                jobs.push(Job { name, person, garment, output });
            }
            (Err(error), _) | (_, Err(error)) => {
                tell(format_args!("{name}: {error}"));
                missing += 1;
            }
        }
    }
    Ok((jobs, missing))
}

/// An error if an output would replace an input or another output, or cannot be written.
fn check_outputs(arguments: &Arguments, jobs: &[Job]) -> Result<()> {
    let Arguments { output, sheet, stages, weights, pairs, .. } = arguments;
    let pictures = jobs.iter().flat_map(|job| job.person.paths().chain(job.garment.paths()));
    let mut outputs = Outputs::new(pictures, weights.iter().chain(pairs).map(PathBuf::as_path));
    if let Some(stages) = stages {
        for folder in generator_inputs::FOLDERS {
            outputs.exclusive_folder(&stages.join(folder), "--stages")?;
        }
    }
    if arguments.data.is_some() {
        outputs.folder(output, "-o")?;
    }
    for job in jobs {
        outputs.picture(&job.output)?;
    }
    sheet.iter().try_for_each(|sheet| outputs.picture(sheet))?;
    outputs.create()
}

/// Everything that does not change from pair to pair.
struct Work<'a> {
    arguments: &'a Arguments,
    try_on: TryOn,
    preparer: Preparer<'a>,
    seeds: Seeds,
    rows: Mutex<Vec<Vec<Image>>>,
}

/// A person and a garment, prepared.
struct Ready {
    person: Arc<PreparedPerson>,
    garment: Arc<PreparedGarment>,
}

impl<'a> Work<'a> {
    fn new(arguments: &'a Arguments, try_on: TryOn) -> Result<Work<'a>> {
        let preparer = Preparer::new(&arguments.preparing, arguments.size, try_on.matching())?;
        let noise = arguments.seed.map_or(Noise::None, Noise::Seed);
        Ok(Work {
            arguments,
            try_on,
            preparer,
            seeds: Seeds { segmentation: noise, image: noise },
            rows: Mutex::default(),
        })
    }

    /// Draws all, and returns how many failed.
    fn all(&self, jobs: &[Job]) -> Result<usize> {
        let bar = progress(jobs.len());
        let mut failed = 0;
        let draw = |_: &Job, ready: Ready| {
            let worn = self.try_on.draw(&ready.person.wearer, &ready.garment.garment, self.seeds)?;
            Ok((ready, worn))
        };
        let report = |job: &Job, result: Result<()>| {
            bar.suspend(|| self.preparer.take_notes().iter().for_each(|note| tell(format_args!("warning: {note}"))));
            if let Err(mut error) = result {
                if self.arguments.data.is_some() && job.output.exists() {
                    error = error.context(format!("{} is of an earlier run", job.output.display()));
                }
                bar.suspend(|| tell(format_args!("{}: {error:#}", job.name)));
                failed += 1;
            }
            bar.set_message(job.name.clone());
            bar.inc(1);
        };
        overlapped(jobs, |job| self.read(job), draw, |job, (ready, worn)| self.write(job, &ready, &worn), report);
        bar.finish_and_clear();
        let rows = std::mem::take(&mut *lock(&self.rows));
        if let Some(path) = self.arguments.sheet.as_ref().filter(|_| !rows.is_empty()) {
            write_sheet(path, &sheet::sheet(&TITLES, &rows, CELL))?;
        }
        Ok(failed)
    }

    /// Reads and prepares a person and a garment.
    fn read(&self, job: &Job) -> Result<Ready> {
        Ok(Ready { person: self.preparer.person(&job.person)?, garment: self.preparer.garment(&job.garment)? })
    }

    /// Writes the picture, and what else was asked for.
    fn write(&self, job: &Job, ready: &Ready, worn: &Worn) -> Result<()> {
        let picture = if self.arguments.no_paste { ready.person.drawn(worn)? } else { ready.person.paste(worn)? };
        write_rgb8(&job.output, &picture)?;
        if let Some(stages) = &self.arguments.stages {
            write_stages(stages, &job.name, ready, worn)?;
        }
        let mut rows = lock(&self.rows);
        if self.arguments.sheet.is_some() && rows.len() < SHEET_ROWS {
            rows.push(row(ready, worn, &picture));
        }
        Ok(())
    }
}

fn write_stages(folder: &Path, name: &str, ready: &Ready, worn: &Worn) -> Result<()> {
    let lip: Vec<u8> = worn.parsed.iter().map(|&class| FROM_13_TO_LIP[usize::from(class)]).collect();
    let inputs = GeneratorInputs {
        agnostic: &ready.person.agnostic,
        pose: &ready.person.pose,
        labels: &lip,
        warped_cloth: &worn.sample.warped_cloth,
        warped_mask: &worn.sample.warped_mask,
    };
    inputs.write(folder, name)
}

/// A row of the contact sheet, at its size.
fn row(ready: &Ready, worn: &Worn, picture: &Rgb8) -> Vec<Image> {
    let (height, width) = (worn.sample.height, worn.sample.width);
    let of_bytes = |picture: &Rgb8| Image {
        height: picture.height(),
        width: picture.width(),
        data: rgb8_to_planes(picture.bytes()),
    };
    let of_planes = |data: &[f32]| Image { height, width, data: data.to_vec() };
    let image = of_planes(&worn.image);
    let [_, _, labels, ..] = sheet::columns(&worn.sample, image.clone(), image);
    let all = [
        of_bytes(ready.person.photo()),
        of_bytes(&ready.garment.picture),
        of_bytes(&ready.person.agnostic),
        of_bytes(&ready.person.pose),
        labels,
        of_planes(&worn.sample.warped_cloth),
        of_bytes(picture),
    ];
    let cell = |image: Image| resize::image(&image, CELL, (image.width * CELL).div_ceil(image.height));
    all.map(cell).into()
}
