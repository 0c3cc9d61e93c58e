//! Batch norm (Ioffe & Szegedy 2015): every channel standardized over all images and pixels.

use crate::affine::sum_of_channel;
use crate::kernel;
use alias_cpu::{Cpu, map};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(BATCH_NORM, GRID, REDUCE);
static STATISTICS: Kernel<OnCores<Params, 3, 3>> = kernel("batch_norm", SOURCE, "statistics").on_cores(statistics);
static EVALUATION_STATISTICS: Kernel<OnCores<Params, 2, 1>> =
    kernel("batch_norm", SOURCE, "evaluation_statistics").on_cores(evaluation_statistics);
static FORWARD: Kernel<OnCores<Params, 2, 1>> = kernel("batch_norm", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 3, 1>> = kernel("batch_norm", SOURCE, "backward").on_cores(backward);
static BACKWARD_EVALUATION: Kernel<OnCores<Params, 2, 1>> =
    kernel("batch_norm", SOURCE, "backward_evaluation").on_cores(backward_evaluation);

params! { batch: u32, channels: u32, plane: u32, eps: f32, momentum: f32 }

fn statistics(cpu: &Cpu, params: &Params, inputs: [&[f32]; 3], outputs: [&mut [f32]; 3]) {
    let size = [params.channels, params.plane].map(|size| size as usize);
    let (count, momentum) = (f64::from(params.batch * params.plane), f64::from(params.momentum));
    let ([x, running_mean, running_variance], [moments, new_mean, new_variance]) = (inputs, outputs);
    let moved = |running: f32, own: f64| (f64::from(running) * (1.0 - momentum) + own * momentum) as f32;
    let channels = moments.par_chunks_exact_mut(2).zip(new_mean).zip(new_variance).enumerate();
    channels.for_each(|(channel, ((moments, new_mean), new_variance))| {
        // Minus the first pixel, so that the square of the mean cancels few digits of the mean of squares.
        let first = f64::from(x[channel * size[1]]);
        let sums = sum_of_channel(cpu, [x], size, channel, |[x]| [x - first, (x - first) * (x - first)]);
        let [mean, square] = sums.map(|sum| sum / count);
        // A selection, not `max`, so that NaN passes through.
        let variance = if square < mean * mean { 0.0 } else { square - mean * mean };
        moments.copy_from_slice(&[(first + mean) as f32, (1.0 / (variance + f64::from(params.eps)).sqrt()) as f32]);
        *new_mean = moved(running_mean[channel], first + mean);
        *new_variance = moved(running_variance[channel], variance * count / (count - 1.0));
    });
}

fn evaluation_statistics(_: &Cpu, params: &Params, [mean, variance]: [&[f32]; 2], [moments]: [&mut [f32]; 1]) {
    for (moments, (mean, variance)) in moments.chunks_exact_mut(2).zip(mean.iter().zip(variance)) {
        moments.copy_from_slice(&[*mean, 1.0 / (variance + params.eps).sqrt()]);
    }
}

fn forward(cpu: &Cpu, params: &Params, [x, moments]: [&[f32]; 2], [y]: [&mut [f32]; 1]) {
    let (channels, plane) = (params.channels as usize, params.plane as usize);
    let planes = y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).enumerate();
    planes.for_each(|(k, (y, x))| {
        let (mean, rstd) = (moments[k % channels * 2], moments[k % channels * 2 + 1]);
        map(cpu, [x], [y], move |[x]| [(x - mean) * rstd]);
    });
}

fn backward(cpu: &Cpu, params: &Params, [x, moments, dy]: [&[f32]; 3], [dx]: [&mut [f32]; 1]) {
    let size @ [channels, plane] = [params.channels, params.plane].map(|size| size as usize);
    let count = f64::from(params.batch * params.plane);
    let means_of_channel = |(channel, moments): (usize, &[f32])| {
        let [mean, rstd] = [moments[0], moments[1]].map(f64::from);
        let sums = sum_of_channel(cpu, [x, dy], size, channel, |[x, dy]| [dy, dy * (x - mean) * rstd]);
        sums.map(|sum| (sum / count) as f32)
    };
    let means: Vec<_> = moments.par_chunks_exact(2).enumerate().map(means_of_channel).collect();
    let planes = dx.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).zip(dy.par_chunks_exact(plane));
    planes.enumerate().for_each(|(k, ((dx, x), dy))| {
        let (mean, rstd) = (moments[k % channels * 2], moments[k % channels * 2 + 1]);
        let [mean_dy, mean_dy_y] = means[k % channels];
        map(cpu, [x, dy], [dx], move |[x, dy]| [rstd * (dy - mean_dy - (x - mean) * rstd * mean_dy_y)]);
    });
}

