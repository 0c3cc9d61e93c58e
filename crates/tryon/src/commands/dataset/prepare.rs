//! `tryon dataset prepare`: from photos to examples to train on.

use super::super::generator_inputs::{self, GeneratorInputs};
use super::super::outputs::Outputs;
use super::super::preparing::{Preparer, Preparing};
use super::super::{parse_size, progress};
use crate::device::DeviceArguments;
use crate::terminal::tell;
use crate::weights::Weights;
use alias_model::preprocess::labels::LIP_TO_7;
use alias_model::{CLASSES, Matcher, Precision, PreparedGarment, PreparedPerson, Target, Warped};
use alias_pictures::images::{read_size, write_rgb8};
use alias_pictures::pipeline::overlapped;
use alias_pictures::wardrobe::{GarmentFiles, PersonFiles, Split, Wardrobe};
use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Make a dataset to train on from photos of persons, each with the garment that it shows
///
/// Reads VITON-HD's folders: image, cloth, cloth-mask, openpose_json, openpose_img, image-parse-v3. Each picture is paired with
/// the garment of its own name. Writes the folders that `tryon train` reads: the picture at the size to train at, the same
/// with torso and arms painted gray, the pose, the labels, and the garment, warped onto the person, with its mask.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A folder in VITON-HD's layout, or one that holds such a folder as `train`
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// The matching module's checkpoint (gmm_final.pth), which warps garments, or a folder that holds it
    #[arg(long, value_name = "FILE|DIR")]
    weights: PathBuf,

    /// The folder to write to; it must hold no examples yet, but for --skip-done
    #[arg(short, long, alias = "out", value_name = "OUT")]
    output: PathBuf,

    /// The persons: the first name in each line [default: train_pairs.txt in or above the folder, else every person
    /// with a garment of the same name]
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,

    /// Size of the examples, height x width in multiples of 128; photos of other sizes are scaled and padded
    /// [default: four times that of the matching module: 1024x768]
    #[arg(long, value_name = "HxW", value_parser = parse_size)]
    size: Option<[usize; 2]>,

    /// Leave out examples that are there already, at this size
    #[arg(long)]
    skip_done: bool,

    #[command(flatten)]
    preparing: Preparing,
}

/// A picture and the garment that it shows.
struct Job {
    name: String,
    person: PersonFiles,
    garment: GarmentFiles,
}

pub(super) fn run(arguments: &Arguments, device: &DeviceArguments) -> Result<String> {
    // Errors that need no device are found before one is opened, and before hours of work.
    let Arguments { data, output, preparing, size, .. } = arguments;
    let wardrobe = Wardrobe::open(data, Split::Train)?;
    let pairs = arguments.pairs.clone().or_else(|| wardrobe.pairs_file());
    let names = names(&wardrobe, pairs.as_deref())?;
    let mut jobs = Vec::new();
    for name in &names {
        match (wardrobe.person(name), wardrobe.garment(name)) {
            (Ok(person), Ok(garment)) => jobs.push(Job { name: name.clone(), person, garment }),
            (Err(error), _) | (_, Err(error)) => tell(format_args!("{name}: {error}")),
        }
    }
    check_output(arguments, &jobs, pairs.as_deref())?;
    let weights = Weights::read(std::slice::from_ref(&arguments.weights))?;
    let checkpoint = weights.matching()?;
    let device = device.open(Precision::F32)?;
    let target = Target::of(&device, Precision::F32);
    let matcher = Matcher::load(device, checkpoint, true, target)?;
    drop(weights);
    let preparer = Preparer::new(preparing, *size, matcher.config())?;

    let (done, jobs): (Vec<_>, Vec<_>) =
        jobs.into_iter().partition(|job| arguments.skip_done && is_done(output, &job.name, preparer.size()));
    let mut finished: BTreeSet<_> = done.into_iter().map(|job| job.name).collect();
    finished.extend(all(&preparer, &matcher, output, &jobs));
    let failed = names.len() - finished.len();
    ensure!(!finished.is_empty(), "all {failed} failed, see above");
    generator_inputs::write_pairs(
        output,
        names.iter().filter(|name| finished.contains(*name)).map(|name| format!("{name}.png")),
    )?;
    let ([height, width], shown) = (preparer.size(), output.display());
    ensure!(failed == 0, "{failed} of {} failed, see above; the others are in {shown}", names.len());
    Ok(format!("{} examples of {height}x{width} in {shown}\n", finished.len()))
}

