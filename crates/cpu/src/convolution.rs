//! Convolution by products of rows of pixels with panels of weights, one for each tap of the kernel; and what it has in common
//! with Winograd's algorithm.

use crate::aligned::{Aligned, Scratch};
use crate::input::Activations;
use crate::product::{SLACK, product};
use crate::tanh::tanh;
use crate::winograd::{transform_weights, weight_transform};
use crate::{BLOCK, Buffers, Cpu, PANEL, blocks, places};
use alias_plan::{Convolution, Method};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Pixels that a thread convolves at once: what it reads and writes then stays in its cache.
const PIXELS: usize = 256;

/// A convolution's weight, as its method reads it.
#[derive(Debug)]
pub struct ConvolutionWeights {
    /// (panels, blocks of cin, taps, BLOCK, PANEL), or by Winograd's algorithm (panels, places, blocks of cin, BLOCK, PANEL).
    pub(crate) panels: Aligned,
    /// (panels, PANEL).
    pub(crate) bias: Vec<f32>,
}

/// A convolution's parameters.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// (Cout, Cin, K, K).
    pub weight: &'a [f32],
    /// What the weight is to be multiplied with.
    pub scale: f64,
    /// (Cout).
    pub bias: &'a [f32],
}

impl ConvolutionWeights {
    /// Of a kernel whose input's channels are those of `sources`, one after the other.
    ///
    /// # Panics
    /// Where the kernel is larger than 3x3, or by Winograd's algorithm not 3x3, or its tiles not of 2 or 4 pixels.
    pub fn new(cpu: &Cpu, kernel: &Kernel, sources: &[usize], method: Method) -> ConvolutionWeights {
        let (cout, cin) = (kernel.bias.len(), sources.iter().sum::<usize>());
        let taps = kernel.weight.len() / cout / cin;
        let places: Vec<usize> = places(sources).collect();
        let inner: usize = sources.iter().map(|&channels| blocks(channels)).sum();
        let count = cout.div_ceil(PANEL);
        let transform = if let Method::Winograd(m) = method { Some(weight_transform(m)) } else { None };
        assert!(taps == 9 || taps == 1 && transform.is_none(), "a kernel of {taps} taps by {method:?}");
        let out_taps = transform.as_ref().map_or(taps, |g| g.len() * g.len());
        let mut panels = Aligned::zeros(count * inner * out_taps * BLOCK * PANEL);
        let transform = transform.as_deref();
        for (panel, to) in panels.chunks_exact_mut(inner * out_taps * BLOCK * PANEL).enumerate() {
            cpu.dispatch(Packing { kernel, taps, places: &places, inner, transform, panel, to });
        }
        let mut bias = kernel.bias.to_vec();
        bias.resize(count * PANEL, 0.0);
        ConvolutionWeights { panels, bias }
    }

    /// Bytes that a weight and its bias take; `kernel` is its side.
    pub fn bytes(sources: &[usize], kernel: usize, cout: usize, method: Method) -> u64 {
        let inner: usize = sources.iter().map(|&channels| blocks(channels)).sum();
        let taps = method.taps(kernel);
        4 * ((inner * taps * BLOCK + 1) * cout.next_multiple_of(PANEL)) as u64
    }
}

/// A panel of weights in the making.
struct Packing<'a> {
    kernel: &'a Kernel<'a>,
    taps: usize,
    /// Of each channel in.
    places: &'a [usize],
    /// Blocks of those.
    inner: usize,
    transform: Option<&'a [[f64; 3]]>,
    panel: usize,
    to: &'a mut [f32],
}