fn backward_evaluation(cpu: &Cpu, params: &Params, [moments, dy]: [&[f32]; 2], [dx]: [&mut [f32]; 1]) {
    let (channels, plane) = (params.channels as usize, params.plane as usize);
    let planes = dx.par_chunks_exact_mut(plane).zip(dy.par_chunks_exact(plane)).enumerate();
    planes.for_each(|(k, (dx, dy))| {
        let rstd = moments[k % channels * 2 + 1];
        map(cpu, [dy], [dx], move |[dy]| [dy * rstd]);
    });
}

/// Running mean and running unbiased variance of each channel.
#[derive(Clone, Debug)]
pub struct RunningStatistics {
    /// `running_mean` (C).
    pub mean: Tensor,
    /// `running_var` (C).
    pub variance: Tensor,
}

impl RunningStatistics {
    fn expect(&self, channels: usize) -> Result<()> {
        self.mean.shape().check("batch_norm", "running.mean", &[channels])?;
        self.variance.shape().check("batch_norm", "running.variance", &[channels])
    }
}

/// `x` (N, C, H, W) standardized by the `running` statistics, as in evaluation. For a learned scale and shift, apply
/// [`affine`](crate::affine).
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn batch_norm(x: &Tensor, running: &RunningStatistics, eps: f32) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("batch_norm", "x")?;
    running.expect(c)?;
    let params = Params { batch: n as u32, channels: c as u32, plane: (h * w) as u32, eps, momentum: 0.0 };
    let moments = Tensor::empty(x.device(), &[c, 2])?;
    let running = [&running.mean, &running.variance];
    x.device().launch(&EVALUATION_STATISTICS, &params, &running, &[&moments], Work::threads(c).flops(3 * c as u64))?;
    let y = normalize(x, &params, &moments)?;

    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.device(), &dy.shape())?;
        let work = Work::threads(dx.numel()).flops(dx.numel() as u64);
        dy.device().launch(&BACKWARD_EVALUATION, &params, &[&moments, dy], &[&dx], work)?;
        Ok([Some(dx)])
    }))
}

/// `x` (N, C, H, W) standardized by its own statistics, as in training, and the running statistics updated as
/// `(1 - momentum) * running + momentum * own`. For a learned scale and shift, apply [`affine`](crate::affine).
///
/// # Errors
/// If the shapes do not match, a channel has a single element, or the device reports an error.
pub fn batch_norm_train(
    x: &Tensor,
    running: &RunningStatistics,
    momentum: f32,
    eps: f32,
) -> Result<(Tensor, RunningStatistics)> {
    let [n, c, h, w] = x.shape().nchw("batch_norm_train", "x")?;
    running.expect(c)?;
    if n * h * w == 1 {
        let expected = "more than one element per channel";
        return Err(alias_tensor::Error::shape("batch_norm_train", "x", &x.shape(), expected));
    }
    let params = Params { batch: n as u32, channels: c as u32, plane: (h * w) as u32, eps, momentum };
    let device = x.device();
    let moments = Tensor::empty(device, &[c, 2])?;
    let moved = RunningStatistics { mean: Tensor::empty(device, &[c])?, variance: Tensor::empty(device, &[c])? };
    let (inputs, outputs) = ([x, &running.mean, &running.variance], [&moments, &moved.mean, &moved.variance]);
    device.launch(&STATISTICS, &params, &inputs, &outputs, Work::groups(c).flops(4 * x.numel() as u64))?;
    let y = normalize(x, &params, &moments)?;

    let saved = x.clone();
    let y = y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.device(), &dy.shape())?;
        let work = Work::groups(c).flops(11 * dx.numel() as u64);
        dy.device().launch(&BACKWARD, &params, &[&saved, &moments, dy], &[&dx], work)?;
        Ok([Some(dx)])
    });
    Ok((y, moved))
}

