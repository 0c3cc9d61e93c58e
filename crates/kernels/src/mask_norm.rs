//! ALIAS's mask normalization (VITON-HD, section 3.4): standardizes the misaligned region and the rest separately.

use crate::kernel;
use alias_cpu::{Cpu, map, sum};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(MASK_NORM, GRID, REDUCE);
static FORWARD: Kernel<OnCores<Params, 2, 2>> = kernel("mask_norm", SOURCE, "forward").on_cores(forward);
// For small planes, where 256 invocations would mostly wait at barriers.
static FORWARD_SMALL: Kernel<OnCores<Params, 2, 2>> = FORWARD.workgroup(32);
static BACKWARD: Kernel<OnCores<Params, 4, 1>> = kernel("mask_norm", SOURCE, "backward").on_cores(backward);

params! { planes: u32, channels: u32, plane: u32, eps: f32 }

/// A region of a plane, as in the shader.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Region {
    mean: f32,
    scale: f32,
    inverse_variance: f32,
    residual: f32,
    count: f32,
}

impl Region {
    fn new(mean: f64, squares: f64, residual: f64, count: f64, plane: f64, eps: f64) -> Region {
        let inverse_variance = 1.0 / (squares / plane + eps);
        let scale = (count / plane).sqrt() * inverse_variance.sqrt();
        let [mean, scale, inverse_variance, residual, count] =
            [mean, scale, inverse_variance, residual, count].map(|value| value as f32);
        Region { mean, scale, inverse_variance, residual, count }
    }

    /// `2 dV / HW` and `dmu / S`.
    fn pulled_back(&self, sum_g: f64, sum_gd: f64, plane: f64) -> [f32; 2] {
        let [scale, inverse_variance, residual, count] =
            [self.scale, self.inverse_variance, self.residual, self.count].map(f64::from);
        let by_square = -scale * inverse_variance * sum_gd / plane;
        [by_square as f32, ((-scale * sum_g - by_square * residual) / count) as f32]
    }
}

fn forward(cpu: &Cpu, params: &Params, [x, mask]: [&[f32]; 2], [regions, y]: [&mut [f32]; 2]) {
    let (channels, plane) = (params.channels as usize, params.plane as usize);
    let (pixels, eps) = (plane as f64, f64::from(params.eps));
    let regions: &mut [[Region; 2]] = bytemuck::cast_slice_mut(regions);
    let planes = y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).zip(regions).enumerate();
    planes.for_each(|(k, ((y, x), regions))| {
        let (mask, first) = (&mask[k / channels * plane..][..plane], f64::from(x[0]));
        let [masked, sum_all, sum_masked] = sum(cpu, [x, mask], move |[x, m]| [m, x - first, m * (x - first)]);
        let counts = [masked, pixels - masked].map(|count| if count == 0.0 { 1.0 } else { count });
        let means = [sum_masked / counts[0], (sum_all - sum_masked) / counts[1]];
        let sums = sum(cpu, [x, mask], move |[x, m]| {
            let weights = [m, 1.0 - m];
            let d = [0, 1].map(|r| weights[r] * (x - first - means[r]));
            [d[0] * d[0], d[1] * d[1], weights[0] * d[0], weights[1] * d[1]]
        });
        *regions = [0, 1].map(|r| Region::new(means[r], sums[r], sums[2 + r], counts[r], pixels, eps));
        let (&mut [inside, rest], first) = (regions, x[0]);
        map(cpu, [x, mask], [y], move |[x, m]| {
            let v = x - first;
            [m * (v - inside.mean) * inside.scale + (1.0 - m) * (v - rest.mean) * rest.scale]
        });
    });
}

