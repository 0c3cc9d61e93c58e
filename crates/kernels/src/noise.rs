//! Gaussian noise before a normalization (VITON-HD's ALIAS block), drawn from a seed.

use crate::kernel;
use crate::plan::{DeviceBuffers, holds};
use alias_cpu::{Cpu, map, normal, sum};
use alias_plan::NoisePlane;
use alias_tensor::{Kernel, OnCores, Recording, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(NOISE, GRID, REDUCE, MATH, PHILOX);
static DRAW_SEEDED: Kernel = kernel("noise", SOURCE, "draw_seeded");
static FORWARD: Kernel<OnCores<Params, 2, 2>> = kernel("noise", SOURCE, "forward").on_cores(forward);
static BACKWARD_SCALE: Kernel<OnCores<Params, 2, 1>> =
    kernel("noise", SOURCE, "backward_scale").on_cores(backward_scale);

params! { batch: u32, channels: u32, plane: u32, stream: u32, seed_low: u32, seed_high: u32, share: u32 }

/// Invocations that fill any device.
const INVOCATIONS: usize = 1 << 14;

fn forward(cpu: &Cpu, params: &Params, [x, scale]: [&[f32]; 2], [y, z]: [&mut [f32]; 2]) {
    let seed = u64::from(params.seed_high) << 32 | u64::from(params.seed_low);
    normal(seed, params.stream, z);
    let z = &*z;
    let (channels, plane) = (params.channels as usize, params.plane as usize);
    y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).enumerate().for_each(|(at, (y, x))| {
        let (z, scale) = (&z[at / channels * plane..][..plane], scale[at % channels]);
        map(cpu, [x, z], [y], move |[x, z]| [x + scale * z]);
    });
}

fn backward_scale(cpu: &Cpu, params: &Params, [z, dy]: [&[f32]; 2], [dscale]: [&mut [f32]; 1]) {
    let (channels, plane) = (params.channels as usize, params.plane as usize);
    dscale.par_iter_mut().enumerate().for_each(|(c, dscale)| {
        let images = z.chunks_exact(plane).zip(dy.chunks_exact(channels * plane));
        let sums = images.map(|(z, dy)| sum(cpu, [&dy[c * plane..][..plane], z], move |[dy, z]| [dy * z]));
        *dscale = sums.map(|[sum]| sum).sum::<f64>() as f32;
    });
}

/// `x` (N, C, H, W) plus `scale` (C) times standard normal noise. Each image has one plane of noise for all its channels:
/// pixel (n, y, x) gets element (n H + y) W + x of [`philox::normal`](crate::philox::normal)`(seed, stream)`.
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn add_noise(x: &Tensor, scale: &Tensor, seed: u64, stream: u32) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("add_noise", "x")?;
    scale.shape().check("add_noise", "scale", &[c])?;
    let blocks = (n * h * w).div_ceil(4);
    // As many channels share the numbers of an invocation as leave enough invocations.
    let share = (blocks * c / INVOCATIONS).clamp(1, c);
    let params = Params {
        batch: n as u32,
        channels: c as u32,
        plane: (h * w) as u32,
        stream,
        seed_low: seed as u32,
        seed_high: (seed >> 32) as u32,
        share: share as u32,
    };
    let (y, z) = (Tensor::empty(x.device(), &x.shape())?, Tensor::empty(x.device(), &[n, 1, h, w])?);
    let flops = 2 * x.numel() as u64;
    let work = Work::threads(blocks * c.div_ceil(share)).flops(flops + 30 * z.numel() as u64);
    x.device().launch(&FORWARD, &params, &[x, scale], &[&y, &z], work)?;

    let scale_tracked = scale.is_tracked();
    Ok(y.with_backward([x, scale], move |dy| {
        if !scale_tracked {
            return Ok([Some(dy.clone()), None]);
        }
        let dscale = Tensor::empty(dy.device(), &[c])?;
        dy.device().launch(&BACKWARD_SCALE, &params, &[&z, dy], &[&dscale], Work::groups(c).flops(flops))?;
        Ok([Some(dy.clone()), Some(dscale)])
    }))
}

/// Records a step of a plan: a plane of the noise that [`add_noise`] adds.
pub(crate) fn record(recording: &mut Recording, step: &NoisePlane, buffers: &DeviceBuffers) -> Result<()> {
    let NoisePlane { stream, elements, seed, output } = *step;
    holds("noise", "the seed", buffers.get(seed), 8)?;
    holds("noise", "the output", buffers.get(output), 4 * elements as u64)?;
    let params = Params { batch: 1, channels: 1, plane: elements as u32, stream, seed_low: 0, seed_high: 0, share: 1 };
    let work = Work::threads(elements.div_ceil(4)).flops(30 * elements as u64);
    recording.launch(&DRAW_SEEDED, &params, &[buffers.get(seed)], &[buffers.get(output)], work)
}

#[cfg(test)]
mod tests {
    use crate::philox;
    use alias_oracle::{Array, Random, Twin, check};

    struct Noise {
        seed: u64,
        stream: u32,
    }

    impl Noise {
        fn plane(&self, x: &Array) -> Array {
            let [n, _, h, w] = x.nchw();
            Array::new(&[n, h, w], philox::normal(self.seed, self.stream).take(n * h * w).collect())
        }
    }

    impl Twin for Noise {
        fn forward(&self, x: &[Array]) -> Array {
            let z = self.plane(&x[0]);
            Array::from_fn(x[0].nchw(), |[n, c, i, j]| x[0][[n, c, i, j]] + x[1][[c]] * z[[n, i, j]])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let z = self.plane(&x[0]);
            let mut dscale = Array::zeros(&x[1].shape);
            Array::from_fn(dy.nchw(), |[n, c, i, j]| {
                dscale[[c]] += dy[[n, c, i, j]] * z[[n, i, j]];
                0.0
            });
            vec![Some(dy.clone()), Some(dscale)]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, seed, stream) in [
            ([1, 1, 1, 1], 0, 0),
            ([2, 3, 5, 7], 11, 4),
            ([3, 2, 47, 31], 0x1234_5678_9abc_def0, 23),
            ([2, 37, 61, 63], 3, 9),
        ] {
            let mut random = Random::new(1);
            // x is small, so that the result is almost only noise, as is the gradient by scale.
            let x = random.array(&shape).map(|x| x / 1024.0);
            check(&Noise { seed, stream }, &[x, random.array(&[shape[1]])], |t| {
                super::add_noise(&t[0], &t[1], seed, stream)
            });
        }
    }
}
