//! Batch norm (Ioffe & Szegedy 2015): every channel standardized over all images and pixels.

use crate::kernel;
use alias_tensor::{Kernel, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(BATCH_NORM, GRID, REDUCE);
static STATISTICS: Kernel = kernel("batch_norm", SOURCE, "statistics");
static EVALUATION_STATISTICS: Kernel = kernel("batch_norm", SOURCE, "evaluation_statistics");
static FORWARD: Kernel = kernel("batch_norm", SOURCE, "forward");
static BACKWARD: Kernel = kernel("batch_norm", SOURCE, "backward");
static BACKWARD_EVALUATION: Kernel = kernel("batch_norm", SOURCE, "backward_evaluation");

params! { batch: u32, channels: u32, plane: u32, eps: f32, momentum: f32 }

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
    let moments = Tensor::empty(x.gpu(), &[c, 2])?;
    let running = [&running.mean, &running.variance];
    x.gpu().launch(&EVALUATION_STATISTICS, &params, &running, &[&moments], Work::threads(c).flops(3 * c as u64))?;
    let y = normalize(x, &params, &moments)?;

    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.gpu(), &dy.shape())?;
        let work = Work::threads(dx.numel()).flops(dx.numel() as u64);
        dy.gpu().launch(&BACKWARD_EVALUATION, &params, &[&moments, dy], &[&dx], work)?;
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
    let gpu = x.gpu();
    let moments = Tensor::empty(gpu, &[c, 2])?;
    let moved = RunningStatistics { mean: Tensor::empty(gpu, &[c])?, variance: Tensor::empty(gpu, &[c])? };
    let (inputs, outputs) = ([x, &running.mean, &running.variance], [&moments, &moved.mean, &moved.variance]);
    gpu.launch(&STATISTICS, &params, &inputs, &outputs, Work::groups(c).flops(4 * x.numel() as u64))?;
    let y = normalize(x, &params, &moments)?;

    let saved = x.clone();
    let y = y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.gpu(), &dy.shape())?;
        let work = Work::groups(c).flops(11 * dx.numel() as u64);
        dy.gpu().launch(&BACKWARD, &params, &[&saved, &moments, dy], &[&dx], work)?;
        Ok([Some(dx)])
    });
    Ok((y, moved))
}

fn normalize(x: &Tensor, params: &Params, moments: &Tensor) -> Result<Tensor> {
    let y = Tensor::empty(x.gpu(), &x.shape())?;
    let work = Work::threads(x.numel()).flops(2 * x.numel() as u64);
    x.gpu().launch(&FORWARD, params, &[x, moments], &[&y], work)?;
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::RunningStatistics;
    use crate::instance_norm::tests::{moments, pull_back};
    use alias_oracle::{Array, Random, Twin, check, gpu, relative_l2};
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
            mean: Tensor::new(x.gpu(), &[c], &vec![0.0; c])?,
            variance: Tensor::new(x.gpu(), &[c], &vec![1.0; c])?,
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
        let [mean, variance] = before.each_ref().map(|v| Tensor::new(gpu(), &[3], &v.to_f32()).unwrap());
        let t = Tensor::new(gpu(), &x.shape, &x.to_f32()).unwrap();
        let running = RunningStatistics { mean, variance };
        let (_, moved) = super::batch_norm_train(&t, &running, momentum, EPS as f32).unwrap();
        let momentum = f64::from(momentum);
        let expected = |initial: &Array, now: fn(&[f64]) -> f64| -> Vec<f64> {
            (0..3).map(|c| (1.0 - momentum) * initial[[c]] + momentum * now(&channel(&x, c))).collect()
        };
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let unbiased = |v: &[f64]| {
            let mean = v.iter().sum::<f64>() / v.len() as f64;
            v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (v.len() - 1) as f64
        };
        assert!(relative_l2(&moved.mean.to_vec().unwrap(), &expected(&before[0], mean)) <= 2e-6);
        assert!(relative_l2(&moved.variance.to_vec().unwrap(), &expected(&before[1], unbiased)) <= 2e-6);
    }
}
