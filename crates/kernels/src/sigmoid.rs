//! Logistic sigmoid.

use crate::kernel;
use alias_cpu::{Cpu, Formula, map, map_formula};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use pulp::Simd;

const SOURCE: &[&str] = wgsl!(SIGMOID, GRID, MATH);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("sigmoid", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 2, 1>> = kernel("sigmoid", SOURCE, "backward").on_cores(backward);

params! { n: u32 }

#[derive(Clone, Copy)]
struct Sigmoid;

impl Formula<1> for Sigmoid {
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, [x]: [S::f32s; 1]) -> S::f32s {
        let is_zero = simd.less_than_f32s(x, simd.splat_f32s(-87.0));
        simd.select_f32s(is_zero, simd.splat_f32s(0.0), alias_cpu::sigmoid(simd, x))
    }
}

fn forward(cpu: &Cpu, _: &Params, x: [&[f32]; 1], [y]: [&mut [f32]; 1]) {
    map_formula(cpu, x, y, Sigmoid);
}

fn backward(cpu: &Cpu, _: &Params, y_and_dy: [&[f32]; 2], dx: [&mut [f32]; 1]) {
    map(cpu, y_and_dy, dx, move |[y, dy]| [dy * y * (1.0 - y)]);
}

/// `1 / (1 + e^-x)`, within three units in the last place on every adapter; exactly 0 for `x` below -87. Any shape.
///
/// # Errors
/// If the device reports an error.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    let n = x.numel();
    let params = Params { n: n as u32 };
    let y = Tensor::empty(x.device(), &x.shape())?;
    x.device().launch(&FORWARD, &params, &[x], &[&y], Work::threads(n).flops(20 * n as u64))?;

    let saved = y.detach();
    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.device(), &dy.shape())?;
        dy.device().launch(&BACKWARD, &params, &[&saved, dy], &[&dx], Work::threads(n).flops(3 * n as u64))?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    struct Sigmoid;

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    impl Twin for Sigmoid {
        fn forward(&self, x: &[Array]) -> Array {
            x[0].map(sigmoid)
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            vec![Some(x[0].zip(dy, |x, dy| dy * sigmoid(x) * sigmoid(-x)))]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, range) in [(&[1][..], 1.0), (&[257], 0.01), (&[2, 3, 5, 7], 2.0), (&[301], 20.0)] {
            let x = Random::new(1).array(shape).map(|x| f64::from((x * range) as f32));
            check(&Sigmoid, &[x], |t| super::sigmoid(&t[0]));
        }
    }

    /// Small results alone: beside large ones they would not affect the relative L2 error.
    #[test]
    fn tails_match_twin() {
        let x = Random::new(1).array(&[301]).map(|x| f64::from((x - 80.0) as f32));
        check(&Sigmoid, &[x], |t| super::sigmoid(&t[0]));
    }

    #[test]
    fn saturates_and_keeps_nan() {
        let x = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, 1e30, -1e30, -88.0, 40.0, 0.0];
        for device in devices() {
            let y = super::sigmoid(&Tensor::new(&device, &[8], &x).unwrap()).unwrap().to_vec().unwrap();
            assert!(y[0].is_nan());
            assert_eq!(y[1..], [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.5]);
        }
    }
}