/// The names of the persons to prepare, each once.
fn names(wardrobe: &Wardrobe, pairs: Option<&Path>) -> Result<Vec<String>> {
    let Some(path) = pairs else {
        let names: Vec<_> =
            wardrobe.persons().filter(|name| wardrobe.garment(name).is_ok()).map(str::to_owned).collect();
        let root = wardrobe.root().display();
        ensure!(!names.is_empty(), "{root}: no picture in image has a garment of the same name in cloth");
        return Ok(names);
    };
    let mut known = BTreeSet::new();
    let persons = wardrobe.pairs(Some(path))?.into_iter().map(|[person, _]| person);
    Ok(persons.filter(|person| known.insert(person.clone())).collect())
}

/// Creates the folders to write to. An error if one holds an input, or something of an earlier run without --skip-done.
fn check_output(arguments: &Arguments, jobs: &[Job], pairs: Option<&Path>) -> Result<()> {
    let Arguments { output, skip_done, .. } = arguments;
    let folders = [&[IMAGE], &generator_inputs::FOLDERS[..]].concat();
    // A run of which nothing came leaves empty folders.
    let is_empty = |folder: &&str| std::fs::read_dir(output.join(folder)).map_or(true, |entries| entries.count() == 0);
    ensure!(
        *skip_done || folders.iter().all(is_empty),
        "{} already holds pictures; name a new folder, or go on with what is there by --skip-done",
        output.display()
    );
    let pictures = jobs.iter().flat_map(|job| job.person.paths().chain(job.garment.paths()));
    let mut outputs = Outputs::new(pictures, pairs);
    for folder in folders {
        outputs.exclusive_folder(&output.join(folder), "-o")?;
    }
    outputs.folder(output, "-o")?;
    outputs.file(&output.join(generator_inputs::PAIRS))?;
    outputs.create()
}

/// The folder of the true pictures.
const IMAGE: &str = "image";

/// Whether all files of an example are there, at this size.
fn is_done(root: &Path, name: &str, [height, width]: [usize; 2]) -> bool {
    let mut files =
        generator_inputs::FOLDERS.iter().chain([&IMAGE]).map(|folder| generator_inputs::file(root, folder, name));
    files.all(|path| read_size(&path).is_ok_and(|size| size == (height, width)))
}

/// Prepares and writes all, and returns the names of those that did not fail.
fn all(preparer: &Preparer, matcher: &Matcher, output: &Path, jobs: &[Job]) -> Vec<String> {
    let bar = progress(jobs.len());
    let mut finished = Vec::new();
    let read = |job: &Job| {
        let person = preparer.person(&job.person)?;
        let labels = person.labels.pixels();
        ensure!(
            labels.iter().any(|&label| label >= CLASSES),
            "{}: no label is above {}, so that `tryon train` would take them for its own classes; use a map with the face, \
             or with an arm",
            job.person.parse.display(),
            CLASSES - 1
        );
        let classes = labels.iter().map(|&label| LIP_TO_7[usize::from(label)]).collect();
        Ok((person, preparer.garment(&job.garment)?, classes))
    };
    let draw = |_: &Job, (person, garment, classes): (Arc<PreparedPerson>, Arc<PreparedGarment>, Vec<u8>)| {
        let warped = matcher.warp(&person.wearer, &garment.garment, &classes)?;
        Ok((person, warped))
    };
    let write = |job: &Job, (person, warped): (Arc<PreparedPerson>, Warped)| {
        let inputs = GeneratorInputs {
            agnostic: &person.agnostic,
            pose: &person.pose,
            labels: person.labels.pixels(),
            warped_cloth: &warped.cloth,
            warped_mask: &warped.mask,
        };
        inputs.write(output, &job.name)?;
        Ok(write_rgb8(&generator_inputs::file(output, IMAGE, &job.name), &person.picture)?)
    };
    let report = |job: &Job, result: Result<()>| {
        bar.suspend(|| preparer.take_notes().iter().for_each(|note| tell(format_args!("warning: {note}"))));
        match result {
            Ok(()) => finished.push(job.name.clone()),
            Err(error) => bar.suspend(|| tell(format_args!("{}: {error:#}", job.name))),
        }
        bar.set_message(job.name.clone());
        bar.inc(1);
    };
    overlapped(jobs, read, draw, write, report);
    bar.finish_and_clear();
    finished
}
