//! Maximum and mean pooling.

use crate::input::Activations;
use crate::{BLOCK, Cpu, HostBuffers, blocks, places};
use alias_plan::Pool;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Rows of the output that a thread computes at once.
const ROWS: usize = 8;

pub(crate) fn run(cpu: &Cpu, step: &Pool, buffers: &mut HostBuffers) {
    buffers.write([step.output], |buffers, [out]| {
        let activations = Activations::new(&step.input, buffers);
        // In the input each operand starts a new block; in the output channels follow without gaps.
        let places: Vec<usize> = places(&step.input.operand_channels()).collect();
        let (count, line) = (blocks(places.len()), step.width() * BLOCK);
        let plane = step.height() * line;
        out[..step.input.batch * count * plane].par_chunks_mut(plane).enumerate().for_each(|(at, out)| {
            out.par_chunks_mut(ROWS * line).enumerate().for_each(|(part, out)| {
                let (n, places) = (at / count, &places[at % count * BLOCK..]);
                let places = &places[..places.len().min(BLOCK)];
                cpu.dispatch(Rows { step, activations: &activations, n, places, top: part * ROWS, out });
            });
        });
    });
}

/// Some rows of one block of channels of the output.
struct Rows<'a> {
    step: &'a Pool,
    activations: &'a Activations<'a>,
    n: usize,
    /// The place of each channel in the input's blocks.
    places: &'a [usize],
    /// The first row of the output.
    top: usize,
    out: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    // The compiler vectorizes these plain loops over a block.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Rows { step, activations, n, places, top, out } = self;
        let Pool { window, stride, padding, is_max, .. } = *step;
        let (width, [h, w]) = (step.width(), [step.input.height, step.input.width]);
        let rows = out.len() / (width * BLOCK);
        let seen = [(rows - 1) * stride + window, (width - 1) * stride + window];
        let corner = [(top * stride) as isize - padding as isize, -(padding as isize)];
        let mut staged = vec![0.0; seen[0] * seen[1] * BLOCK];
        out.fill(0.0);
        for block in places[0] / BLOCK..=places[places.len() - 1] / BLOCK {
            activations.stage(simd, n, block, corner, seen, &mut staged);
            for (at, out) in out.chunks_exact_mut(BLOCK).enumerate() {
                let (y, x) = (at / width * stride, at % width * stride);
                let mut most = [f32::NEG_INFINITY; BLOCK];
                let (mut sum, mut count) = ([0.0; BLOCK], 0.0);
                for a in y..y + window {
                    for b in x..x + window {
                        let is_inside = |at: usize, side| (padding..side + padding).contains(&at);
                        if !is_inside(top * stride + a, h) || !is_inside(b, w) {
                            continue;
                        }
                        count += 1.0;
                        for (c, &v) in staged[(a * seen[1] + b) * BLOCK..][..BLOCK].iter().enumerate() {
                            sum[c] += v;
                            // `max` would drop NaN.
                            if v > most[c] || v.is_nan() {
                                most[c] = v;
                            }
                        }
                    }
                }
                for (out, place) in out.iter_mut().zip(places).filter(|(_, place)| **place / BLOCK == block) {
                    let c = place % BLOCK;
                    *out = if is_max { most[c] } else { sum[c] / count };
                }
            }
        }
    }
}
