//! Labels from coarse scores: bilinear resizing, a Gaussian blur and the class of the highest score, in one pass.

use crate::{BLOCK, Cpu, unpack_planes};
use alias_plan::Smoothing;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Rows that a thread computes at once.
const ROWS: usize = 16;

/// The class of each pixel, (N, h, w) with `size` = [h, w]: the channel of the highest of `scores` (N, C, H, W) after
/// [`Smoothing`]; of equal ones the first. Where all are NaN, class 0.
///
/// # Panics
/// If there are more than [`BLOCK`] channels, or the scores do not have `shape`.
pub fn smooth_labels(cpu: &Cpu, scores: &[f32], shape @ [n, ..]: [usize; 4], size @ [h, w]: [usize; 2]) -> Vec<u8> {
    let source = Source::new(scores, shape, size);
    let mut labels = vec![0; n * h * w];
    cpu.install(|| {
        labels.par_chunks_exact_mut(h * w).enumerate().for_each(|(n, labels)| {
            labels.par_chunks_mut(ROWS * w).enumerate().for_each(|(part, labels)| {
                cpu.dispatch(Rows { source: &source, n, top: part * ROWS, out: Out::Labels(labels) });
            });
        });
    });
    labels
}

/// The scores that [`smooth_labels`] compares: (N, C, h, w).
///
/// # Panics
/// As [`smooth_labels`].
pub fn smooth_scores(cpu: &Cpu, scores: &[f32], shape @ [n, c, ..]: [usize; 4], size @ [h, w]: [usize; 2]) -> Vec<f32> {
    let source = Source::new(scores, shape, size);
    let mut smoothed = vec![0.0; n * h * w * BLOCK];
    cpu.install(|| {
        smoothed.par_chunks_exact_mut(h * w * BLOCK).enumerate().for_each(|(n, smoothed)| {
            smoothed.par_chunks_mut(ROWS * w * BLOCK).enumerate().for_each(|(part, smoothed)| {
                cpu.dispatch(Rows { source: &source, n, top: part * ROWS, out: Out::Scores(smoothed) });
            });
        });
    });
    unpack_planes(cpu, &smoothed, c, h * w)
}

/// Scores with all channels of a pixel side by side, and the sums for each axis.
struct Source {
    /// (N, H, W, BLOCK); places past the last channel are lower than any score.
    scores: Vec<f32>,
    /// H, W.
    from: [usize; 2],
    /// w.
    width: usize,
    rows: Smoothing,
    columns: Smoothing,
}

impl Source {
    fn new(scores: &[f32], [n, c, h, w]: [usize; 4], size: [usize; 2]) -> Source {
        assert!(c <= BLOCK && scores.len() == n * c * h * w, "{} scores, {n}x{c}x{h}x{w}", scores.len());
        let mut side_by_side = vec![f32::MIN / 4.0; n * h * w * BLOCK];
        for (image, scores) in side_by_side.chunks_exact_mut(h * w * BLOCK).zip(scores.chunks_exact(c * h * w)) {
            for (channel, plane) in scores.chunks_exact(h * w).enumerate() {
                image.chunks_exact_mut(BLOCK).zip(plane).for_each(|(pixel, &score)| pixel[channel] = score);
            }
        }
        let [rows, columns] = [Smoothing::new(h, size[0]), Smoothing::new(w, size[1])];
        Source { scores: side_by_side, from: [h, w], width: size[1], rows, columns }
    }
}

enum Out<'a> {
    /// (rows, w).
    Labels(&'a mut [u8]),
    /// (rows, w, BLOCK).
    Scores(&'a mut [f32]),
}

/// Some rows of an image.
struct Rows<'a> {
    source: &'a Source,
    n: usize,
    top: usize,
    out: Out<'a>,
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Rows { source: Source { scores, from: [h, w], width, rows, columns }, n, top, mut out } = self;
        let image = &scores[n * h * w * BLOCK..][..h * w * BLOCK];
        let line = w * BLOCK;
        let count = match &out {
            Out::Labels(labels) => labels.len() / width,
            Out::Scores(scores) => scores.len() / (width * BLOCK),
        };
        let mut sums = vec![0.0f32; line];
        let mut smoothed = [0.0f32; BLOCK];
        for row in 0..count {
            let y = top + row;
            sums.fill(0.0);
            let sums_of_row = S::as_mut_simd_f32s(&mut sums).0;
            for (k, &weight) in rows.weights[y * rows.taps..][..rows.taps].iter().enumerate() {
                let from = S::as_simd_f32s(&image[(rows.starts[y] as usize + k) * line..][..line]).0;
                let weight = simd.splat_f32s(weight);
                for (sum, &value) in sums_of_row.iter_mut().zip(from) {
                    *sum = simd.mul_add_e_f32s(value, weight, *sum);
                }
            }
            for x in 0..*width {
                let pixels = &sums[columns.starts[x] as usize * BLOCK..];
                let weights = &columns.weights[x * columns.taps..][..columns.taps];
                {
                    let smoothed = S::as_mut_simd_f32s(&mut smoothed).0;
                    let per = BLOCK / S::F32_LANES;
                    for (v, to) in smoothed.iter_mut().enumerate() {
                        let mut sum = simd.splat_f32s(0.0);
                        for (k, &weight) in weights.iter().enumerate() {
                            let pixels = S::as_simd_f32s(&pixels[k * BLOCK..][..BLOCK]).0;
                            debug_assert_eq!(pixels.len(), per);
                            sum = simd.mul_add_e_f32s(pixels[v], simd.splat_f32s(weight), sum);
                        }
                        *to = sum;
                    }
                }
                match &mut out {
                    Out::Labels(labels) => labels[row * width + x] = highest(&smoothed),
                    Out::Scores(scores) => scores[(row * width + x) * BLOCK..][..BLOCK].copy_from_slice(&smoothed),
                }
            }
        }
    }
}

