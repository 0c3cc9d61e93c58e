//! Instance norm (Ulyanov et al. 2016): every plane standardized by its own mean and variance.

use crate::kernel;
use alias_cpu::{Cpu, map, sum};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(INSTANCE_NORM, GRID, REDUCE);
static STATISTICS: Kernel<OnCores<Params, 1, 1>> = kernel("instance_norm", SOURCE, "statistics").on_cores(statistics);
// For small planes, where 256 invocations would mostly wait at barriers.
static STATISTICS_SMALL: Kernel<OnCores<Params, 1, 1>> = STATISTICS.workgroup(32);
static FORWARD: Kernel<OnCores<Params, 2, 1>> = kernel("instance_norm", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 3, 1>> = kernel("instance_norm", SOURCE, "backward").on_cores(backward);

params! { planes: u32, plane: u32, eps: f32 }

fn statistics(cpu: &Cpu, &Params { plane, eps, .. }: &Params, [x]: [&[f32]; 1], [statistics]: [&mut [f32]; 1]) {
    statistics.par_chunks_exact_mut(2).zip(x.par_chunks_exact(plane as usize)).for_each(|(to, x)| {
        // Minus the first pixel, so that the square of the mean cancels few digits of the mean of squares.
        let first = f64::from(x[0]);
        let sums = sum(cpu, [x], move |[x]| [x - first, (x - first) * (x - first)]);
        let [mean, square] = sums.map(|sum| sum / x.len() as f64);
        // A selection, not `max`, so that NaN passes through.
        let variance = if square < mean * mean { 0.0 } else { square - mean * mean };
        to.copy_from_slice(&[(first + mean) as f32, (1.0 / (variance + f64::from(eps)).sqrt()) as f32]);
    });
}

fn forward(cpu: &Cpu, params: &Params, [x, statistics]: [&[f32]; 2], [y]: [&mut [f32]; 1]) {
    let plane = params.plane as usize;
    let planes = y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).zip(statistics.par_chunks_exact(2));
    planes.for_each(|((y, x), statistics)| {
        let (mean, rstd) = (statistics[0], statistics[1]);
        map(cpu, [x], [y], move |[x]| [(x - mean) * rstd]);
    });
}

fn backward(cpu: &Cpu, params: &Params, [y, statistics, dy]: [&[f32]; 3], [dx]: [&mut [f32]; 1]) {
    let plane = params.plane as usize;
    let planes = dx.par_chunks_exact_mut(plane).zip(y.par_chunks_exact(plane)).zip(dy.par_chunks_exact(plane));
    planes.zip(statistics.par_chunks_exact(2)).for_each(|(((dx, y), dy), statistics)| {
        let sums = sum(cpu, [y, dy], move |[y, dy]| [dy, dy * y]);
        let ([mean_dy, mean_dy_y], rstd) = (sums.map(|sum| (sum / plane as f64) as f32), statistics[1]);
        map(cpu, [y, dy], [dx], move |[y, dy]| [rstd * (dy - mean_dy - y * mean_dy_y)]);
    });
}

/// `(x - mean) / sqrt(variance + eps)` over the pixels of each plane of `x` (N, C, H, W); the variance is the biased
/// one. For a learned scale and shift, apply [`affine`](crate::affine).
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn instance_norm(x: &Tensor, eps: f32) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("instance_norm", "x")?;
    let params = Params { planes: (n * c) as u32, plane: (h * w) as u32, eps };
    let elements = x.numel() as u64;
    // Saved for backward: mean and 1 / sqrt(variance + eps) of each plane.
    let statistics = Tensor::empty(x.device(), &[n * c, 2])?;
    let reduction = if h * w <= 256 { &STATISTICS_SMALL } else { &STATISTICS };
    x.device().launch(reduction, &params, &[x], &[&statistics], Work::groups(n * c).flops(4 * elements))?;
    let y = Tensor::empty(x.device(), &x.shape())?;
    let work = Work::threads(x.numel()).flops(2 * elements);
    x.device().launch(&FORWARD, &params, &[x, &statistics], &[&y], work)?;

    // Backward saves y instead of x: modulation keeps y alive anyway, while nothing else keeps x.
    let saved = y.detach();
    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.device(), &dy.shape())?;
        let work = Work::groups(n * c).flops(7 * elements);
        dy.device().launch(&BACKWARD, &params, &[&saved, &statistics, dy], &[&dx], work)?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
