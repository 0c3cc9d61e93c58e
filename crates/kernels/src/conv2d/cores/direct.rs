//! Direct convolution: for each tap of the kernel, a product of pixels (rows) with a panel of weights.

use super::convolution::Convolution;
use super::strips::{Strip, strips};
use alias_cpu::{BLOCK, Cpu, PANEL, Planes, SIDE, SLACK, Scratch, blocks, product, stage_planes, store_pixels};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Pixels that a thread convolves at once, few enough for their inputs and outputs to stay in its cache.
const PIXELS: usize = 256;

pub(super) fn run(cpu: &Cpu, conv: &Convolution, x: &[f32], packed: &[f32], bias: &[f32], y: &mut [f32]) {
    let width = conv.output[1].min(PIXELS / 4);
    let rows = (PIXELS / width).clamp(1, conv.output[0]);
    let strips = strips(conv, y, rows, 4 * cpu.threads());
    strips.into_par_iter().for_each(|strip| cpu.dispatch(Direct { conv, x, packed, bias, width, strip }));
}

/// The convolution of a strip, one rectangle of `width` columns after another.
struct Direct<'a> {
    conv: &'a Convolution,
    x: &'a [f32],
    /// (panels, blocks, taps, BLOCK, PANEL).
    packed: &'a [f32],
    bias: &'a [f32],
    width: usize,
    strip: Strip<'a>,
}

impl WithSimd for Direct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Direct { conv, x, packed, bias, width, strip } = self;
        let Strip { n, rows, panels, mut planes } = strip;
        let (stride, taps, blocks) = (conv.stride, conv.taps(), blocks(conv.cin));
        let image = conv.cin * conv.input[0] * conv.input[1];
        let image = Planes { elements: &x[n * image..][..image], size: conv.input };
        // Pixels that are `stride` apart (a phase) are staged side by side, so that a tap reads consecutive pixels for
        // neighbouring output pixels. The rectangle is staged with the columns to its right that taps read, and one
        // product covers all of them; the sums for those columns are not used.
        let reach = conv.kernel.map(|side| (side - 1) / stride);
        let seen = [rows.len() + reach[0], width + reach[1]];
        let pixels = rows.len() * seen[1];
        let phase = seen[0] * seen[1] * BLOCK;
        let plane = stride * stride * phase;
        let staged = blocks * plane + (reach[1] + SLACK) * BLOCK;
        let starts: Vec<usize> = (0..blocks * taps)
            .map(|k| {
                let (block, y, x) = (k / taps, k % taps / conv.kernel[1], k % conv.kernel[1]);
                let of_phase = (y % stride * stride + x % stride) * phase;
                block * plane + of_phase + (y / stride * seen[1] + x / stride) * BLOCK
            })
            .collect();
        let mut scratch = Scratch::take(staged + (pixels + SLACK) * PANEL);
        let (staged, sums) = scratch.split_at_mut(staged);
        for left in (0..conv.output[1]).step_by(width) {
            let corner = [conv.corner[0] + (rows.start * stride) as isize, conv.corner[1] + (left * stride) as isize];
            for (k, staged) in staged.chunks_exact_mut(phase).take(blocks * stride * stride).enumerate() {
                let (block, offset) = (k / (stride * stride), k % (stride * stride));
                let corner = [corner[0] + (offset / stride) as isize, corner[1] + (offset % stride) as isize];
                stage_planes(simd, image, block, corner, stride, seen, staged);
            }
            let used = width.min(conv.output[1] - left);
            for panel in panels.clone() {
                let each = blocks * taps * BLOCK * PANEL;
                let columns = conv.cout - panel * PANEL;
                product(simd, staged, &starts, pixels, columns, &packed[panel * each..][..each], sums);
                let first = (panel - panels.start) * PANEL;
                let planes = &mut planes[first..];
                let count = planes.len().min(PANEL);
                let (planes, bias) = (&mut planes[..count], &bias[panel * PANEL..][..PANEL]);
                for y in 0..rows.len() {
                    let at = (conv.first[0] + y * conv.step) * conv.stored[1] + conv.first[1] + left * conv.step;
                    let sums = &sums[y * seen[1] * PANEL..];
                    if conv.step == 1 {
                        for x in (0..used).step_by(SIDE) {
                            store_pixels(simd, &sums[x * PANEL..], SIDE.min(used - x), bias, planes, at + x);
                        }
                        continue;
                    }
                    for (c, plane) in planes.iter_mut().enumerate() {
                        for x in 0..used {
                            plane[at + x * conv.step] = sums[x * PANEL + c] + bias[c];
                        }
                    }
                }
            }
        }
    }
}
