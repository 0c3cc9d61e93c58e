//! One file per subcommand: its arguments, what it does, and what it then prints.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod info;
pub(crate) mod inspect;
pub(crate) mod synth;

use alias_model::{Generator, Inputs, Noise, Sample};
use alias_tensor::Gpu;
use anyhow::{Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use tryon::images::Image;

/// Draws a sample: (N, 3, H, W). An image with a NaN or an infinity in it is an error, not a result.
fn draw(gpu: &Gpu, generator: &Generator, sample: &Sample, noise: Option<u64>) -> Result<Vec<f32>> {
    let noise = noise.map_or(Noise::None, Noise::Seed);
    let image = generator.forward(&Inputs::new(gpu, sample)?, noise)?.to_vec()?;
    ensure!(
        image.iter().all(|v| v.is_finite()),
        "the image holds values that are no numbers; the weights do, too, or are far too large: see `tryon inspect`"
    );
    Ok(image)
}

/// The picture of a sample of one.
fn picture(sample: &Sample, data: Vec<f32>) -> Image {
    Image { height: sample.height, width: sample.width, data }
}

/// A bar on stderr, where that is a terminal.
fn progress(length: usize) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({eta} left)") {
        bar.set_style(style);
    }
    bar
}