pub(crate) mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    struct InstanceNorm {
        eps: f64,
    }

    impl InstanceNorm {
        /// Mean and 1 / sqrt(variance + eps) of each plane.
        fn moments(&self, x: &Array) -> Vec<(f64, f64)> {
            let [_, _, h, w] = x.nchw();
            x.data.chunks(h * w).map(|plane| moments(plane, self.eps)).collect()
        }
    }

    /// Mean and 1 / sqrt(biased variance + eps).
    pub(crate) fn moments(values: &[f64], eps: f64) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        (mean, 1.0 / (variance + eps).sqrt())
    }

    /// Gradient of `(x - mean) * rstd` over one set of values.
    pub(crate) fn pull_back(values: &[f64], dy: &[f64], eps: f64) -> Vec<f64> {
        let (mean, rstd) = moments(values, eps);
        let count = values.len() as f64;
        let y: Vec<_> = values.iter().map(|v| (v - mean) * rstd).collect();
        let mean_dy = dy.iter().sum::<f64>() / count;
        let mean_dy_y = dy.iter().zip(&y).map(|(dy, y)| dy * y).sum::<f64>() / count;
        dy.iter().zip(&y).map(|(dy, y)| rstd * (dy - mean_dy - y * mean_dy_y)).collect()
    }

    impl Twin for InstanceNorm {
        fn forward(&self, x: &[Array]) -> Array {
            let moments = self.moments(&x[0]);
            let channels = x[0].shape[1];
            Array::from_fn(x[0].nchw(), |at| {
                let (mean, rstd) = moments[at[0] * channels + at[1]];
                (x[0][at] - mean) * rstd
            })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let [_, _, h, w] = x[0].nchw();
            let planes = x[0].data.chunks(h * w).zip(dy.data.chunks(h * w));
            vec![Some(Array::new(&x[0].shape, planes.flat_map(|(x, dy)| pull_back(x, dy, self.eps)).collect()))]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [[1, 1, 1, 1], [2, 3, 5, 7], [3, 2, 17, 31], [1, 2, 1, 3]] {
            let x = Random::new(1).array(&shape);
            for eps in [1e-5f32, 1.0 / 64.0] {
                let twin = InstanceNorm { eps: f64::from(eps) };
                check(&twin, std::slice::from_ref(&x), |t| super::instance_norm(&t[0], eps));
            }
        }
    }

    /// The mean is many standard deviations from 0, so E[x^2] - E[x]^2 would cancel.
    #[test]
    fn survives_a_large_mean() {
        let x = Random::new(1).array(&[1, 2, 16, 24]).map(|x| f64::from((x + 8.0) as f32));
        check(&InstanceNorm { eps: 1e-5 }, &[x], |t| super::instance_norm(&t[0], 1e-5));
    }

    /// More than 1e5 elements per plane.
    #[test]
    fn large_planes_match_twin() {
        let x = Random::new(1).array(&[1, 2, 389, 401]).map(|x| f64::from((x + 3.0) as f32));
        check(&InstanceNorm { eps: 1e-5 }, &[x], |t| super::instance_norm(&t[0], 1e-5));
    }

    struct AffineInstanceNorm(InstanceNorm);

    impl Twin for AffineInstanceNorm {
        fn forward(&self, x: &[Array]) -> Array {
            let y = self.0.forward(&x[..1]);
            Array::from_fn(y.nchw(), |at| y[at] * x[1][[at[1]]] + x[2][[at[1]]])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let y = self.0.forward(&x[..1]);
            let (mut dw, mut db) = (Array::zeros(&x[1].shape), Array::zeros(&x[2].shape));
            let scaled = Array::from_fn(y.nchw(), |at| {
                dw[[at[1]]] += dy[at] * y[at];
                db[[at[1]]] += dy[at];
                dy[at] * x[1][[at[1]]]
            });
            let dx = self.0.backward(&x[..1], &scaled).remove(0);
            vec![dx, Some(dw), Some(db)]
        }
    }

    #[test]
    fn affine_matches_twin() {
        let mut random = Random::new(1);
        let inputs = [random.array(&[2, 3, 5, 7]), random.array(&[3]), random.array(&[3])];
        let twin = AffineInstanceNorm(InstanceNorm { eps: 1e-5 });
        check(&twin, &inputs, |t| crate::affine(&super::instance_norm(&t[0], 1e-5)?, &t[1], &t[2]));
    }
}