/// The first place of the highest value.
#[inline(always)]
fn highest(values: &[f32; BLOCK]) -> u8 {
    // Two short loops that the compiler vectorizes, instead of one that depends on each comparison.
    let highest = values.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
    let mut first = [0u8; BLOCK];
    for (k, (first, &value)) in first.iter_mut().zip(values).enumerate() {
        *first = if value == highest { k as u8 } else { BLOCK as u8 };
    }
    let first = first.iter().fold(BLOCK as u8, |a, &b| a.min(b));
    if first < BLOCK as u8 { first } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::{smooth_labels, smooth_scores};
    use crate::{Cpu, CpuOptions};
    use alias_plan::{Smoothing, bilinear};

    /// Resizes, then blurs, in float64, one pixel after the other.
    fn twin(scores: &[f32], [n, c, h, w]: [usize; 4], [to_h, to_w]: [usize; 2]) -> Vec<f64> {
        let mut smoothed = Vec::new();
        let blur = Smoothing::kernel();
        for plane in scores.chunks_exact(h * w).take(n * c) {
            let resized: Vec<f64> = (0..to_h * to_w)
                .map(|at| {
                    let (rows, y) = bilinear(at / to_w, h, to_h);
                    let (columns, x) = bilinear(at % to_w, w, to_w);
                    let value = |i: usize, j: usize| f64::from(plane[rows[i] * w + columns[j]]);
                    (1.0 - y) * ((1.0 - x) * value(0, 0) + x * value(0, 1))
                        + y * ((1.0 - x) * value(1, 0) + x * value(1, 1))
                })
                .collect();
            smoothed.extend((0..to_h * to_w).map(|at| {
                let mut sum = 0.0;
                for i in 0..15 {
                    for j in 0..15 {
                        let inside = |at: usize, k: usize, side| (at + k).checked_sub(7).filter(|&at| at < side);
                        if let (Some(y), Some(x)) = (inside(at / to_w, i, to_h), inside(at % to_w, j, to_w)) {
                            sum += blur[i] * blur[j] * resized[y * to_w + x];
                        }
                    }
                }
                sum
            }));
        }
        smoothed
    }

    #[test]
    fn labels_are_those_of_the_highest_smoothed_score() {
        for instructions in Cpu::available() {
            let cpu = Cpu::open(CpuOptions { instructions: Some(instructions), ..Default::default() }).unwrap();
            for (shape, size) in
                [([1, 13, 8, 6], [32, 24]), ([2, 3, 5, 7], [11, 30]), ([1, 16, 9, 4], [5, 4]), ([1, 1, 1, 1], [3, 2])]
            {
                let [n, c, h, w] = shape;
                let scores: Vec<f32> =
                    (0..n * c * h * w).map(|k| ((k * k * 31 + k * 17) % 1009) as f32 / 1009.0).collect();
                let want = twin(&scores, shape, size);
                let got = smooth_scores(&cpu, &scores, shape, size);
                for (k, (got, want)) in got.iter().zip(&want).enumerate() {
                    assert!((f64::from(*got) - want).abs() < 1e-6, "{shape:?} {size:?} at {k}: {got}, not {want}");
                }
                let labels = smooth_labels(&cpu, &scores, shape, size);
                let plane = size[0] * size[1];
                for (at, &label) in labels.iter().enumerate() {
                    let score = |class: usize| got[(at / plane * c + class) * plane + at % plane];
                    let expected = (0..c).reduce(|best, class| if score(class) > score(best) { class } else { best });
                    assert_eq!(Some(usize::from(label)), expected, "{shape:?} {size:?} at {at}");
                }
            }
        }
    }

    #[test]
    fn of_equal_scores_the_first_counts() {
        let cpu = Cpu::open(CpuOptions::default()).unwrap();
        assert_eq!(smooth_labels(&cpu, &[0.5; 13 * 4], [1, 13, 2, 2], [4, 4]), [0; 16]);
    }
}
