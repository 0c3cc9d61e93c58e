//! `tryon bench`: the time, operations and memory that an image takes.

mod measurement;
mod networks;
mod training;

use super::outputs::prepare_folder;
use super::{Drawing, Stage};
use crate::device::{DeviceArguments, name, target, tuning_file};
use alias_model::plan::Step;
use alias_model::{Device, GeneratorConfig, LoadOptions, Noise, Painter, PlanOptions, Target, Tuning, fill};
use alias_train::read_generator;
use anyhow::{Context, Result, bail, ensure};
use measurement::{Line, Measurement, counters, resident, timed};
use std::path::PathBuf;

/// Time the generator on a drawn sample, and count operations and memory.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    drawing: Drawing,

    /// An image generator's checkpoint; without --stage [default: generated weights of width --ngf]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,

    /// Number of images to time, after the first one
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Compute what depends on the label map alone (SPADE's tables) once, as for one person in many garments; without
    /// --stage
    #[arg(long)]
    keep_tables: bool,

    /// First measure which method is the fastest for each convolution on this adapter, at this size, and use it from
    /// now on, in `wear`, `synth`, `demo` and `evaluate` as well; without --stage
    #[arg(long)]
    tune: bool,

    /// Time a step of training instead of an image: updates of the discriminator and of the generator, VGG-19 included,
    /// from generated weights
    #[arg(long)]
    train: bool,

    /// Without VGG-19; with --train
    #[arg(long, requires = "train")]
    no_vgg: bool,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, device: &DeviceArguments) -> Result<String> {
    let drawing = &arguments.drawing;
    if arguments.train {
        let others = arguments.weights.is_some() || arguments.keep_tables || arguments.tune;
        ensure!(
            drawing.stage == Stage::Image && !others,
            "--train times a step of the image generator from generated weights; leave out --stage, --weights, --keep-tables \
             and --tune"
        );
        return training::run(drawing, !arguments.no_vgg, arguments.runs, arguments.json, device);
    }
    if drawing.stage != Stage::Image {
        let others = arguments.weights.is_some() || arguments.keep_tables || arguments.tune;
        ensure!(
            !others,
            "--weights, --keep-tables and --tune are for the image generator alone; leave out either these or --stage"
        );
        return networks::run(drawing, arguments.runs, arguments.json, device);
    }
    let [height, width] = drawing.size;
    let precision = drawing.precision.into();
    // Errors that need no device are found before one is opened.
    let (read, checkpoint) = timed(|| Ok(arguments.weights.as_deref().map(read_generator).transpose()?))?;
    let config = match &checkpoint {
        Some(checkpoint) => GeneratorConfig::infer(checkpoint)?,
        None => drawing.config(),
    };
    let sample = drawing.sample(config.layers)?;
    let resident = resident();
    let (opened, device) = timed(|| device.open(precision))?;
    let checkpoint = match checkpoint {
        Some(checkpoint) => checkpoint,
        None => fill(&config.network()?, 1),
    };
    let options = LoadOptions::default();
    if arguments.tune {
        let Device::Gpu(gpu) = &device else {
            bail!("there is nothing to tune on processor cores; --tune is for GPUs")
        };
        let path = tuning_file(gpu, precision, config).context("no cache folder to store the tuning in; set HOME")?;
        let folder = prepare_folder(path.parent().unwrap_or(&path));
        folder.context("the cache folder; set XDG_CACHE_HOME to one that can")?;
        Tuning::measure(gpu, &checkpoint, options, &sample, &Target::of(gpu, precision))?.write(&path)?;
    }
    let (packed, painter) = timed(|| {
        let painter = Painter::load_with(&device, &checkpoint, options, target(&device, precision, config)?)?;
        drop(checkpoint);
        Ok(painter)
    })?;
    let person_options = PlanOptions { noise: false, keeps_tables: arguments.keep_tables };
    let (first, person) = timed(|| {
        let person = painter.person(&sample, person_options)?;
        person.draw(&sample, Noise::None)?;
        Ok(person)
    })?;
    // Prepared once more, now that the kernels are compiled: the time of numbering windows, planning and recording.
    let (prepared, person) = timed(|| {
        drop(person);
        Ok(painter.person(&sample, person_options)?)
    })?;
    person.draw(&sample, Noise::None)?;
    let before = counters(&device);
    let mut times = Vec::new();
    for _ in 0..arguments.runs {
        let (time, image) = timed(|| Ok(person.draw(&sample, Noise::None)?))?;
        ensure!(image.iter().all(|v| v.is_finite()), "the image holds NaN or infinity");
        times.push(time);
    }
    times.sort();
    let after = counters(&device);
    let runs = u64::from(arguments.runs);
    let plan = &person.cost().plan;
    let cores = match &device {
        Device::Gpu(_) => None,
        Device::Cores(cores) => Some(cores.cpu().peak_gflops()),
    };
    let report = Measurement {
        adapter: name(&device),
        size: format!("{height}x{width}"),
        precision: format!("{precision:?}").to_lowercase(),
        median: times[times.len() / 2],
        min: times[0],
        first,
        prepared,
        loaded: read + opened + packed,
        // A GPU counts; for cores, the plan's count is taken.
        executed: match cores {
            None => (after.flops - before.flops) / runs,
            Some(_) => person.steps().iter().map(Step::flops).sum(),
        },
        dense: config.network()?.dense_flops(height, width)?,
        moved: person.steps().iter().map(|step| step.bytes_moved(plan)).sum(),
        peak: match cores {
            None => after.peak_device_bytes,
            Some(_) => measurement::resident().saturating_sub(resident),
        },
        peak_gflops: cores,
        largest: person.cost().largest_binding,
        launches: (after.launches - before.launches) / runs,
        submits: (after.submits - before.submits) / runs,
    };
    if arguments.json {
        return Ok(report.json() + "\n");
    }
    let profile = person.profile()?;
    report.text(&device, "an image", profile.into_iter().map(|(step, time)| Line::of_step(step, time, plan)).collect())
}