impl WithSimd for Packing<'_> {
    type Output = ();

    // Plain loops over a panel: the compiler makes vectors of them.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Packing { kernel, taps, places, inner, transform, panel, to } = self;
        let rows = kernel.weight.chunks_exact(places.len() * taps).skip(panel * PANEL).take(PANEL);
        for (ci, place) in places.iter().enumerate() {
            let (block, lane) = (place / BLOCK, place % BLOCK);
            let mut w = [[0.0; PANEL]; 9];
            for (column, row) in rows.clone().enumerate() {
                for (tap, &value) in row[ci * taps..][..taps].iter().enumerate() {
                    w[tap][column] = f64::from(value) * kernel.scale;
                }
            }
            if let Some(g) = transform {
                let mut out = [[0.0; PANEL]; 36];
                transform_weights(g, &w, &mut out);
                for (k, values) in out.iter().enumerate().take(g.len() * g.len()) {
                    to[((k * inner + block) * BLOCK + lane) * PANEL..][..PANEL].copy_from_slice(values);
                }
            } else {
                for (tap, values) in w.iter().enumerate().take(taps) {
                    let to = &mut to[((block * taps + tap) * BLOCK + lane) * PANEL..][..PANEL];
                    to.iter_mut().zip(values).for_each(|(to, &value)| *to = value as f32);
                }
            }
        }
    }
}

/// Rows of an image and channels of it that one thread computes.
pub(crate) struct Strip<'a> {
    pub(crate) n: usize,
    /// Of the output.
    pub(crate) rows: Range<usize>,
    /// Of output channels.
    pub(crate) panels: Range<usize>,
    /// For each block of channels in the panels, (rows, W, BLOCK).
    pub(crate) out: Vec<&'a mut [f32]>,
}

/// Divides the output of `step` into strips of some rows, and those by channels where there would be fewer than `wanted`.
pub(crate) fn strips<'a>(step: &Convolution, out: &'a mut [f32], rows: usize, wanted: usize) -> Vec<Strip<'a>> {
    let (blocks, panels) = (blocks(step.cout), step.cout.div_ceil(PANEL));
    let line = step.input.width * BLOCK;
    let count = step.rows.len().div_ceil(rows);
    let parts = wanted.div_ceil(step.input.batch * count).clamp(1, panels);
    let each = panels.div_ceil(parts);
    let parts = panels.div_ceil(each);
    let mut strips = Vec::with_capacity(step.input.batch * count * parts);
    for n in 0..step.input.batch {
        for strip in 0..count {
            let start = step.rows.start + strip * rows;
            for part in 0..parts {
                let panels = part * each..panels.min((part + 1) * each);
                strips.push(Strip { n, rows: start..step.rows.end.min(start + rows), panels, out: Vec::new() });
            }
        }
    }
    for (plane, out) in out.chunks_exact_mut(step.input.height * line).enumerate() {
        let (n, part) = (plane / blocks, plane % blocks / (2 * each));
        let band = &mut out[step.rows.start * line..step.rows.end * line];
        for (strip, out) in band.chunks_mut(rows * line).enumerate() {
            strips[(n * count + strip) * parts + part].out.push(out);
        }
    }
    strips
}

/// How a sum becomes what is stored.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue {
    accumulate: bool,
    tanh: bool,
}

impl Epilogue {
    pub(crate) fn new(step: &Convolution) -> Epilogue {
        Epilogue { accumulate: step.accumulate, tanh: step.tanh }
    }

    /// Stores vector `v` of a pixel's block.
    #[inline(always)]
    pub(crate) fn store<S: Simd>(self, simd: S, sum: S::f32s, v: usize, bias: &[f32], out: &mut [f32]) {
        let bias = S::as_simd_f32s(bias).0[v];
        let to = &mut S::as_mut_simd_f32s(out).0[v];
        let mut value = simd.add_f32s(sum, bias);
        if self.accumulate {
            value = simd.add_f32s(value, *to);
        }
        if self.tanh {
            value = tanh(simd, value);
        }
        *to = value;
    }
}

