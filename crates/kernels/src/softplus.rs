//! Softplus: `y = ln(1 + e^x)`, the log loss of a logit.

use crate::kernel;
use alias_tensor::{Kernel, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(SOFTPLUS, GRID, MATH);
static FORWARD: Kernel = kernel("softplus", SOURCE, "forward");
static BACKWARD: Kernel = kernel("softplus", SOURCE, "backward");

params! { n: u32 }

/// `ln(1 + e^x)`. Any shape. `binary_cross_entropy_with_logits` is `softplus(-x)` for target 1, `softplus(x)` for 0.
///
/// # Errors
/// If the device reports an error.
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    let n = x.numel();
    let params = Params { n: n as u32 };
    let y = Tensor::empty(x.gpu(), &x.shape())?;
    x.gpu().launch(&FORWARD, &params, &[x], &[&y], Work::threads(n).flops(40 * n as u64))?;

    let saved = x.clone();
    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.gpu(), &dy.shape())?;
        dy.gpu().launch(&BACKWARD, &params, &[&saved, dy], &[&dx], Work::threads(n).flops(20 * n as u64))?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check, gpu};
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
        let x = Random::new(1).array(&[301]).map(|x| f64::from((10.0 * x - 12.0) as f32));
        check(&Softplus, &[x], |t| super::softplus(&t[0]));
    }

    #[test]
    fn extremes_and_nan() {
        let x = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, 100.0, -1000.0];
        let y = super::softplus(&Tensor::new(gpu(), &[5], &x).unwrap()).unwrap().to_vec().unwrap();
        assert!(y[0].is_nan() && y[1] < 1e-30 && y[2] == f32::INFINITY && y[3] == 100.0 && y[4] < 1e-30, "{y:?}");
    }
}
