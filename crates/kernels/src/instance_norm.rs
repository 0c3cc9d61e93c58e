//! Instance norm (Ulyanov et al. 2016): every plane standardized by its own mean and variance.

use crate::kernel;
use crate::modulate::check_slope;
use alias_cpu::{Cpu, map, sum};
use alias_tensor::{Device, Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(INSTANCE_NORM, GRID, REDUCE);
static FORWARD: Kernel<OnCores<Params, 1, 2>> = kernel("instance_norm", SOURCE, "forward").on_cores(forward);
// For small planes, where 256 invocations would mostly wait at barriers.
static FORWARD_SMALL: Kernel<OnCores<Params, 1, 2>> = FORWARD.workgroup(32);
static BACKWARD: Kernel<OnCores<Params, 3, 1>> = kernel("instance_norm", SOURCE, "backward").on_cores(backward);

// Where planes are too few to fill a GPU, they are computed in parts.
static PARTIAL_STATISTICS: Kernel = kernel("instance_norm", SOURCE, "partial_statistics");
static MERGE_STATISTICS: Kernel = kernel("instance_norm", SOURCE, "merge_statistics");
static APPLY: Kernel = kernel("instance_norm", SOURCE, "apply");
static PARTIAL_BACKWARD: Kernel = kernel("instance_norm", SOURCE, "partial_backward");
static MERGE_BACKWARD: Kernel = kernel("instance_norm", SOURCE, "merge_backward");

params! { planes: u32, plane: u32, eps: f32, slope: f32, parts: u32, part: u32 }

fn forward(cpu: &Cpu, params: &Params, [x]: [&[f32]; 1], [statistics, y]: [&mut [f32]; 2]) {
    let &Params { plane, eps, slope, .. } = params;
    let plane = plane as usize;
    let planes = y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane));
    planes.zip(statistics.par_chunks_exact_mut(2)).for_each(|((y, x), statistics)| {
        // Minus the first pixel, so that the square of the mean cancels few digits of the mean of squares.
        let first = f64::from(x[0]);
        let sums = sum(cpu, [x], move |[x]| [x - first, (x - first) * (x - first)]);
        let [mean, square] = sums.map(|sum| sum / x.len() as f64);
        // A selection, not `max`, so that NaN passes through.
        let variance = if square < mean * mean { 0.0 } else { square - mean * mean };
        let (mean, rstd) = ((first + mean) as f32, (1.0 / (variance + f64::from(eps)).sqrt()) as f32);
        statistics.copy_from_slice(&[mean, rstd]);
        map(cpu, [x], [y], move |[x]| {
            let v = (x - mean) * rstd;
            [if v > 0.0 { v } else { slope * v }]
        });
    });
}

fn backward(cpu: &Cpu, params: &Params, [y, statistics, dy]: [&[f32]; 3], [dx]: [&mut [f32]; 1]) {
    let (plane, slope) = (params.plane as usize, params.slope);
    // Gradient and value before leaky ReLU, of which the result tells as much, since the slope is not 0.
    let before_leaky = move |y: f64, dy: f64| {
        if y > 0.0 { (dy, y) } else { (f64::from(slope) * dy, y / f64::from(slope)) }
    };
    let planes = dx.par_chunks_exact_mut(plane).zip(y.par_chunks_exact(plane)).zip(dy.par_chunks_exact(plane));
    planes.zip(statistics.par_chunks_exact(2)).for_each(|(((dx, y), dy), statistics)| {
        let sums = sum(cpu, [y, dy], move |[y, dy]| {
            let (dv, v) = before_leaky(y, dy);
            [dv, dv * v]
        });
        let ([mean_dy, mean_dy_y], rstd) = (sums.map(|sum| (sum / plane as f64) as f32), statistics[1]);
        let inverse = 1.0 / slope;
        map(cpu, [y, dy], [dx], move |[y, dy]| {
            let (dv, v) = if y > 0.0 { (dy, y) } else { (slope * dy, inverse * y) };
            [rstd * (dv - mean_dy - v * mean_dy_y)]
        });
    });
}

/// `(x - mean) / sqrt(variance + eps)` over the pixels of each plane of `x` (N, C, H, W); the variance is the biased
/// one. For a learned scale and shift, apply [`affine`](crate::affine).
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn instance_norm(x: &Tensor, eps: f32) -> Result<Tensor> {
    instance_norm_leaky_relu(x, eps, 1.0)
}

