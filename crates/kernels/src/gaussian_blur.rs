//! Gaussian blur.

use crate::kernel;
use alias_cpu::Cpu;
use alias_tensor::{Error, Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(GAUSSIAN_BLUR, GRID);
static FORWARD: Kernel<OnCores<Params, 2, 1>> = kernel("gaussian_blur", SOURCE, "forward").on_cores(forward);

params! { n: u32, taps: u32, length: u32, stride: u32 }

/// Elements that are computed at once.
const RUN: usize = 4096;

fn forward(cpu: &Cpu, params: &Params, [x, weights]: [&[f32]; 2], [y]: [&mut [f32]; 1]) {
    let (axis, stride) = ((params.length * params.stride) as usize, params.stride as usize);
    let behind = weights.len() / 2 * stride;
    y.par_chunks_exact_mut(axis).zip(x.par_chunks_exact(axis)).for_each(|(y, x)| {
        y.par_chunks_mut(RUN).enumerate().for_each(|(run, y)| {
            y.fill(0.0);
            for (k, &weight) in weights.iter().enumerate() {
                // y[i] gets x[at + i - behind] where that lies inside.
                let at = run * RUN + k * stride;
                let (first, end) = (behind.saturating_sub(at), y.len().min((axis + behind).saturating_sub(at)));
                if first < end {
                    add_weighted(cpu, weight, &x[at + first - behind..], &mut y[first..end]);
                }
            }
        });
    });
}

/// Adds `weight * x` to `y`.
pub(crate) fn add_weighted(cpu: &Cpu, weight: f32, x: &[f32], y: &mut [f32]) {
    cpu.dispatch(
        #[inline(always)]
        || y.iter_mut().zip(x).for_each(|(y, x)| *y += weight * x),
    );
}

/// Each channel of `x` (N, C, H, W) convolved with a normalized Gaussian of `size` by `size` pixels and standard
/// deviation `sigma`, in pixels. What lies outside counts as 0, so values fall towards the border. Not differentiable.
///
/// # Errors
/// If `x` does not have four dimensions, `size` is even or over 255, `sigma` is not above 0, or the device reports an
/// error.
pub fn gaussian_blur(x: &Tensor, size: usize, sigma: f64) -> Result<Tensor> {
    let [_, _, h, w] = x.shape().nchw("gaussian_blur", "x")?;
    if size.is_multiple_of(2) || size > 255 {
        return Err(Error::argument("gaussian_blur", "size", size, "an odd number up to 255"));
    }
    if sigma.is_nan() || sigma <= 0.0 {
        return Err(Error::argument("gaussian_blur", "sigma", sigma, "a number above 0"));
    }
    let weight = Tensor::new(x.device(), &[size], &weights(size, sigma))?;
    let along = |x: &Tensor, length: usize, stride: usize| {
        let n = x.numel();
        let params = Params { n: n as u32, taps: size as u32, length: length as u32, stride: stride as u32 };
        let y = Tensor::empty(x.device(), &x.shape())?;
        let work = Work::threads(n).flops(2 * (n * size) as u64);
        x.device().launch(&FORWARD, &params, &[x, &weight], &[&y], work)?;
        Ok(y)
    };
    along(&along(x, h, w)?, w, 1)
}

/// The Gaussian's values, which sum to 1, rounded once.
fn weights(size: usize, sigma: f64) -> Vec<f32> {
    let distance = |k: usize| k as f64 - (size / 2) as f64;
    let bell: Vec<f64> = (0..size).map(|k| (-distance(k).powi(2) / (2.0 * sigma * sigma)).exp()).collect();
    let total: f64 = bell.iter().sum();
    bell.iter().map(|value| (value / total) as f32).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    pub(crate) struct GaussianBlur {
        pub(crate) size: usize,
        pub(crate) sigma: f64,
    }

    impl Twin for GaussianBlur {
        fn forward(&self, x: &[Array]) -> Array {
            let half = (self.size / 2) as isize;
            let bell = |k: isize| (-(k * k) as f64 / (2.0 * self.sigma * self.sigma)).exp();
            let total: f64 = (-half..=half).map(bell).sum();
            let [_, _, h, w] = x[0].nchw();
            Array::from_fn(x[0].nchw(), |[n, c, i, j]| {
                let mut sum = 0.0;
                for dy in -half..=half {
                    for dx in -half..=half {
                        if let (Some(y), Some(x_)) = (i.checked_add_signed(dy), j.checked_add_signed(dx))
                            && y < h
                            && x_ < w
                        {
                            sum += bell(dy) * bell(dx) / (total * total) * x[0][[n, c, y, x_]];
                        }
                    }
                }
                sum
            })
        }

        fn backward(&self, _: &[Array], _: &Array) -> Vec<Option<Array>> {
            vec![None]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, size, sigma) in [
            ([1, 1, 1, 1], 15, 3.0),
            ([2, 3, 5, 7], 1, 1.0),
            ([2, 3, 5, 7], 15, 3.0), // larger than the picture
            ([1, 2, 31, 17], 15, 3.0),
            ([3, 1, 4, 20], 5, 0.7),
            ([1, 1, 65, 67], 7, 1.5),
        ] {
            let x = Random::new(1).array(&shape);
            check(&GaussianBlur { size, sigma }, &[x], |t| super::gaussian_blur(&t[0], size, sigma));
        }
    }
}
