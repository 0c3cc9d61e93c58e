//! L1, PSNR and SSIM of two pictures, over all pixels or over a region.
//!
//! Values are rounded to 256 levels first, as [`write_rgb`](crate::images::write_rgb) rounds them, so a picture that
//! was written and read back has the same scores. Levels are divided by 255, so the range of values, L, is 1.
//!
//! | | |
//! |---|---|
//! | L1 | the mean of \|a - b\| over pixels and channels |
//! | PSNR | -10 log10 of the mean of (a - b)^2, in dB, at most [`PSNR_CAP`] |
//! | SSIM | Wang, Bovik, Sheikh, Simoncelli: "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004 |
//!
//! SSIM follows the paper: moments in a Gaussian window of 11x11 pixels with sigma 1.5, C1 = (0.01 L)^2, C2 = (0.03
//! L)^2, and the mean over the pixels whose window lies inside the picture and over the three channels. It equals
//! scikit-image's `structural_similarity` with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
//! data_range=255, channel_axis=2`. (torchmetrics has the same map, but its mean includes the five pixels along each
//! edge, where it mirrors the picture.)
//!
//! Over a region, the means of |a - b|, of (a - b)^2 and of the SSIM map are weighted by pixel.

use crate::images::Image;
use alias_model::to_byte;

/// PSNR of equal pictures, which would otherwise be infinite and dominate every mean. For comparison: a difference of
/// one level in one channel of one pixel gives 99.8 dB at 256x192.
pub const PSNR_CAP: f64 = 100.0;

/// Side of SSIM's window: a pixel and five to each side.
const WINDOW: usize = 11;
const MARGIN: usize = WINDOW / 2;
const SIGMA: f64 = 1.5;
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

/// How close two pictures are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// Mean absolute difference, in [0, 1].
    pub l1: f64,
    /// Peak signal-to-noise ratio in dB, at most [`PSNR_CAP`].
    pub psnr: f64,
    /// Structural similarity, at most 1.
    pub ssim: f64,
}

/// Two pictures compared at each pixel.
#[derive(Clone, Debug)]
pub struct Comparison {
    width: usize,
    /// (H, W): |a - b|, the mean of the channels.
    absolute: Vec<f64>,
    /// (H, W): (a - b)^2, the mean of the channels.
    squared: Vec<f64>,
    /// (H - 10, W - 10): SSIM of the windows inside the picture, the mean of the channels.
    ssim: Vec<f64>,
}

impl Comparison {
    /// Compares two pictures of one size.
    ///
    /// # Panics
    /// If the sizes differ, or a side is shorter than 11 pixels.
    pub fn new(a: &Image, b: &Image) -> Comparison {
        let Image { height, width, .. } = *a;
        assert_eq!((height, width), (b.height, b.width), "the pictures differ in size");
        assert!(height.min(width) >= WINDOW, "SSIM's window is 11x11, the pictures {height}x{width}");
        let plane = height * width;
        let mut absolute = vec![0.0; plane];
        let mut squared = vec![0.0; plane];
        let mut ssim = vec![0.0; (height - 2 * MARGIN) * (width - 2 * MARGIN)];
        for (a, b) in a.data.chunks_exact(plane).zip(b.data.chunks_exact(plane)) {
            let [a, b] = [a, b].map(|plane| plane.iter().map(|&v| f64::from(to_byte(v)) / 255.0).collect::<Vec<_>>());
            for (i, (a, b)) in a.iter().zip(&b).enumerate() {
                absolute[i] += (a - b).abs() / 3.0;
                squared[i] += (a - b).powi(2) / 3.0;
            }
            add_ssim(&a, &b, width, &mut ssim);
        }
        Comparison { width, absolute, squared, ssim }
    }

    /// The scores over the whole picture.
    pub fn scores(&self) -> Scores {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Scores { l1: mean(&self.absolute), psnr: psnr(mean(&self.squared)), ssim: mean(&self.ssim) }
    }

    /// The scores over a region, given as a weight for each pixel (H, W). None if all weights are 0 where SSIM is
    /// defined: at least five pixels away from the edges.
    ///
    /// # Panics
    /// If `region` does not hold one weight for each pixel.
    pub fn scores_in(&self, region: &[f32]) -> Option<Scores> {
        assert_eq!(region.len(), self.absolute.len(), "a weight for each pixel");
        let inside = region.chunks_exact(self.width).skip(MARGIN).take(self.ssim.len() / (self.width - 2 * MARGIN));
        let inside = inside.flat_map(|row| &row[MARGIN..self.width - MARGIN]);
        let ssim = weighted_mean(&self.ssim, inside)?;
        let l1 = weighted_mean(&self.absolute, region)?;
        Some(Scores { l1, psnr: psnr(weighted_mean(&self.squared, region)?), ssim })
    }
}

fn psnr(mean_square: f64) -> f64 {
    (-10.0 * mean_square.log10()).min(PSNR_CAP)
}

/// None if all weights are 0.
fn weighted_mean<'a>(values: &[f64], weights: impl IntoIterator<Item = &'a f32>) -> Option<f64> {
    let add = |(sum, total), (value, &weight)| (sum + value * f64::from(weight), total + f64::from(weight));
    let (sum, total) = values.iter().zip(weights).fold((0.0, 0.0), add);
    (total > 0.0).then(|| sum / total)
}

/// Adds a third of the SSIM of two planes (H, W) to `map` (H - 10, W - 10).
fn add_ssim(a: &[f64], b: &[f64], width: usize, map: &mut [f64]) {
    let smooth = |values: Vec<f64>| smoothed(&values, width);
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect();
    let [mean_a, mean_b] = [a, b].map(|plane| smooth(plane.to_vec()));
    // SSIM needs only the sum of the two variances.
    let squares = smooth(a.iter().zip(b).map(|(a, b)| a * a + b * b).collect());
    let products = smooth(product(a, b));
    for (i, out) in map.iter_mut().enumerate() {
        let (means, both) = (mean_a[i].powi(2) + mean_b[i].powi(2), mean_a[i] * mean_b[i]);
        let (variances, covariance) = (squares[i] - means, products[i] - both);
        *out += (2.0 * both + C1) * (2.0 * covariance + C2) / ((means + C1) * (variances + C2)) / 3.0;
    }
}

/// The mean of a plane (H, W) in each Gaussian window inside it: (H - 10, W - 10).
fn smoothed(plane: &[f64], width: usize) -> Vec<f64> {
    let weights: [f64; WINDOW] = std::array::from_fn(|k| (-0.5 * ((k as f64 - MARGIN as f64) / SIGMA).powi(2)).exp());
    let weights = weights.map(|weight| weight / weights.iter().sum::<f64>());
    let (height, columns) = (plane.len() / width, width - 2 * MARGIN);
    // A Gaussian is separable: rows first, then columns.
    let mut across = vec![0.0; height * columns];
    for (out, row) in across.chunks_exact_mut(columns).zip(plane.chunks_exact(width)) {
        for (k, weight) in weights.iter().enumerate() {
            add_scaled(out, &row[k..], *weight);
        }
    }
    let mut down = vec![0.0; (height - 2 * MARGIN) * columns];
    for (y, out) in down.chunks_exact_mut(columns).enumerate() {
        for (k, weight) in weights.iter().enumerate() {
            add_scaled(out, &across[(y + k) * columns..], *weight);
        }
    }
    down
}

/// Adds `weight` times `values`, of which there may be more than `out` holds.
fn add_scaled(out: &mut [f64], values: &[f64], weight: f64) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += weight * value;
    }
}

#[cfg(test)]
mod tests;
