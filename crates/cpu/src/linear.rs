//! A linear layer.

use crate::aligned::Scratch;
use crate::input::Activations;
use crate::output::activated;
use crate::{BLOCK, Cpu, HostBuffers, blocks, places};
use alias_plan::Linear;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// A linear layer's weight and bias, packed.
#[derive(Debug)]
pub struct LinearWeights {
    /// (outputs, blocks of channels, H W, BLOCK).
    rows: Vec<f32>,
    /// (outputs padded to whole blocks).
    bias: Vec<f32>,
}

impl LinearWeights {
    /// Packs a weight (outputs, inputs) and a bias (outputs) for an input that concatenates tensors with `operands`
    /// channels.
    pub fn new(weight: &[f32], bias: &[f32], operands: &[usize]) -> LinearWeights {
        let (channels, places) = (operands.iter().sum::<usize>(), places(operands).collect::<Vec<_>>());
        let inputs = weight.len() / bias.len();
        let plane = inputs / channels;
        let row = operands.iter().map(|&channels| blocks(channels)).sum::<usize>() * plane * BLOCK;
        let mut rows = vec![0.0; bias.len() * row];
        for (to, from) in rows.chunks_exact_mut(row).zip(weight.chunks_exact(inputs)) {
            for (place, from) in places.iter().zip(from.chunks_exact(plane)) {
                for (pixel, &w) in from.iter().enumerate() {
                    to[(place / BLOCK * plane + pixel) * BLOCK + place % BLOCK] = w;
                }
            }
        }
        let mut padded = bias.to_vec();
        padded.resize(blocks(bias.len()) * BLOCK, 0.0);
        LinearWeights { rows, bias: padded }
    }

    /// Bytes of a packed weight and bias.
    pub fn bytes(operands: &[usize], inputs: usize, outputs: usize) -> u64 {
        let plane = inputs / operands.iter().sum::<usize>();
        let row = operands.iter().map(|&channels| blocks(channels)).sum::<usize>() * plane * BLOCK;
        4 * (outputs * row + blocks(outputs) * BLOCK) as u64
    }
}

pub(crate) fn run(cpu: &Cpu, step: &Linear, buffers: &mut HostBuffers, weights: &LinearWeights) {
    buffers.write([step.output], |buffers, [out]| {
        let activations = Activations::new(&step.input, buffers);
        let image = blocks(step.outputs) * BLOCK;
        out.par_chunks_mut(image).take(step.input.batch).enumerate().for_each(|(n, out)| {
            cpu.dispatch(Image { step, activations: &activations, weights, n, out });
        });
    });
}

/// The layer's outputs for one image.
struct Image<'a> {
    step: &'a Linear,
    activations: &'a Activations<'a>,
    weights: &'a LinearWeights,
    n: usize,
    out: &'a mut [f32],
}

impl WithSimd for Image<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Image { step, activations, weights, n, out } = self;
        let (size, plane) = ([step.input.height, step.input.width], step.input.plane() * BLOCK);
        let mut scratch = Scratch::take(activations.view.blocks() * plane);
        let x = &mut scratch[..activations.view.blocks() * plane];
        for (block, x) in x.chunks_exact_mut(plane).enumerate() {
            activations.stage(simd, n, block, [0, 0], size, x);
        }
        let x = S::as_simd_f32s(x).0;
        out.copy_from_slice(&weights.bias);
        let row = weights.rows.len() / step.outputs;
        for (out, row) in out.iter_mut().zip(weights.rows.chunks_exact(row)) {
            // As many sums as a vector has elements, and four vectors, so that none adds up many terms.
            let mut sums = [simd.splat_f32s(0.0); 4];
            for (k, (&w, &x)) in S::as_simd_f32s(row).0.iter().zip(x).enumerate() {
                sums[k % 4] = simd.mul_add_e_f32s(w, x, sums[k % 4]);
            }
            let [a, b, c, d] = sums;
            *out += simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)));
        }
        for out in S::as_mut_simd_f32s(out).0 {
            *out = activated(simd, step.activation, *out);
        }
        // Padding stays zero, which a sigmoid is not.
        out[step.outputs..].fill(0.0);
    }
}
