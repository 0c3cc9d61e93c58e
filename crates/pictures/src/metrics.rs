//! How far a picture is from the true one, over the whole of it or over a part: L1, PSNR and SSIM.
//!
//! Pictures are compared as the PNGs that [`write_rgb`](crate::images::write_rgb) makes of them: red, green and blue in 256
//! levels. So a written picture scores the same, whoever reads it again. Levels are divided by 255, so that L, the range of a
//! value, is 1.
//!
//! | | |
//! |---|---|
//! | L1 | the mean of \|a - b\| over pixels and channels |
//! | PSNR | -10 log10 of the mean of (a - b)^2, in dB, at most [`PSNR_CAP`] |
//! | SSIM | Wang, Bovik, Sheikh, Simoncelli: "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004 |
//!
//! SSIM is the paper's: moments in a Gaussian window of 11x11 pixels and sigma 1.5, C1 = (0.01 L)^2, C2 = (0.03 L)^2, the mean
//! over those pixels whose window lies inside the picture; of each channel, and then the mean of the three. It is what scikit-image's
//! `structural_similarity` gives with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255,
//! channel_axis=2`. (torchmetrics has the same map, and means over the five pixels along the edges as well, the picture
//! mirrored there.)
//!
//! Over a region each pixel counts by its weight: in the means of |a - b| and (a - b)^2, and in the mean of the map of SSIM.

use crate::images::Image;
use alias_model::to_byte;

/// PSNR of pictures that are the same, which is infinite, and would hide all others in a mean. One level in one channel of
/// one pixel of 256x192 is 99.8 dB.
pub const PSNR_CAP: f64 = 100.0;

/// SSIM's window: 11 pixels, or five to each side of the one in the middle.
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

    /// The scores over a region, which has so much of each pixel (H, W); none where it has nothing at all, or nothing but what
    /// is within five pixels of the picture's edges.
    ///
    /// # Panics
    /// If there is not one weight for each pixel.
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

/// None where all weights are 0.
fn weighted_mean<'a>(values: &[f64], weights: impl IntoIterator<Item = &'a f32>) -> Option<f64> {
    let add = |(sum, total), (value, &weight)| (sum + value * f64::from(weight), total + f64::from(weight));
    let (sum, total) = values.iter().zip(weights).fold((0.0, 0.0), add);
    (total > 0.0).then(|| sum / total)
}

/// Adds a third of the SSIM of two planes to a map of the windows inside.
fn add_ssim(a: &[f64], b: &[f64], width: usize, map: &mut [f64]) {
    let smooth = |values: Vec<f64>| smoothed(&values, width);
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect();
    let [mean_a, mean_b] = [a, b].map(|plane| smooth(plane.to_vec()));
    // Only the sum of the two variances is needed.
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
    // Rows first, then columns: a Gaussian is the product of the two.
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

/// Adds `weight` times the first of `values`.
fn add_scaled(out: &mut [f64], values: &[f64], weight: f64) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += weight * value;
    }
}

#[cfg(test)]
mod tests;
