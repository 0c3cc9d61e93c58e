//! Softplus: `y = ln(1 + e^x)`, the log loss of a logit.

use crate::kernel;
use alias_cpu::{Cpu, Formula, exp, log, map_formula, sigmoid};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use pulp::Simd;

const SOURCE: &[&str] = wgsl!(SOFTPLUS, GRID, MATH);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("softplus", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 2, 1>> = kernel("softplus", SOURCE, "backward").on_cores(backward);

params! { n: u32 }

#[derive(Clone, Copy)]
struct Softplus;

impl Formula<1> for Softplus {
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, [x]: [S::f32s; 1]) -> S::f32s {
        let k = |value: f32| simd.splat_f32s(value);
        // Below -80, e^x is negligible.
        let magnitude = simd.min_f32s(simd.abs_f32s(x), k(80.0));
        let t = exp(simd, simd.sub_f32s(k(0.0), magnitude));
        // ln(1 + t): what 1 + t loses when it is rounded is added to the logarithm.
        let sum = simd.add_f32s(k(1.0), t);
        let lost = simd.sub_f32s(t, simd.sub_f32s(sum, k(1.0)));
        let log1p = simd.add_f32s(log(simd, sum), simd.div_f32s(lost, sum));
        // Not x > 0, so that NaN passes through.
        let positive = simd.select_f32s(simd.less_than_or_equal_f32s(x, k(0.0)), k(0.0), x);
        simd.add_f32s(positive, log1p)
    }
}

#[derive(Clone, Copy)]
struct SoftplusGradient;

impl Formula<2> for SoftplusGradient {
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, [x, dy]: [S::f32s; 2]) -> S::f32s {
        simd.mul_f32s(dy, sigmoid(simd, x))
    }
}

fn forward(cpu: &Cpu, _: &Params, x: [&[f32]; 1], [y]: [&mut [f32]; 1]) {
    map_formula(cpu, x, y, Softplus);
}

fn backward(cpu: &Cpu, _: &Params, x_and_dy: [&[f32]; 2], [dx]: [&mut [f32]; 1]) {
    map_formula(cpu, x_and_dy, dx, SoftplusGradient);
}

/// `ln(1 + e^x)`. Any shape. `binary_cross_entropy_with_logits` is `softplus(-x)` for target 1, `softplus(x)` for 0.
///
/// # Errors
/// If the device reports an error.
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    let n = x.numel();
    let params = Params { n: n as u32 };
    let y = Tensor::empty(x.device(), &x.shape())?;
    x.device().launch(&FORWARD, &params, &[x], &[&y], Work::threads(n).flops(40 * n as u64))?;

    let saved = x.clone();
    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.device(), &dy.shape())?;
        dy.device().launch(&BACKWARD, &params, &[&saved, dy], &[&dx], Work::threads(n).flops(20 * n as u64))?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    struct Softplus;

    impl Twin for Softplus {
        fn forward(&self, x: &[Array]) -> Array {
            x[0].map(|x| x.max(0.0) + (-x.abs()).exp().ln_1p())
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            vec![Some(x[0].zip(dy, |x, dy| dy / (1.0 + (-x).exp())))]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, range) in [(&[1][..], 1.0), (&[257], 0.01), (&[1024], 4.0), (&[2, 3, 5, 7], 30.0)] {
            let x = Random::new(1).array(shape).map(|x| f64::from((x * range) as f32));
            check(&Softplus, &[x], |t| super::softplus(&t[0]));
        }
    }

    /// Small results alone: beside large ones they would not affect the relative L2 error.
    #[test]
    fn tails_match_twin() {
        for range in [10.0, 1.0] {
            let x = Random::new(1).array(&[301]).map(|x| f64::from((range * x - 12.0) as f32));
            check(&Softplus, &[x], |t| super::softplus(&t[0]));
        }
    }

    #[test]
    fn extremes_and_nan() {
        let x = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, 100.0, -1000.0];
        for device in devices() {
            let y = super::softplus(&Tensor::new(&device, &[5], &x).unwrap()).unwrap().to_vec().unwrap();
            assert!(y[0].is_nan() && y[1] < 1e-30 && y[2] == f32::INFINITY && y[3] == 100.0 && y[4] < 1e-30, "{y:?}");
        }
    }
}
