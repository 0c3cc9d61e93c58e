//! L2 normalization over channels.

use crate::input::View;
use crate::{BLOCK, Cpu, HostBuffers};
use alias_plan::L2Normalization;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

pub(crate) fn run(cpu: &Cpu, step: &L2Normalization, buffers: &mut HostBuffers) {
    buffers.write([step.output], |buffers, [out]| {
        let view = View::new(&step.input, buffers);
        let image = view.blocks() * step.input.plane() * BLOCK;
        out.par_chunks_mut(image).take(step.input.batch).enumerate().for_each(|(n, out)| {
            let planes: Vec<&[f32]> = (0..view.blocks()).map(|block| view.plane(n, block).0).collect();
            cpu.dispatch(Image { planes: &planes, out });
        });
    });
}

/// The normalization of one image.
struct Image<'a> {
    /// (H, W, BLOCK) of each block.
    planes: &'a [&'a [f32]],
    out: &'a mut [f32],
}

impl WithSimd for Image<'_> {
    type Output = ();

    // The compiler vectorizes these plain loops over a block.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Image { planes, out } = self;
        let plane = planes[0].len();
        for pixel in (0..plane).step_by(BLOCK) {
            let mut squares = [0.0; BLOCK];
            for from in planes {
                squares.iter_mut().zip(&from[pixel..][..BLOCK]).for_each(|(sum, v)| *sum += v * v);
            }
            // `max` would drop NaN.
            let length = squares.iter().sum::<f32>().sqrt();
            let divisor = if length < L2Normalization::EPS { L2Normalization::EPS } else { length };
            for (from, out) in planes.iter().zip(out.chunks_exact_mut(plane)) {
                out[pixel..][..BLOCK].iter_mut().zip(&from[pixel..]).for_each(|(out, v)| *out = v / divisor);
            }
        }
    }
}