fn backward(cpu: &Cpu, params: &Params, [x, mask, regions, dy]: [&[f32]; 4], [dx]: [&mut [f32]; 1]) {
    let (channels, plane) = (params.channels as usize, params.plane as usize);
    let regions: &[[Region; 2]] = bytemuck::cast_slice(regions);
    let planes = dx.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).zip(dy.par_chunks_exact(plane));
    planes.zip(regions).enumerate().for_each(|(k, (((dx, x), dy), &[inside, rest]))| {
        let (mask, first) = (&mask[k / channels * plane..][..plane], x[0]);
        let [mean, rest_mean] = [inside.mean, rest.mean].map(|mean| f64::from(first) + f64::from(mean));
        let sums = sum(cpu, [x, mask, dy], move |[x, m, dy]| {
            let (g, rest_g) = (m * dy, (1.0 - m) * dy);
            [g, g * (x - mean), rest_g, rest_g * (x - rest_mean)]
        });
        let [by_square, by_mean] = inside.pulled_back(sums[0], sums[1], plane as f64);
        let [rest_by_square, rest_by_mean] = rest.pulled_back(sums[2], sums[3], plane as f64);
        map(cpu, [x, mask, dy], [dx], move |[x, m, dy]| {
            let (v, r) = (x - first, 1.0 - m);
            [m * (inside.scale * dy + by_square * m * (v - inside.mean) + by_mean)
                + r * (rest.scale * dy + rest_by_square * r * (v - rest.mean) + rest_by_mean)]
        });
    });
}

/// `x` (N, C, H, W) standardized in two regions, `mask` (N, 1, H, W; values in [0, 1], fractional at edges) and
/// `1 - mask`. For each region, the rest of the plane is filled with the region's mean, instance norm standardizes the
/// plane, and the result is scaled by the square root of the region's share of the plane. The two results are added. An
/// empty region adds nothing. The mask gets no gradient.
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn mask_norm(x: &Tensor, mask: &Tensor, eps: f32) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("mask_norm", "x")?;
    mask.shape().check("mask_norm", "mask", &[n, 1, h, w])?;
    let params = Params { planes: (n * c) as u32, channels: c as u32, plane: (h * w) as u32, eps };
    let elements = x.numel() as u64;
    // Saved for backward: five numbers for each of the two regions of a plane.
    let regions = Tensor::empty(x.device(), &[n * c, 2, 5])?;
    let kernel = if h * w <= 256 { &FORWARD_SMALL } else { &FORWARD };
    let y = Tensor::empty(x.device(), &x.shape())?;
    let work = Work::groups(n * c).flops(25 * elements);
    x.device().launch(kernel, &params, &[x, mask], &[&regions, &y], work)?;

    let (saved_x, saved_mask) = (x.clone(), mask.detach());
    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.device(), &dy.shape())?;
        let work = Work::groups(n * c).flops(30 * elements);
        dy.device().launch(&BACKWARD, &params, &[&saved_x, &saved_mask, &regions, dy], &[&dx], work)?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
mod tests {
    use crate::instance_norm::tests::{moments, pull_back};
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    const EPS: f64 = 1e-5;

    /// Follows the paper literally, filling included.
    struct MaskNorm;

    struct Region {
        mask: Vec<f64>,
        filled: Vec<f64>,
        count: f64,
        share: f64,
    }

    impl Region {
        fn new(x: &[f64], mask: Vec<f64>) -> Region {
            let total = mask.iter().sum::<f64>();
            let count = if total == 0.0 { 1.0 } else { total };
            let mean = x.iter().zip(&mask).map(|(x, m)| x * m).sum::<f64>() / count;
            let filled = x.iter().zip(&mask).map(|(x, m)| m * x + (1.0 - m) * mean).collect();
            Region { mask, filled, count, share: (count / x.len() as f64).sqrt() }
        }

        fn forward(&self) -> Vec<f64> {
            let (mean, rstd) = moments(&self.filled, EPS);
            self.filled.iter().map(|v| (v - mean) * rstd * self.share).collect()
        }

        fn backward(&self, dy: &[f64]) -> Vec<f64> {
            let scaled: Vec<_> = dy.iter().map(|dy| dy * self.share).collect();
            let dv = pull_back(&self.filled, &scaled, EPS);
            let dmean = dv.iter().zip(&self.mask).map(|(dv, m)| dv * (1.0 - m)).sum::<f64>();
            dv.iter().zip(&self.mask).map(|(dv, m)| m * (dv + dmean / self.count)).collect()
        }
    }

