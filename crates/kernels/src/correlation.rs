//! The correlation of two feature maps, as in geometric matching (Rocco et al. 2017).

use crate::plan::{DeviceBuffers, holds};
use crate::spectral_norm::sum_columns;
use crate::{ShaderText, kernel};
use alias_cpu::Cpu;
use alias_plan::Correlation;
use alias_tensor::{Error, Kernel, OnCores, Recording, Result, Tensor, Work};
use rayon::prelude::*;

const TEXT: ShaderText = stored!(CORRELATION, GRID);
const SOURCE: &[&str] = TEXT.f32;
static FORWARD: Kernel<OnCores<Params, 2, 1>> =
    kernel("correlation", SOURCE, "forward").workgroup(64).on_cores(forward);
static BACKWARD_A: Kernel<OnCores<Params, 2, 1>> =
    kernel("correlation", SOURCE, "backward_a").workgroup(64).on_cores(backward_a);
static BACKWARD_B: Kernel<OnCores<Params, 2, 1>> =
    kernel("correlation", SOURCE, "backward_b").workgroup(64).on_cores(backward_b);

params! { batch: u32, channels: u32, h: u32, w: u32 }

impl Params {
    /// The number of channels and of pixels.
    fn sizes(&self) -> [usize; 2] {
        [self.channels, self.h * self.w].map(|size| size as usize)
    }

    /// The place of `a` that a channel of the result belongs to.
    fn place(&self, channel: usize) -> usize {
        channel % self.h as usize * self.w as usize + channel / self.h as usize
    }
}

fn forward(cpu: &Cpu, params: &Params, [a, b]: [&[f32]; 2], [y]: [&mut [f32]; 1]) {
    let [channels, pixels] = params.sizes();
    y.par_chunks_exact_mut(pixels).enumerate().for_each(|(k, y)| {
        let [a, b] = [a, b].map(|x| &x[k / pixels * channels * pixels..][..channels * pixels]);
        let place = params.place(k % pixels);
        sum_columns(cpu, [b], y, |channel| {
            let a = f64::from(a[channel * pixels + place]);
            move |[b]| a * b
        });
    });
}

fn backward_a(cpu: &Cpu, params: &Params, [b, dy]: [&[f32]; 2], [da]: [&mut [f32]; 1]) {
    let [channels, pixels] = params.sizes();
    // With places of `a` as columns, where neighbours are summed together.
    let mut transposed = vec![0.0; dy.len()];
    for (to, dy) in transposed.chunks_exact_mut(pixels * pixels).zip(dy.chunks_exact(pixels * pixels)) {
        for (channel, dy) in dy.chunks_exact(pixels).enumerate() {
            let column = to[params.place(channel)..].iter_mut().step_by(pixels);
            column.zip(dy).for_each(|(to, &dy)| *to = dy);
        }
    }
    da.par_chunks_exact_mut(pixels).zip(b.par_chunks_exact(pixels)).enumerate().for_each(|(k, (da, b))| {
        let dy = &transposed[k / channels * pixels * pixels..][..pixels * pixels];
        sum_columns(cpu, [dy], da, |place| {
            let b = f64::from(b[place]);
            move |[dy]| b * dy
        });
    });
}

fn backward_b(cpu: &Cpu, params: &Params, [a, dy]: [&[f32]; 2], [db]: [&mut [f32]; 1]) {
    let [channels, pixels] = params.sizes();
    db.par_chunks_exact_mut(pixels).zip(a.par_chunks_exact(pixels)).enumerate().for_each(|(k, (db, a))| {
        let dy = &dy[k / channels * pixels * pixels..][..pixels * pixels];
        sum_columns(cpu, [dy], db, |channel| {
            let a = f64::from(a[params.place(channel)]);
            move |[dy]| a * dy
        });
    });
}

