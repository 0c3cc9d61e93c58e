//! Direct convolution: for each tap of the kernel, a product of pixels (rows) with a panel of weights.

use crate::aligned::Scratch;
use crate::input::Activations;
use crate::output::{Epilogue, Strip, strips};
use crate::product::{SLACK, product};
use crate::weights::ConvolutionWeights;
use crate::{BLOCK, Cpu, HostBuffers, PANEL};
use alias_plan::Convolution;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Pixels that a thread convolves at once, few enough for their inputs and outputs to stay in its cache.
const PIXELS: usize = 256;

pub(crate) fn run(cpu: &Cpu, step: &Convolution, buffers: &mut HostBuffers, weights: &ConvolutionWeights) {
    buffers.write([step.output], |buffers, [out]| {
        let activations = Activations::new(&step.input, buffers);
        let width = step.width().min(PIXELS / 4);
        let rows = (PIXELS / width).clamp(1, step.rows.len());
        let strips = strips(step, out, rows, 4 * cpu.threads());
        strips.into_par_iter().for_each(|strip| {
            cpu.dispatch(Direct { step, activations: &activations, weights, width, strip });
        });
    });
}

/// The convolution of a strip, one rectangle of `width` columns after another.
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
        let (kernel, stride, padding) = (step.kernel, step.stride, step.padding);
        let (image_w, blocks, taps) = (step.width(), activations.view.blocks(), kernel * kernel);
        // Pixels that are `stride` apart (a phase) are staged side by side, so that a tap reads consecutive pixels for
        // neighbouring output pixels. The rectangle is staged with the columns to its right that taps read, and one
        // product covers all of them; the sums for those columns are not used.
        let reach = (kernel - 1) / stride;
        let (seen_h, seen_w) = (rows.len() + reach, width + reach);
        let pixels = rows.len() * seen_w;
        let phase = seen_h * seen_w * BLOCK;
        let plane = stride * stride * phase;
        let staged = blocks * plane + (reach + SLACK) * BLOCK;
        let starts: Vec<usize> = (0..blocks * taps)
            .map(|k| {
                let (block, y, x) = (k / taps, k % taps / kernel, k % kernel);
                let of_phase = (y % stride * stride + x % stride) * phase;
                block * plane + of_phase + (y / stride * seen_w + x / stride) * BLOCK
            })
            .collect();
        let epilogue = Epilogue::new(step);
        let mut scratch = Scratch::take(staged + (pixels + SLACK) * PANEL);
        let (staged, sums) = scratch.split_at_mut(staged);
        let mut unsorted = if stride == 1 { Vec::new() } else { vec![0.0; plane] };
        for left in (0..image_w).step_by(width) {
            let corner = [rows.start, left].map(|at| (at * stride) as isize - padding as isize);
            let size = [seen_h * stride, seen_w * stride];
            for (block, staged) in staged.chunks_exact_mut(plane).take(blocks).enumerate() {
                if stride == 1 {
                    activations.stage(simd, n, block, corner, size, staged);
                    continue;
                }
                activations.stage(simd, n, block, corner, size, &mut unsorted);
                for (at, pixel) in unsorted.chunks_exact(BLOCK).enumerate() {
                    let (y, x) = (at / size[1], at % size[1]);
                    let to = (y % stride * stride + x % stride) * phase + (y / stride * seen_w + x / stride) * BLOCK;
                    staged[to..][..BLOCK].copy_from_slice(pixel);
                }
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