fn normalize(x: &Tensor, params: &Params, moments: &Tensor) -> Result<Tensor> {
    let y = Tensor::empty(x.device(), &x.shape())?;
    let work = Work::threads(x.numel()).flops(2 * x.numel() as u64);
    x.device().launch(&FORWARD, params, &[x, moments], &[&y], work)?;
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::RunningStatistics;
    use crate::instance_norm::tests::{moments, pull_back};
    use alias_oracle::{Array, Random, Twin, check, devices, relative_l2};
    use alias_tensor::{Result, Tensor};

    const EPS: f64 = 1.0 / 64.0; // not the usual 1e-5, which a kernel might hard-code

    /// The values of channel `c`, over images and pixels.
    fn channel(x: &Array, c: usize) -> Vec<f64> {
        let [n, _, h, w] = x.nchw();
        Array::from_fn([n, h, w], |[n, y, x_]| x[[n, c, y, x_]]).data
    }

    struct Train;

    impl Twin for Train {
        fn forward(&self, x: &[Array]) -> Array {
            let moments: Vec<_> = (0..x[0].shape[1]).map(|c| moments(&channel(&x[0], c), EPS)).collect();
            Array::from_fn(x[0].nchw(), |at| (x[0][at] - moments[at[1]].0) * moments[at[1]].1)
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let [_, c, h, w] = x[0].nchw();
            let pulled: Vec<_> = (0..c).map(|c| pull_back(&channel(&x[0], c), &channel(dy, c), EPS)).collect();
            vec![Some(Array::from_fn(x[0].nchw(), |[n, c, y, x_]| pulled[c][(n * h + y) * w + x_]))]
        }
    }

    struct Evaluate;

    impl Twin for Evaluate {
        fn forward(&self, x: &[Array]) -> Array {
            Array::from_fn(x[0].nchw(), |at| (x[0][at] - x[1][[at[1]]]) / (x[2][[at[1]]] + EPS).sqrt())
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            vec![Some(Array::from_fn(x[0].nchw(), |at| dy[at] / (x[2][[at[1]]] + EPS).sqrt())), None, None]
        }
    }

    fn fresh(x: &Tensor) -> Result<RunningStatistics> {
        let c = x.shape()[1];
        Ok(RunningStatistics {
            mean: Tensor::new(x.device(), &[c], &vec![0.0; c])?,
            variance: Tensor::new(x.device(), &[c], &vec![1.0; c])?,
        })
    }

    #[test]
    fn training_matches_twin() {
        // At least three values per channel: two always normalize to -1 and 1, so their gradient is pure rounding.
        for shape in [[3, 1, 1, 1], [2, 3, 5, 7], [3, 2, 17, 31]] {
            let x = Random::new(1).array(&shape);
            check(&Train, &[x], |t| Ok(super::batch_norm_train(&t[0], &fresh(&t[0])?, 0.1, EPS as f32)?.0));
        }
    }

    #[test]
    fn evaluation_matches_twin() {
        for shape in [[1, 1, 1, 1], [2, 3, 5, 7]] {
            let mut random = Random::new(1);
            let variance = random.array(&[shape[1]]).map(|v| f64::from((v + 1.5) as f32));
            check(&Evaluate, &[random.array(&shape), random.array(&[shape[1]]), variance], |t| {
                let running = RunningStatistics { mean: t[1].clone(), variance: t[2].clone() };
                super::batch_norm(&t[0], &running, EPS as f32)
            });
        }
    }

    #[test]
    fn running_statistics_move_by_the_momentum() {
        let mut random = Random::new(1);
        let (x, momentum) = (random.array(&[2, 3, 5, 7]), 0.3);
        // Arbitrary initial statistics, different in every channel.
        let before = [random.array(&[3]), random.array(&[3]).map(|v| v + 1.5)];
        let share = f64::from(momentum);
        let expected = |initial: &Array, now: fn(&[f64]) -> f64| -> Vec<f64> {
            (0..3).map(|c| (1.0 - share) * initial[[c]] + share * now(&channel(&x, c))).collect()
        };
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let unbiased = |v: &[f64]| {
            let mean = v.iter().sum::<f64>() / v.len() as f64;
            v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (v.len() - 1) as f64
        };
        let [want_mean, want_variance] = [expected(&before[0], mean), expected(&before[1], unbiased)];
        for device in devices() {
            let [mean, variance] = before.each_ref().map(|v| Tensor::new(&device, &[3], &v.to_f32()).unwrap());
            let t = Tensor::new(&device, &x.shape, &x.to_f32()).unwrap();
            let running = RunningStatistics { mean, variance };
            let (_, moved) = super::batch_norm_train(&t, &running, momentum, EPS as f32).unwrap();
            assert!(relative_l2(&moved.mean.to_vec().unwrap(), &want_mean) <= 2e-6);
            assert!(relative_l2(&moved.variance.to_vec().unwrap(), &want_variance) <= 2e-6);
        }
    }
}
