//! Dividing a convolution's output among threads, and storing it: bias, addition, activation.

use crate::exp::sigmoid;
use crate::tanh::tanh;
use crate::{BLOCK, HostBuffers, PANEL, blocks};
use alias_plan::{Activation, Convolution};
use pulp::Simd;
use std::ops::Range;

/// Rows and channels of an image that one thread computes.
pub(crate) struct Strip<'a> {
    pub(crate) n: usize,
    /// Rows of the output.
    pub(crate) rows: Range<usize>,
    /// Panels of output channels.
    pub(crate) panels: Range<usize>,
    /// (rows, W, BLOCK) for each block of channels in the panels.
    pub(crate) out: Vec<&'a mut [f32]>,
}

/// Divides the output of `step` into strips of at most `rows` rows. If those are fewer than `wanted`, divides them by
/// channels, too.
pub(crate) fn strips<'a>(step: &Convolution, out: &'a mut [f32], rows: usize, wanted: usize) -> Vec<Strip<'a>> {
    let (blocks, panels) = (blocks(step.cout), step.cout.div_ceil(PANEL));
    let line = step.width() * BLOCK;
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
    for (plane, out) in out.chunks_exact_mut(step.height() * line).enumerate() {
        let (n, part) = (plane / blocks, plane % blocks / (2 * each));
        let band = &mut out[step.rows.start * line..step.rows.end * line];
        for (strip, out) in band.chunks_mut(rows * line).enumerate() {
            strips[(n * count + strip) * parts + part].out.push(out);
        }
    }
    strips
}

/// What happens to a sum before it is stored.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue {
    accumulate: bool,
    activation: Activation,
}

impl Epilogue {
    pub(crate) fn new(step: &Convolution) -> Epilogue {
        Epilogue { accumulate: step.accumulate, activation: step.activation }
    }

    /// Stores vector number `v` of a pixel's block.
    #[inline(always)]
    pub(crate) fn store<S: Simd>(self, simd: S, sum: S::f32s, v: usize, bias: &[f32], out: &mut [f32]) {
        let bias = S::as_simd_f32s(bias).0[v];
        let to = &mut S::as_mut_simd_f32s(out).0[v];
        let mut value = simd.add_f32s(sum, bias);
        if self.accumulate {
            value = simd.add_f32s(value, *to);
        }
        *to = activated(simd, self.activation, value);
    }
}

/// Makes what pads the last block of channels zero again, as every step leaves it: a sigmoid of zero is not zero.
pub(crate) fn clear_padding(step: &Convolution, buffers: &mut HostBuffers) {
    let (used, line) = (step.cout % BLOCK, step.width() * BLOCK);
    if used == 0 {
        return;
    }
    let plane = step.height() * line;
    let images = buffers.get_mut(step.output).chunks_exact_mut(blocks(step.cout) * plane);
    for image in images.take(step.input.batch) {
        let last = &mut image[(blocks(step.cout) - 1) * plane..];
        last.chunks_exact_mut(BLOCK).for_each(|pixel| pixel[used..].fill(0.0));
    }
}

/// An activation function.
#[inline(always)]
pub(crate) fn activated<S: Simd>(simd: S, activation: Activation, value: S::f32s) -> S::f32s {
    match activation {
        Activation::Tanh => tanh(simd, value),
        Activation::Sigmoid => sigmoid(simd, value),
        Activation::LeakyRelu(1.0) => value,
        Activation::LeakyRelu(slope) => simd.max_f32s(simd.mul_f32s(value, simd.splat_f32s(slope)), value),
    }
}