/// The scalar products of each place of `a` (N, C, H, W) with each place of `b` (N, C, H, W), as (N, W H, H, W): channel
/// x H + y holds those of place (y, x) of `a`. So channels count columns first.
///
/// # Errors
/// If `a` does not have four dimensions, the shapes differ, or the device reports an error.
pub fn correlation(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = a.shape().nchw("correlation", "a")?;
    b.shape().check("correlation", "b", &a.shape())?;
    let params = Params { batch: n as u32, channels: c as u32, h: h as u32, w: w as u32 };
    let pixels = h * w;
    let flops = 2 * (n * c * pixels * pixels) as u64;
    let tiles = move |rows: usize| n * rows.div_ceil(4) * pixels.div_ceil(4);
    let y = Tensor::empty(a.device(), &[n, pixels, h, w])?;
    a.device().launch(&FORWARD, &params, &[a, b], &[&y], Work::threads(tiles(pixels)).flops(flops))?;

    let (saved_a, saved_b) = (a.clone(), b.clone());
    Ok(y.with_backward([a, b], move |dy| {
        let work = Work::threads(tiles(c)).flops(flops);
        let by = |kernel: &Kernel<OnCores<Params, 2, 1>>, other: &Tensor| {
            let gradient = Tensor::empty(dy.device(), &[n, c, h, w])?;
            dy.device().launch(kernel, &params, &[other, dy], &[&gradient], work)?;
            Ok(gradient)
        };
        let da = saved_a.is_tracked().then(|| by(&BACKWARD_A, &saved_b)).transpose()?;
        let db = saved_b.is_tracked().then(|| by(&BACKWARD_B, &saved_a)).transpose()?;
        Ok([da, db])
    }))
}

/// Records a step of a plan.
pub(crate) fn record(recording: &mut Recording, step: &Correlation, buffers: &DeviceBuffers) -> Result<()> {
    let (input, precision) = (&step.input, buffers.precision());
    let [a, b] = &input.operands[..] else {
        return Err(Error::argument("correlation", "the number of operands", input.operands.len(), 2));
    };
    if a.channels != b.channels || [a.height, a.width, b.height, b.width] != [input.height, input.width].repeat(2)[..] {
        return Err(Error::argument("correlation", "the operands", format!("{a:?}, {b:?}"), "two of one shape"));
    }
    buffers.check_input("correlation", input, &(0..input.height))?;
    let plane = input.plane();
    let results = input.batch * plane * plane;
    holds("correlation", "the output", buffers.get(step.output), results as u64 * precision.bytes())?;
    let [h, w] = [input.height as u32, input.width as u32];
    let params = Params { batch: input.batch as u32, channels: a.channels as u32, h, w };
    let forward = kernel("correlation", TEXT.of(precision), "forward").workgroup(64);
    let work = Work::threads(input.batch * plane.div_ceil(4).pow(2)).flops(step.flops());
    let reads = [buffers.get(a.buffer), buffers.get(b.buffer)];
    recording.launch(&forward, &params, &reads, &[buffers.get(step.output)], work)
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    struct Correlation;

    impl Twin for Correlation {
        fn forward(&self, x: &[Array]) -> Array {
            let [n, channels, h, w] = x[0].nchw();
            Array::from_fn([n, w * h, h, w], |[n, at, i, j]| {
                (0..channels).map(|c| x[0][[n, c, at % h, at / h]] * x[1][[n, c, i, j]]).sum()
            })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let [_, channels, h, _] = x[0].nchw();
            let (mut da, mut db) = (Array::zeros(&x[0].shape), Array::zeros(&x[1].shape));
            Array::from_fn(dy.nchw(), |[n, at, i, j]| {
                let g = dy[[n, at, i, j]];
                for c in 0..channels {
                    da[[n, c, at % h, at / h]] += g * x[1][[n, c, i, j]];
                    db[[n, c, i, j]] += g * x[0][[n, c, at % h, at / h]];
                }
                0.0
            });
            vec![Some(da), Some(db)]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [[1, 1, 1, 1], [2, 3, 5, 7], [3, 6, 2, 1], [1, 517, 4, 3], [2, 33, 9, 6]] {
            let mut random = Random::new(1);
            check(&Correlation, &[random.array(&shape), random.array(&shape)], |t| super::correlation(&t[0], &t[1]));
        }
    }

    #[test]
    fn sees_every_pair_of_places() {
        let x = Random::new(3).array(&[1, 64, 16, 12]);
        check(&Correlation, &[x.clone(), x.map(|v| v + 1.0)], |t| super::correlation(&t[0], &t[1]));
    }
}