    /// The masked region and the rest of each plane.
    fn regions(x: &Array, mask: &Array) -> Vec<[Region; 2]> {
        let [_, c, h, w] = x.nchw();
        let planes = x.data.chunks(h * w).enumerate();
        planes
            .map(|(k, plane)| {
                let m = &mask.data[k / c * h * w..][..h * w];
                [Region::new(plane, m.to_vec()), Region::new(plane, m.iter().map(|m| 1.0 - m).collect())]
            })
            .collect()
    }

    fn sum([a, b]: [Vec<f64>; 2]) -> Vec<f64> {
        a.iter().zip(&b).map(|(a, b)| a + b).collect()
    }

    impl Twin for MaskNorm {
        fn forward(&self, x: &[Array]) -> Array {
            let data = regions(&x[0], &x[1]).into_iter().flat_map(|r| sum(r.map(|r| r.forward()))).collect();
            Array::new(&x[0].shape, data)
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let plane = x[0].shape[2] * x[0].shape[3];
            let pairs = regions(&x[0], &x[1]).into_iter().zip(dy.data.chunks(plane));
            let data = pairs.flat_map(|(r, dy)| sum(r.map(|r| r.backward(dy)))).collect();
            vec![Some(Array::new(&x[0].shape, data)), None]
        }
    }

    #[test]
    fn matches_twin() {
        let empty = |_: f64| 0.0;
        let full = |_: f64| 1.0;
        let hard = |v: f64| f64::from(v > 0.3);
        let fractional = |v: f64| f64::from(v.abs() as f32);
        let soft_edge = |v: f64| f64::from((2.0 * v).clamp(0.0, 1.0) as f32);
        for kind in [empty, full, hard, fractional, soft_edge] {
            // More than two pixels: two always normalize to -1 and 1, so their gradient is pure rounding.
            for shape in [[2, 3, 5, 7], [3, 2, 17, 31], [1, 4, 5, 1]] {
                let mut random = Random::new(1);
                let [n, _, h, w] = shape;
                let mask = random.array(&[n, 1, h, w]).map(kind);
                check(&MaskNorm, &[random.array(&shape), mask], |t| super::mask_norm(&t[0], &t[1], EPS as f32));
            }
        }
    }

    /// A plane of one pixel equals its mean, so output and gradient are zero. Products with these masks are exact.
    #[test]
    fn one_pixel_matches_twin() {
        for m in [0.0, 0.5, 1.0] {
            let x = Random::new(1).array(&[2, 3, 1, 1]);
            check(&MaskNorm, &[x, Array::new(&[2, 1, 1, 1], vec![m; 2])], |t| {
                super::mask_norm(&t[0], &t[1], EPS as f32)
            });
        }
    }

    /// An example worked out by hand: three adjacent misaligned pixels in a plane of 25.
    #[test]
    fn worked_example() {
        let x = [1, 2, 3, 2, 2, 2, 2, 2, 2, 2, 1, 1, 3, 2, 3, 2, 2, 1, 2, 3, 3, 1, 2, 2, 2].map(|v| v as f32);
        let mut mask = [0.0; 25];
        mask[11..14].fill(1.0);
        let inside = (3.0f32 / 25.0).sqrt() * (25.0f32 / 2.0).sqrt();
        let outside = (22.0f32 / 25.0).sqrt() * (25.0f32 / 8.0).sqrt();
        let close = |got: f32, want: f32| assert!((got - want).abs() < 1e-5, "{got}, not {want}");
        for device in devices() {
            let x = Tensor::new(&device, &[1, 1, 5, 5], &x).unwrap();
            let mask = Tensor::new(&device, &[1, 1, 5, 5], &mask).unwrap();
            // An eps of 0 gives round numbers: the variances are 2 / 25 and 8 / 25.
            let y = super::mask_norm(&x, &mask, 0.0).unwrap().to_vec().unwrap();
            (11..14).zip([-inside, inside, 0.0]).for_each(|(i, want)| close(y[i], want));
            (0..3).zip([-outside, 0.0, outside]).for_each(|(i, want)| close(y[i], want));
        }
        // The source of the example rounds: -3.5 and 3.5 inside, 1.7 outside, before the scaling by the square roots.
        assert!((inside / (3.0f32 / 25.0).sqrt() - 3.5).abs() < 0.05);
        assert!((outside / (22.0f32 / 25.0).sqrt() - 1.7).abs() < 0.07);
    }
}
