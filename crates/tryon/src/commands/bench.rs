//! `tryon bench`: how long an image takes, and what it takes.

use crate::AdapterArgument;
use alias_model::{
    Architecture, Checkpoint, Config, LoadOptions, Noise, Painter, Person, Precision, Sample, Target, fill,
};
use alias_tensor::Gpu;
use anyhow::{Result, ensure};
use clap::ValueEnum;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tryon::scene;

/// Time the generator on drawn inputs and count what it executes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Size of the image, height x width
    #[arg(long, value_name = "HxW", default_value = "1024x768", value_parser = parse_size)]
    size: [usize; 2],

    /// Width of the generator whose weights are drawn at random [default: 64, the published one's]
    #[arg(long, value_name = "N", conflicts_with = "weights")]
    ngf: Option<usize>,

    /// A trained generator's checkpoint
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,

    /// How weights and activations are stored; sums are float32 in any case
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionArgument,

    /// What the label map shows: more distinct windows take more work
    #[arg(long, value_enum, default_value = "person")]
    map: Map,

    /// How many images to time after the first one
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum PrecisionArgument {
    F32,
    F16,
}

#[derive(Clone, Copy, ValueEnum)]
enum Map {
    /// A drawn person
    Person,
    /// One class everywhere
    Flat,
    /// Every pixel of a random class
    Noise,
}

/// Height and width as in 1024x768.
pub(crate) fn parse_size(text: &str) -> Result<[usize; 2], String> {
    let parsed = text.split_once('x').and_then(|(h, w)| Some([h.parse().ok()?, w.parse().ok()?]));
    parsed.ok_or_else(|| "expected height x width, as in 1024x768".into())
}

pub(crate) fn run(arguments: &Arguments, adapter: &AdapterArgument) -> Result<String> {
    let start = Instant::now();
    let [height, width] = arguments.size;
    let gpu = adapter.open()?;
    let checkpoint = match &arguments.weights {
        Some(path) => Checkpoint::read(path)?,
        None => fill(&Architecture::new(Config::PUBLISHED.with_ngf(arguments.ngf.unwrap_or(64)))?, 1),
    };
    let precision = match arguments.precision {
        PrecisionArgument::F32 => Precision::F32,
        PrecisionArgument::F16 => Precision::F16,
    };
    let painter = Painter::load_with(&gpu, &checkpoint, LoadOptions::default(), Target::of(&gpu, precision))?;
    drop(checkpoint);
    let loaded = start.elapsed();
    let sample = labelled(scene::draw(1, height, width).sample, arguments.map);

    let (first, person) = timed(|| {
        let person = painter.person(&sample, false)?;
        person.draw(&sample, Noise::None)?;
        Ok(person)
    })?;
    let before = gpu.counters();
    let mut times = Vec::new();
    for _ in 0..arguments.runs {
        let (time, image) = timed(|| Ok(person.draw(&sample, Noise::None)?))?;
        ensure!(image.iter().all(|v| v.is_finite()), "the image holds values that are no numbers");
        times.push(time);
    }
    times.sort();
    let after = gpu.counters();
    let runs = u64::from(arguments.runs);
    let report = Report {
        adapter: gpu.info().name,
        size: format!("{height}x{width}"),
        precision: format!("{precision:?}").to_lowercase(),
        median: times[times.len() / 2],
        min: times[0],
        first,
        loaded,
        executed: person.plan().flops(),
        dense: painter.architecture().dense_flops(height, width),
        moved: person.plan().bytes_moved(),
        peak: after.peak_device_bytes,
        largest: person.largest_binding(),
        launches: (after.launches - before.launches) / runs,
        submits: (after.submits - before.submits) / runs,
    };
    if arguments.json { Ok(report.json() + "\n") } else { report.text(&gpu, &person) }
}

struct Report {
    adapter: String,
    size: String,
    precision: String,
    median: Duration,
    min: Duration,
    first: Duration,
    loaded: Duration,
    executed: u64,
    dense: u64,
    moved: u64,
    peak: u64,
    largest: u64,
    launches: u64,
    submits: u64,
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Report {
    fn json(&self) -> String {
        let round = |v: f64| (v * 1e3).round() / 1e3;
        serde_json::json!({
            "adapter": self.adapter,
            "size": self.size,
            "precision": self.precision,
            "ms_median": round(milliseconds(self.median)),
            "ms_min": round(milliseconds(self.min)),
            "ms_first": round(milliseconds(self.first)),
            "ms_load": round(milliseconds(self.loaded)),
            "executed_gflop": round(self.executed as f64 / 1e9),
            "dense_gflop": round(self.dense as f64 / 1e9),
            "bytes_moved_mib": round(mib(self.moved)),
            "peak_mib": round(mib(self.peak)),
            "largest_binding_mib": round(mib(self.largest)),
            "launches": self.launches,
            "submits": self.submits,
        })
        .to_string()
    }

    fn text(&self, _gpu: &Gpu, _person: &Person) -> Result<String> {
        Ok(self.json())
    }
}

fn timed<T>(run: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let start = Instant::now();
    let value = run()?;
    Ok((start.elapsed(), value))
}

fn labelled(sample: Sample, map: Map) -> Sample {
    let labels = match map {
        Map::Person => sample.labels.clone(),
        Map::Flat => vec![0; sample.labels.len()],
        // A multiplicative generator's high bits are random enough to have no two windows alike.
        Map::Noise => (1..=sample.labels.len() as u64)
            .map(|k| {
                (k.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xd134_2543_de82_ef95) >> 61) as u8
                    % 7
            })
            .collect(),
    };
    Sample { labels, ..sample }
}
