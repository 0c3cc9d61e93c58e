//! `tryon bench`: the time, operations and memory that an image takes.

mod stages;

use super::{Drawing, Stage, prepare_folder};
use crate::device::{DeviceArguments, name, target, tuning_file};
use alias_kernels::Peak;
use alias_model::plan::Step;
use alias_model::{Device, GeneratorConfig, LoadOptions, Noise, Painter, Plan, PlanOptions, Target, Tuning, fill};
use alias_tensor::Counters;
use alias_train::read_generator;
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time the generator on a drawn sample, and count operations and memory.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    drawing: Drawing,

    /// A generator's checkpoint [default: generated weights of width --ngf]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,

    /// Number of images to time, after the first one
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Compute what depends on the label map alone (SPADE's tables) once, as for one person in many garments
    #[arg(long)]
    keep_tables: bool,

    /// First measure which method is the fastest for each convolution on this adapter, at this size, and use it from
    /// now on, in `synth`, `demo` and `evaluate` as well
    #[arg(long)]
    tune: bool,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, device: &DeviceArguments) -> Result<String> {
    let drawing = &arguments.drawing;
    if drawing.stage != Stage::Image {
        let others = arguments.weights.is_some() || arguments.keep_tables || arguments.tune;
        ensure!(!others, "--weights, --keep-tables and --tune are for the image generator; leave --stage out");
        return stages::run(arguments, device);
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
        Device::Cpu(cpu) => Some(cpu.peak_gflops()),
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
            Some(_) => self::resident().saturating_sub(resident),
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

/// A line of the table: something that was timed on its own.
struct Line {
    name: String,
    kernel: &'static str,
    time: Duration,
    flops: u64,
    bytes: u64,
}

impl Line {
    fn of_step(step: &Step, time: Duration, plan: &Plan) -> Line {
        let (flops, bytes) = (step.flops(), step.bytes_moved(plan));
        Line { name: step.name(), kernel: super::kernel(step), time, flops, bytes }
    }
}

struct Measurement {
    adapter: String,
    size: String,
    precision: String,
    median: Duration,
    min: Duration,
    first: Duration,
    prepared: Duration,
    loaded: Duration,
    executed: u64,
    dense: u64,
    moved: u64,
    /// In bytes: on a GPU, the most that was allocated; on cores, by how much the process has grown.
    peak: u64,
    largest: u64,
    launches: u64,
    submits: u64,
    /// Peak of processor cores; None on a GPU.
    peak_gflops: Option<f64>,
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Measurement {
    fn json(&self) -> String {
        let round = |v: f64| (v * 1e3).round() / 1e3;
        let mut report = serde_json::json!({
            "adapter": self.adapter,
            "size": self.size,
            "precision": self.precision,
            "ms_median": round(milliseconds(self.median)),
            "ms_min": round(milliseconds(self.min)),
            "ms_first": round(milliseconds(self.first)),
            "ms_person": round(milliseconds(self.prepared)),
            "ms_load": round(milliseconds(self.loaded)),
            "executed_gflop": round(self.executed as f64 / 1e9),
            "dense_gflop": round(self.dense as f64 / 1e9),
            "bytes_moved_mib": round(mib(self.moved)),
            "peak_mib": round(mib(self.peak)),
            "largest_binding_mib": round(mib(self.largest)),
            "launches": self.launches,
            "submits": self.submits,
        });
        if let Some(peak) = self.peak_gflops {
            report["peak_gflops"] = round(peak).into();
        }
        report.to_string()
    }

    /// A line for everything that was timed on its own, and one for the whole, which is `what`.
    fn text(&self, device: &Device, what: &str, lines: Vec<Line>) -> Result<String> {
        let peak = match device {
            Device::Gpu(gpu) => Peak::measure(gpu)?,
            Device::Cpu(cpu) => Peak { gflops: self.peak_gflops.unwrap_or_default(), gbs: cpu.copy_gbs() },
        };
        let mut text = format!(
            "{:24}{:12}{:>10}{:>9}{:>10}{:>9}{:>8}\n",
            "step", "kernel", "ms", "GFLOP", "GFLOP/s", "GB/s", "peak"
        );
        let mut line = |name: &str, kernel: &str, time: Duration, flops: u64, bytes: u64| {
            let seconds = time.as_secs_f64();
            let (gflops, gbs) = (flops as f64 / 1e9 / seconds, bytes as f64 / 1e9 / seconds);
            // The share of the peak, of arithmetic or of bandwidth, that it is closer to.
            let share = 100.0 * (gflops / peak.gflops).max(gbs / peak.gbs);
            let (ms, gflop) = (milliseconds(time), flops as f64 / 1e9);
            text += &format!("{name:24}{kernel:12}{ms:10.3}{gflop:9.2}{gflops:10.1}{gbs:9.1}{share:7.0}%\n");
        };
        for Line { name, kernel, time, flops, bytes } in lines {
            line(&name, kernel, time, flops, bytes);
        }
        line(what, "", self.median, self.executed, self.moved);
        text += &format!(
            "{} on {}, {}: median {:.1} ms, minimum {:.1} ms, the first {:.1} ms; preparing {:.1} ms, \
             loading {:.1} ms; {} launches, {} submits\n",
            self.size,
            self.adapter,
            self.precision,
            milliseconds(self.median),
            milliseconds(self.min),
            milliseconds(self.first),
            milliseconds(self.prepared),
            milliseconds(self.loaded),
            self.launches,
            self.submits,
        );
        text += &format!(
            "{:.1} GFLOP, where the dense network takes {:.1}; {:.0} MiB moved; {} {:.0} MiB, largest binding {:.1} MiB\n",
            self.executed as f64 / 1e9,
            self.dense as f64 / 1e9,
            mib(self.moved),
            if self.peak_gflops.is_some() { "the process grew by" } else { "peak memory" },
            mib(self.peak),
            mib(self.largest),
        );
        text += &format!(
            "peak: {:.1} GFLOP/s of multiply-adds in registers, {:.1} GB/s of copying; shares are of the closer one\n",
            peak.gflops, peak.gbs
        );
        Ok(text)
    }
}

/// A GPU's counters; processor cores have none.
fn counters(device: &Device) -> Counters {
    match device {
        Device::Gpu(gpu) => gpu.counters(),
        Device::Cpu(_) => Counters::default(),
    }
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    memory_stats::memory_stats().map_or(0, |stats| stats.physical_mem as u64)
}

fn timed<T>(run: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let start = Instant::now();
    let value = run()?;
    Ok((start.elapsed(), value))
}
