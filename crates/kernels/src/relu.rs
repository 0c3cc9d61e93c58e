//! ReLU: `y = max(x, 0)`.

use crate::kernel;
use alias_cpu::{Cpu, map};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(RELU, GRID);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("relu", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 2, 1>> = kernel("relu", SOURCE, "backward").on_cores(backward);

params! { n: u32 }

fn forward(cpu: &Cpu, _: &Params, x: [&[f32]; 1], y: [&mut [f32]; 1]) {
    // Not `x > 0.0`, so that NaN passes through.
    map(cpu, x, y, move |[x]| [if x <= 0.0 { 0.0 } else { x }]);
}

fn backward(cpu: &Cpu, _: &Params, y_and_dy: [&[f32]; 2], dx: [&mut [f32]; 1]) {
    map(cpu, y_and_dy, dx, move |[y, dy]| [if y > 0.0 { dy } else { 0.0 }]);
}

/// `x` where it is positive, 0 elsewhere. Any shape. NaN stays NaN.
///
/// # Errors
/// If the device reports an error.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    let n = x.numel();
    let params = Params { n: n as u32 };
    let work = Work::threads(n).flops(n as u64);
    let y = Tensor::empty(x.device(), &x.shape())?;
    x.device().launch(&FORWARD, &params, &[x], &[&y], work)?;

    // y > 0 where x > 0. The next operation keeps y alive anyway, so saving y lets x be freed.
    let saved = y.detach();
    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.device(), &dy.shape())?;
        dy.device().launch(&BACKWARD, &params, &[&saved, dy], &[&dx], work)?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    struct Relu;

    impl Twin for Relu {
        fn forward(&self, x: &[Array]) -> Array {
            x[0].map(|x| if x > 0.0 { x } else { 0.0 })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            vec![Some(x[0].zip(dy, |x, dy| if x > 0.0 { dy } else { 0.0 }))]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [&[1][..], &[257], &[2, 3, 5, 7]] {
            check(&Relu, &[Random::new(1).array(shape)], |t| super::relu(&t[0]));
        }
    }

    #[test]
    fn keeps_nan_and_drops_minus_infinity() {
        for device in devices() {
            let x = Tensor::new(&device, &[3], &[f32::NAN, f32::NEG_INFINITY, f32::INFINITY]).unwrap();
            let y = super::relu(&x).unwrap().to_vec().unwrap();
            assert!(y[0].is_nan() && y[1] == 0.0 && y[2] == f32::INFINITY, "{y:?}");
        }
    }

    /// As in PyTorch, the gradient at 0 is 0.
    #[test]
    fn around_zero() {
        for device in devices() {
            let x = Tensor::new(&device, &[5], &[0.0, -0.0, 1e-30, -1e-30, 1e-3]).unwrap().requires_grad();
            let y = super::relu(&x).unwrap();
            assert_eq!(y.to_vec().unwrap(), [0.0, 0.0, 1e-30, 0.0, 1e-3]);
            let dy = Tensor::new(&device, &[5], &[1.0; 5]).unwrap();
            assert_eq!(y.backward(&dy).unwrap().get(&x).unwrap().to_vec().unwrap(), [0.0, 0.0, 1.0, 0.0, 1.0]);
        }
    }
}