pub(crate) fn run(cpu: &Cpu, step: &Convolution, buffers: &mut Buffers, weights: &ConvolutionWeights) {
    buffers.write([step.output], |buffers, [out]| {
        let activations = Activations::new(step, buffers);
        let width = step.input.width.min(PIXELS / 4);
        let rows = (PIXELS / width).clamp(1, step.rows.len());
        let strips = strips(step, out, rows, 4 * cpu.threads());
        strips.into_par_iter().for_each(|strip| {
            cpu.dispatch(Direct { step, activations: &activations, weights, width, strip });
        });
    });
}

/// A strip, rectangles of `width` columns of it one after the other.
struct Direct<'a> {
    step: &'a Convolution,
    activations: &'a Activations<'a>,
    weights: &'a ConvolutionWeights,
    width: usize,
    strip: Strip<'a>,
}

impl WithSimd for Direct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Direct { step, activations, weights, width, strip } = self;
        let Strip { n, rows, panels, mut out } = strip;
        let (halo, taps) = (step.halo(), step.kernel * step.kernel);
        let (image_w, blocks) = (step.input.width, activations.view.blocks());
        // Pixels of the rectangle and of the halo left and right of it are rows of one product; those of the halo are not used.
        let seen_w = width + 2 * halo;
        let pixels = rows.len() * seen_w;
        let plane = (rows.len() + 2 * halo) * seen_w * BLOCK;
        let staged = blocks * plane + (2 * halo + SLACK) * BLOCK;
        let starts: Vec<usize> = (0..blocks * taps)
            .map(|k| {
                let (block, tap) = (k / taps, k % taps);
                block * plane + (tap / step.kernel * seen_w + tap % step.kernel) * BLOCK
            })
            .collect();
        let epilogue = Epilogue::new(step);
        let mut scratch = Scratch::take(staged + (pixels + SLACK) * PANEL);
        let (staged, sums) = scratch.split_at_mut(staged);
        for left in (0..image_w).step_by(width) {
            for (block, staged) in staged.chunks_exact_mut(plane).take(blocks).enumerate() {
                let corner = [rows.start as isize - halo as isize, left as isize - halo as isize];
                activations.stage(simd, n, block, corner, [rows.len() + 2 * halo, seen_w], staged);
            }
            for panel in panels.clone() {
                let each = blocks * taps * BLOCK * PANEL;
                let columns = step.cout - panel * PANEL;
                product(simd, staged, &starts, pixels, columns, &weights.panels[panel * each..][..each], sums);
                for (half, out) in out[2 * (panel - panels.start)..].iter_mut().take(2).enumerate() {
                    let bias = &weights.bias[panel * PANEL + half * BLOCK..][..BLOCK];
                    for (y, out) in out.chunks_exact_mut(image_w * BLOCK).enumerate() {
                        let sums = &sums[y * seen_w * PANEL..];
                        for (x, out) in out[left * BLOCK..].chunks_exact_mut(BLOCK).take(width).enumerate() {
                            let sums = S::as_simd_f32s(&sums[x * PANEL + half * BLOCK..][..BLOCK]).0;
                            for (v, &sum) in sums.iter().enumerate() {
                                epilogue.store(simd, sum, v, bias, out);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConvolutionWeights, Kernel};
    use crate::{Cpu, CpuOptions};
    use alias_plan::Method;

    /// What a plan says of weights is what they take.
    #[test]
    fn weights_take_the_bytes_that_are_told() {
        let cpu = Cpu::open(CpuOptions::default()).unwrap();
        for (k, method) in [(1, Method::Fused), (3, Method::Fused), (3, Method::Winograd(2)), (3, Method::Winograd(4))]
        {
            let (sources, cout) = ([19, 5], 37);
            let kernel = Kernel { weight: &vec![0.5; cout * 24 * k * k], scale: 1.0, bias: &vec![0.0; cout] };
            let weights = ConvolutionWeights::new(&cpu, &kernel, &sources, method);
            let bytes = 4 * (weights.panels.len() + weights.bias.len()) as u64;
            assert_eq!(bytes, ConvolutionWeights::bytes(&sources, k, cout, method), "{k}, {method:?}");
        }
    }
}