/// `leaky_relu(instance_norm(x, eps), slope)` in one pass.
///
/// # Errors
/// As [`instance_norm`]; if `slope` is not positive.
pub fn instance_norm_leaky_relu(x: &Tensor, eps: f32, slope: f32) -> Result<Tensor> {
    check_slope("instance_norm", slope)?;
    let [n, c, h, w] = x.shape().nchw("instance_norm", "x")?;
    let (device, planes, plane) = (x.device(), n * c, h * w);
    let parts = match device {
        Device::Gpu(_) => parts_of_planes(planes, plane),
        Device::Cores(_) => 1,
    };
    let [planes_, plane_, parts_, part] = [planes, plane, parts, plane.div_ceil(parts)].map(|size| size as u32);
    let params = Params { planes: planes_, plane: plane_, eps, slope, parts: parts_, part };
    let elements = x.numel() as u64;
    // Saved for backward: mean and 1 / sqrt(variance + eps) of each plane.
    let statistics = Tensor::empty(device, &[planes, 2])?;
    let y = Tensor::empty(device, &x.shape())?;
    match device {
        Device::Gpu(gpu) if parts > 1 => {
            let of_parts = Tensor::empty(gpu, &[planes, parts, 2])?;
            let work = Work::groups(planes * parts).flops(4 * elements);
            gpu.launch(&PARTIAL_STATISTICS, &params, &[x], &[&of_parts], work)?;
            gpu.launch(&MERGE_STATISTICS, &params, &[&of_parts], &[&statistics], Work::threads(planes))?;
            let work = Work::threads(x.numel()).flops(2 * elements);
            gpu.launch(&APPLY, &params, &[x, &statistics], &[&y], work)?;
        }
        _ => {
            let kernel = if plane <= 256 { &FORWARD_SMALL } else { &FORWARD };
            device.launch(kernel, &params, &[x], &[&statistics, &y], Work::groups(planes).flops(6 * elements))?;
        }
    }

    // Backward saves y instead of x: modulation keeps y alive anyway, while nothing else keeps x.
    let saved = y.detach();
    Ok(y.with_backward([x], move |dy| {
        let (device, dx) = (dy.device(), Tensor::empty(dy.device(), &dy.shape())?);
        match device {
            Device::Gpu(gpu) if parts > 1 => {
                let sums = Tensor::empty(gpu, &[planes, parts, 2])?;
                let work = Work::groups(planes * parts).flops(3 * elements);
                gpu.launch(&PARTIAL_BACKWARD, &params, &[&saved, &statistics, dy], &[&sums], work)?;
                let work = Work::threads(dx.numel()).flops(4 * elements);
                gpu.launch(&MERGE_BACKWARD, &params, &[&saved, &statistics, dy, &sums], &[&dx], work)?;
            }
            _ => {
                let work = Work::groups(planes).flops(7 * elements);
                device.launch(&BACKWARD, &params, &[&saved, &statistics, dy], &[&dx], work)?;
            }
        }
        Ok([Some(dx)])
    }))
}

/// Parts of each plane, of at least [`PART`] pixels, that make [`FILLING`] workgroups of them all.
pub(crate) fn parts_of_planes(planes: usize, plane: usize) -> usize {
    let parts = FILLING.div_ceil(planes).min(plane / PART).max(1);
    // None is empty.
    plane.div_ceil(plane.div_ceil(parts))
}

/// Workgroups that fill any device.
const FILLING: usize = 512;
/// Pixels that keep a workgroup busy for longer than its launch takes.
const PART: usize = 1 << 13;

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

    struct Activated {
        norm: InstanceNorm,
        slope: f64,
    }

    impl Twin for Activated {
        fn forward(&self, x: &[Array]) -> Array {
            self.norm.forward(x).map(|v| if v > 0.0 { v } else { self.slope * v })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let dv = self.norm.forward(x).zip(dy, |v, dy| if v > 0.0 { dy } else { self.slope * dy });
            self.norm.backward(x, &dv)
        }
    }

    #[test]
    fn leaky_relu_after_it_matches_twin() {
        for shape in [[2, 3, 5, 7], [3, 2, 17, 31]] {
            let twin = Activated { norm: InstanceNorm { eps: 1e-5 }, slope: 0.2f32.into() };
            let x = Random::new(1).array(&shape);
            check(&twin, &[x], |t| super::instance_norm_leaky_relu(&t[0], 1e-5, 0.2));
        }
    }

    /// The mean is many standard deviations from 0, so E[x^2] - E[x]^2 would cancel.
    #[test]
    fn survives_a_large_mean() {
        let x = Random::new(1).array(&[1, 2, 16, 24]).map(|x| f64::from((x + 8.0) as f32));
        check(&InstanceNorm { eps: 1e-5 }, &[x], |t| super::instance_norm(&t[0], 1e-5));
    }

    /// More than 1e5 elements per plane, in several parts on a GPU; the last part is shorter.
    #[test]
    fn large_planes_match_twin() {
        let x = Random::new(1).array(&[1, 2, 389, 401]).map(|x| f64::from((x + 3.0) as f32));
        assert_eq!(super::parts_of_planes(2, 389 * 401), 19);
        check(&InstanceNorm { eps: 1e-5 }, std::slice::from_ref(&x), |t| super::instance_norm(&t[0], 1e-5));
        let twin = Activated { norm: InstanceNorm { eps: 1e-5 }, slope: 0.2f32.into() };
        check(&twin, &[x], |t| super::instance_norm_leaky_relu(&t[0], 1e-5, 0.2));
    }

    #[test]
    fn parts_are_many_where_planes_are_few_and_large() {
        for (planes, plane, parts) in [(1, 1, 1), (3, 8191, 1), (64, 1 << 20, 8), (3, 1 << 16, 8), (1024, 1 << 20, 1)] {
            assert_eq!(super::parts_of_planes(planes, plane), parts, "{planes} planes of {plane}");
        }
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
