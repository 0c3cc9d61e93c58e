//! The correlation of two feature maps, as a matrix product.

use crate::aligned::Scratch;
use crate::input::View;
use crate::product::{SLACK, product};
use crate::{BLOCK, Cpu, HostBuffers, PANEL, blocks};
use alias_plan::Correlation;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

pub(crate) fn run(cpu: &Cpu, step: &Correlation, buffers: &mut HostBuffers) {
    buffers.write([step.output], |buffers, [out]| {
        let view = View::new(&step.input, buffers);
        let plane = step.input.plane();
        let image = blocks(plane) * plane * BLOCK;
        out.par_chunks_mut(image).take(step.input.batch).enumerate().for_each(|(n, out)| {
            out.par_chunks_mut(PANEL / BLOCK * plane * BLOCK).enumerate().for_each(|(panel, out)| {
                cpu.dispatch(Panel { step, view: &view, n, panel, out });
            });
        });
    });
}

/// The products of some pixels of the first map with every pixel of the second.
struct Panel<'a> {
    step: &'a Correlation,
    view: &'a View<'a>,
    n: usize,
    panel: usize,
    /// (H, W, BLOCK) for one or two blocks of channels.
    out: &'a mut [f32],
}

impl WithSimd for Panel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Panel { step, view, n, panel, out } = self;
        let (height, width, plane) = (step.input.height, step.input.width, step.input.plane());
        let inner = blocks(step.channels());
        let columns = (plane - panel * PANEL).min(PANEL);
        let (rows, weights) = (inner * plane * BLOCK + SLACK * BLOCK, inner * BLOCK * PANEL);
        let mut scratch = Scratch::take(rows + weights + (plane + SLACK) * PANEL);
        let (pixels, rest) = scratch.split_at_mut(rows);
        let (weights, sums) = rest.split_at_mut(weights);
        weights.fill(0.0);
        for block in 0..inner {
            pixels[block * plane * BLOCK..][..plane * BLOCK].copy_from_slice(view.plane(n, inner + block).0);
            let from = view.plane(n, block).0;
            for column in 0..columns {
                // Channels of the result count the first map's pixels column by column.
                let channel = panel * PANEL + column;
                let at = channel % height * width + channel / height;
                for (k, &v) in from[at * BLOCK..][..BLOCK].iter().enumerate() {
                    weights[(block * BLOCK + k) * PANEL + column] = v;
                }
            }
        }
        let starts: Vec<usize> = (0..inner).map(|block| block * plane * BLOCK).collect();
        product(simd, pixels, &starts, plane, columns, weights, sums);
        for (half, out) in out.chunks_exact_mut(plane * BLOCK).enumerate() {
            for (out, sums) in out.chunks_exact_mut(BLOCK).zip(sums.chunks_exact(PANEL)) {
                out.copy_from_slice(&sums[half * BLOCK..][..BLOCK]);
            }
        }
    }
}
