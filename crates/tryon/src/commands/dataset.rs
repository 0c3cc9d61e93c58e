//! `tryon dataset`: folders of examples to train on.

mod prepare;

use super::generator_inputs::write_pairs;
use super::{cores, in_parallel, parse_size, progress, to_image};
use crate::device::DeviceArguments;
use crate::terminal::tell;
use alias_model::Layers;
use alias_pictures::dataset::Dataset;
use alias_pictures::images::{Plane, write_labels, write_rgb};
use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Make a dataset to train on, from photos or drawn, or check one.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Check that every example has all its files, and that each can be read
    ///
    /// Each example has a picture of the same name in each of these folders. Where several are named, the first that
    /// exists is read.
    ///
    /// true picture: image. Agnostic picture: agnostic-v3.2, agnostic. Pose: openpose_img, openpose-img, openpose.
    /// Labels, as PNG: image-parse-v3, image-parse. Warped garment: warped-cloth, cloth. Its mask: warped-cloth-mask,
    /// cloth-mask.
    ///
    /// train_pairs.txt, else pairs.txt, names the examples: a line IMAGE CLOTH for each, where both names are the same.
    Check {
        /// The dataset's folder, in VITON-HD's layout
        folder: PathBuf,
    },
    /// Draw figures in garments that are slightly misplaced, in VITON-HD's layout
    Draw {
        /// The folder to write to; it must be new or empty
        folder: PathBuf,

        /// Number of examples
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..1_000_000))]
        count: u64,

        /// Seed of the first example; the others have the seeds after it
        #[arg(long, value_name = "S", default_value_t = 1)]
        seed: u64,

        /// Size of the pictures, height x width
        #[arg(long, value_name = "HxW", default_value = "256x128", value_parser = parse_size)]
        size: [usize; 2],
    },
    Prepare(prepare::Arguments),
}

/// The most warnings that are shown: hundreds usually have one cause.
const NOTES: usize = 20;

pub(crate) fn run(arguments: &Arguments, device: &DeviceArguments) -> Result<String> {
    match &arguments.action {
        Action::Check { folder } => check(folder),
        Action::Draw { folder, count, seed, size } => draw(folder, *count, *seed, *size),
        Action::Prepare(arguments) => prepare::run(arguments, device),
    }
}

fn check(folder: &Path) -> Result<String> {
    let dataset = Dataset::open(folder)?;
    let bar = progress(dataset.len());
    let mut text = String::new();
    let (mut failed, mut notes) = (0, Vec::new());
    for index in 0..dataset.len() {
        if let Err(error) = dataset.read_noting(index, &mut notes) {
            writeln!(text, "{error}")?;
            failed += 1;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    notes.iter().take(NOTES).for_each(|note| tell(format_args!("warning: {note}")));
    if notes.len() > NOTES {
        tell(format_args!("warning: and {} more files like these", notes.len() - NOTES));
    }
    let [height, width] = dataset.size();
    ensure!(failed == 0, "{text}{failed} of {} examples cannot be read", dataset.len());
    let mut text = format!("{} examples of {height}x{width}, all readable\n", dataset.len());
    let fit = [Layers::Most, Layers::More].into_iter().find(|layers| layers.check_size(height, width).is_ok());
    match fit {
        Some(Layers::Most) => {}
        Some(Layers::More) => {
            text += "train with --layers more: height and width are multiples of 64, but not of 128\n";
        }
        None => text += "train with another --size, of multiples of 64\n",
    }
    for (what, from) in dataset.sources() {
        writeln!(text, "{what:>26}: {}", from.file_name().unwrap_or_default().display())?;
    }
    Ok(text)
}

/// The folders that are written, by names that [`Dataset`] reads.
const FOLDERS: [&str; 6] = ["image", "agnostic", "openpose", "cloth", "cloth-mask", "image-parse"];

fn draw(folder: &Path, count: u64, seed: u64, size: [usize; 2]) -> Result<String> {
    let shown = folder.display();
    let is_empty = std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    ensure!(is_empty, "{shown} is not empty; draw into a new folder");
    let last =
        seed.checked_add(count - 1).context("--seed and --count reach past the largest seed; take a smaller --seed")?;
    for name in FOLDERS {
        std::fs::create_dir_all(folder.join(name)).with_context(|| format!("{shown}"))?;
    }
    let bar = progress(count as usize);
    in_parallel(cores(), count as usize, |index| {
        draw_one(folder, seed + index as u64, size)?;
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();
    write_pairs(folder, (seed..=last).map(name))?;
    let [height, width] = size;
    Ok(format!("{count} examples of {height}x{width} in {shown}\n"))
}

fn name(seed: u64) -> String {
    format!("{seed:06}.png")
}

fn draw_one(folder: &Path, seed: u64, [height, width]: [usize; 2]) -> Result<()> {
    let scene = alias_scene::draw(seed, height, width);
    let sample = scene.sample;
    let mask = sample.warped_mask.iter().map(|m| 2.0 * m - 1.0).collect::<Vec<_>>().repeat(3);
    let pictures = [scene.truth, sample.agnostic.clone(), sample.pose.clone(), sample.warped_cloth.clone(), mask];
    let path = |kind: &str| folder.join(kind).join(name(seed));
    for (kind, data) in FOLDERS.into_iter().zip(pictures) {
        write_rgb(&path(kind), &to_image(&sample, data))?;
    }
    Ok(write_labels(&path(FOLDERS[5]), &Plane { height, width, data: sample.labels })?)
}
