//! The statistics of instance norm and mask norm.

use crate::input::{Resized, View};
use crate::{BLOCK, Cpu, HostBuffers, places};
use alias_plan::Statistics;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Pixels of a plane that one task sums.
const PART: usize = 16384;

/// Sums over pixels for each channel of a block, in float64. The values v are minus the plane's first pixel, so that
/// the square of the mean cancels few digits of the mean of squares.
#[derive(Clone, Copy)]
struct Sums {
    /// Sums of r, r v, r^2, r^2 v and r^2 v^2, with weights r = mask, then r = 1 - mask.
    regions: [[[f64; BLOCK]; 5]; 2],
}

impl Sums {
    const ZERO: Sums = Sums { regions: [[[0.0; BLOCK]; 5]; 2] };

    #[inline(always)]
    fn add(&mut self, other: &Sums) {
        for (to, from) in self.regions.as_flattened_mut().iter_mut().zip(other.regions.as_flattened()) {
            for (to, from) in to.iter_mut().zip(from) {
                *to += from;
            }
        }
    }
}

/// `noise_scale` (C) is the factor of the noise in each channel.
pub(crate) fn run(cpu: &Cpu, step: &Statistics, buffers: &mut HostBuffers, noise_scale: &[f32]) {
    buffers.write([step.output], |buffers, [out]| {
        let view = View::new(&step.input, buffers);
        let mask = step.mask.map(|mask| buffers.get(mask));
        let count = view.blocks();
        let mut scales = vec![0.0; count * BLOCK];
        places(&step.input.operand_channels()).zip(noise_scale).for_each(|(place, &scale)| scales[place] = scale);
        let planes = (0..step.input.batch * count).into_par_iter();
        planes.zip(out.par_chunks_mut(8 * BLOCK)).for_each(|(plane, out)| {
            let (n, block) = (plane / count, plane % count);
            let scales = &scales[block * BLOCK..][..BLOCK];
            // Upsampling repeats all pixels equally often: without mask and noise, the plane before it has the same
            // mean and variance.
            let plain = mask.is_none() && view.noise.is_none();
            let (data, size) = view.plane(n, block);
            let [h, w] = if plain { size } else { [view.h, view.w] };
            let rows = (PART / w).max(1);
            let parts: Vec<_> = (0..h.div_ceil(rows)).map(|part| part * rows..h.min((part + 1) * rows)).collect();
            let [mask, noise] = [mask, view.noise].map(|plane| plane.map(|plane| &plane[n * h * w..][..h * w]));
            let first = { std::array::from_fn(|c| noise.map_or(data[c], |noise| data[c] + scales[c] * noise[0])) };
            let sums: Vec<Sums> = parts
                .into_par_iter()
                .map(|rows| {
                    let source = Resized::new((data, size), h);
                    cpu.dispatch(Part { source, w, rows, mask, noise, scales, first: &first })
                })
                .collect();
            let mut all = Sums::ZERO;
            sums.iter().for_each(|sums| all.add(sums));
            finish(&all, mask.is_some(), (h * w) as f64, &first, scales, out);
        });
    });
}

/// Some rows of a plane.
struct Part<'a> {
    source: Resized<'a>,
    w: usize,
    rows: Range<usize>,
    mask: Option<&'a [f32]>,
    noise: Option<&'a [f32]>,
    scales: &'a [f32],
    first: &'a [f32; BLOCK],
}

impl WithSimd for Part<'_> {
    type Output = Sums;

    // The compiler vectorizes these plain loops over a block for the instructions that this is dispatched to.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Sums {
        let Part { source, w, rows, mask, noise, scales, first } = self;
        let first = first.map(f64::from);
        let mut sums = Sums::ZERO;
        let Some(mask) = mask else {
            let (mut sum, mut square) = ([0.0f64; BLOCK], [0.0f64; BLOCK]);
            for i in rows {
                let row = source.row(i);
                for j in 0..w {
                    let x = &row[source.at(j)..][..BLOCK];
                    let z = noise.map(|noise| noise[i * w + j]);
                    for c in 0..BLOCK {
                        let x = z.map_or(x[c], |z| x[c] + scales[c] * z);
                        let d = f64::from(x) - first[c];
                        sum[c] += d;
                        square[c] += d * d;
                    }
                }
            }
            (sums.regions[0][1], sums.regions[0][4]) = (sum, square);
            return sums;
        };
        for i in rows {
            let row = source.row(i);
            for j in 0..w {
                let x = &row[source.at(j)..][..BLOCK];
                let z = noise.map(|noise| noise[i * w + j]);
                let m = f64::from(mask[i * w + j]);
                for (r, region) in [m, 1.0 - m].into_iter().zip(&mut sums.regions) {
                    // Most pixels are in one region only.
                    if r == 0.0 {
                        continue;
                    }
                    for c in 0..BLOCK {
                        let d = f64::from(z.map_or(x[c], |z| x[c] + scales[c] * z)) - first[c];
                        region[0][c] += r;
                        region[1][c] += r * d;
                        region[2][c] += r * r;
                        region[3][c] += r * r * d;
                        region[4][c] += r * r * d * d;
                    }
                }
            }
        }
        sums
    }
}

/// Writes the coefficients (8, BLOCK) of a block, as [`Statistics::output`] lists them.
fn finish(sums: &Sums, masked: bool, pixels: f64, first: &[f32; BLOCK], scales: &[f32], out: &mut [f32]) {
    let eps = f64::from(Statistics::EPS);
    for c in 0..BLOCK {
        let mut regions = [[0.0; 2]; 2];
        for (region, result) in sums.regions.iter().zip(&mut regions) {
            let [r, v, rr, rrv, rrvv] = region.map(|sum| sum[c]);
            if masked {
                // r (v - mu) sqrt(S / HW) / sqrt(sum(r^2 (v - mu)^2) / HW + eps)
                let s = if r == 0.0 { 1.0 } else { r };
                let mean = v / s;
                let spread = (rrvv - 2.0 * mean * rrv + mean * mean * rr).max(0.0);
                *result = [mean, (s / pixels).sqrt() / (spread / pixels + eps).sqrt()];
            } else {
                let mean = v / pixels;
                *result = [mean, 1.0 / ((rrvv / pixels - mean * mean).max(0.0) + eps).sqrt()];
            }
        }
        let [[mean, scale], [rest_mean, rest_scale]] = regions.map(|region| region.map(|value| value as f32));
        let values = [first[c], mean, scale, scales[c], rest_mean, rest_scale, 1.0, 0.0];
        values.into_iter().enumerate().for_each(|(k, value)| out[k * BLOCK + c] = value);
    }
}
