//! One file for each subcommand: its arguments, what it does, and what it prints at the end.

pub(crate) mod bench;
pub(crate) mod dataset;
pub(crate) mod demo;
pub(crate) mod evaluate;
pub(crate) mod export;
mod generator_inputs;
pub(crate) mod info;
pub(crate) mod inspect;
mod outputs;
mod preparing;
mod report;
pub(crate) mod synth;
pub(crate) mod train;
pub(crate) mod wear;

use crate::device::target;
use crate::terminal::tell;
use alias_model::network::Network;
use alias_model::plan::{Method, Step};
use alias_model::{
    Checkpoint, Device, GeneratorConfig, Layers, LoadOptions, MatchingConfig, Noise, Painter, Precision, Sample,
    SegmentationConfig,
};
use alias_pictures::images::Image;
use alias_train::RunCheckpointError;
use anyhow::{Result, ensure};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

/// Loads a generator to draw on `device`.
fn load(checkpoint: &Checkpoint, device: &Device, precision: Precision, plain: bool) -> alias_model::Result<Painter> {
    let target = target(device, precision, GeneratorConfig::infer(checkpoint)?)?;
    Painter::load_with(device, checkpoint, LoadOptions { plain, ..Default::default() }, target)
}

/// Reports damaged checkpoints that are passed over for an earlier one.
fn report_damaged(damaged: &[RunCheckpointError]) {
    damaged.iter().for_each(|damaged| tell(format_args!("{damaged}; taking the checkpoint before it")));
}

/// The results of `work` for each index below `count`, in order, computed by at most `threads` threads, fewer where the
/// system refuses some. After an error
/// no other index is started.
fn in_parallel<T: Send>(threads: usize, count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && index < count
        {
            done.push((index, work(index).inspect_err(|_| next.store(count, Ordering::Relaxed))?));
        }
        anyhow::Ok(done)
    };
    let done: Result<Vec<_>> = std::thread::scope(|scope| {
        let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, some).ok();
        let others: Vec<_> = (1..threads.min(count)).map_while(spawn).collect();
        let mine = some();
        let join = |thread: ScopedJoinHandle<_>| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        std::iter::once(mine).chain(others.into_iter().map(join)).collect()
    });
    let mut done: Vec<_> = done?.into_iter().flatten().collect();
    done.sort_unstable_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, value)| value).collect())
}

/// The number of threads that can run at once.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Draws a sample: (N, 3, H, W). An image that holds NaN or infinity is an error, not a result.
fn draw(painter: &Painter, sample: &Sample, noise: Option<u64>) -> Result<Vec<f32>> {
    finite(painter.draw(sample, noise.map_or(Noise::None, Noise::Seed))?)
}

/// The image, unless it holds NaN or infinity.
fn finite(image: Vec<f32>) -> Result<Vec<f32>> {
    ensure!(
        image.iter().all(|v| v.is_finite()),
        "the image holds NaN or infinity, because the weights do or are far too large; `tryon inspect` names such tensors"
    );
    Ok(image)
}

/// A picture (3, H, W) of the sample's size.
fn to_image(sample: &Sample, data: Vec<f32>) -> Image {
    Image { height: sample.height, width: sample.width, data }
}

/// A progress bar on stderr, hidden unless that is a terminal.
fn progress(length: usize) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({eta} left)") {
        bar.set_style(style);
    }
    bar
}

/// The step's kind and method, for the column "kernel".
fn kernel(step: &Step) -> &'static str {
    match step {
        Step::Table(_) => "table",
        Step::Noise(_) => "noise",
        Step::Statistics(_) => "statistics",
        Step::Convolution(step) => match step.method {
            Method::Fused => "fused",
            Method::Winograd(_) => "winograd",
            Method::Staged(_) => "staged",
        },
        Step::Pool(_) => "pool",
        Step::Linear(_) => "linear",
        Step::L2Normalization(_) => "l2 norm",
        Step::Correlation(_) => "correlation",
    }
}

/// The drawn sample, and the networks for it, that `bench` and `info --plan` work on.
#[derive(clap::Args)]
pub(crate) struct Drawing {
    /// Which network: that of the image alone, one of the two before it, or all three in a row
    #[arg(long, value_enum, default_value = "image")]
    pub(crate) stage: Stage,

    /// Size of the image, height x width
    #[arg(long, value_name = "HxW", default_value = "1024x768", value_parser = parse_size)]
    pub(crate) size: [usize; 2],

    /// Width of the networks; 64 in the published ones
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=256))]
    ngf: u16,

    /// Precision in which weights and activations are stored; sums are always float32
    #[arg(long, value_enum, default_value = "f32")]
    pub(crate) precision: PrecisionArgument,

    /// Content of the label map; the more it varies, the more work an image takes
    #[arg(long, value_enum, default_value = "person")]
    map: Map,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum PrecisionArgument {
    F32,
    F16,
}

/// What is measured or planned.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// The segmentation generator, at a quarter of the size
    Seg,
    /// The geometric matching module, at a quarter of the size
    Gmm,
    /// The image generator
    Image,
    /// All three in a row; `bench` also counts the resizing and the warp between them, which are no steps of a plan
    Wear,
}

#[derive(Clone, Copy, ValueEnum)]
enum Map {
    /// A drawn figure
    Person,
    /// One class everywhere
    Flat,
    /// A random class for each pixel
    Noise,
}

impl From<PrecisionArgument> for Precision {
    fn from(argument: PrecisionArgument) -> Precision {
        match argument {
            PrecisionArgument::F32 => Precision::F32,
            PrecisionArgument::F16 => Precision::F16,
        }
    }
}

/// The most pixels that are drawn: with more, the inputs alone would take gigabytes.
const MAX_PIXELS: usize = 1 << 26;

/// Height and width as in 1024x768.
fn parse_size(text: &str) -> Result<[usize; 2], String> {
    let parsed = text.split_once('x').and_then(|(h, w)| Some([h.parse().ok()?, w.parse().ok()?]));
    let [h, w]: [usize; 2] = parsed.ok_or("expected height x width, as in 1024x768")?;
    let fits = h.checked_mul(w).is_some_and(|pixels| (1..=MAX_PIXELS).contains(&pixels));
    if fits { Ok([h, w]) } else { Err(format!("expected 1 to {MAX_PIXELS} pixels")) }
}

impl Drawing {
    /// Height and width at which the first two networks work: a quarter of the size, as the authors have it.
    pub(crate) fn low_size(&self) -> Result<[usize; 2]> {
        let multiple = 4 * MatchingConfig::MULTIPLE;
        let [height, width] = self.size;
        ensure!(
            self.size.iter().all(|side| side.is_multiple_of(multiple)),
            "with this --stage, height and width are multiples of {multiple}, not {height}x{width}"
        );
        Ok(self.size.map(|side| side / 4))
    }

    /// The network of a stage.
    pub(crate) fn network_of(&self, stage: Stage) -> Result<Network> {
        let ngf = self.ngf.into();
        Ok(match stage {
            Stage::Seg => SegmentationConfig { ngf }.network()?,
            Stage::Gmm => MatchingConfig::of_size(ngf, self.low_size()?).network()?,
            Stage::Image | Stage::Wear => self.config().network()?,
        })
    }

    /// The generator to draw with.
    pub(crate) fn config(&self) -> GeneratorConfig {
        GeneratorConfig::PUBLISHED.with_ngf(self.ngf.into())
    }

    /// The sample to draw with a generator of `layers`.
    pub(crate) fn sample(&self, layers: Layers) -> Result<Sample> {
        let [height, width] = self.size;
        layers.check_size(height, width)?;
        let sample = alias_scene::draw(1, height, width).sample;
        let labels = match self.map {
            Map::Person => sample.labels.clone(),
            Map::Flat => vec![0; sample.labels.len()],
            Map::Noise => alias_scene::random_labels(1, sample.labels.len()),
        };
        Ok(Sample { labels, ..sample })
    }
}
