//! SPADE modulation (Park et al. 2019, equation 1; VITON-HD, equation 6): a normalized activation, scaled and shifted
//! by maps predicted from the segmentation; and the leaky ReLU after it.

use crate::kernel;
use alias_cpu::{Cpu, map};
use alias_tensor::{Error, Kernel, OnCores, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(MODULATE, GRID);
static FORWARD: Kernel<OnCores<Params, 3, 1>> = kernel("modulate", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 4, 3>> = kernel("modulate", SOURCE, "backward").on_cores(backward);

params! { n: u32, slope: f32 }

fn forward(cpu: &Cpu, &Params { slope, .. }: &Params, x_gamma_beta: [&[f32]; 3], y: [&mut [f32]; 1]) {
    map(cpu, x_gamma_beta, y, move |[x, gamma, beta]| {
        let v = x * (1.0 + gamma) + beta;
        [if v > 0.0 { v } else { slope * v }]
    });
}

fn backward(cpu: &Cpu, &Params { slope, .. }: &Params, x_gamma_y_dy: [&[f32]; 4], gradients: [&mut [f32]; 3]) {
    map(cpu, x_gamma_y_dy, gradients, move |[x, gamma, y, dy]| {
        let dv = if y > 0.0 { dy } else { slope * dy };
        [dv * (1.0 + gamma), dv * x, dv]
    });
}

/// `leaky_relu(x * (1 + gamma) + beta, slope)`, all of one shape. A `slope` of 1 leaves it at the modulation.
///
/// # Errors
/// If the shapes differ, `slope` is not positive, or the device reports an error.
pub fn modulate(x: &Tensor, gamma: &Tensor, beta: &Tensor, slope: f32) -> Result<Tensor> {
    check_slope("modulate", slope)?;
    gamma.shape().check("modulate", "gamma", &x.shape())?;
    beta.shape().check("modulate", "beta", &x.shape())?;
    let n = x.numel();
    let params = Params { n: n as u32, slope };
    let work = Work::threads(n).flops(4 * n as u64);
    let y = Tensor::empty(x.device(), &x.shape())?;
    x.device().launch(&FORWARD, &params, &[x, gamma, beta], &[&y], work)?;

    let (saved_x, saved_gamma, saved_y) = (x.clone(), gamma.clone(), y.detach());
    Ok(y.with_backward([x, gamma, beta], move |dy| {
        let gradient = || Tensor::empty(dy.device(), &dy.shape());
        let [dx, dgamma, dbeta] = [gradient()?, gradient()?, gradient()?];
        let inputs = [&saved_x, &saved_gamma, &saved_y, dy];
        dy.device().launch(&BACKWARD, &params, &inputs, &[&dx, &dgamma, &dbeta], work)?;
        Ok([Some(dx), Some(dgamma), Some(dbeta)])
    }))
}

/// An error unless `slope` is positive: then the result has the sign of what leaky ReLU is applied to, and going back needs
/// nothing else.
pub(crate) fn check_slope(op: &'static str, slope: f32) -> Result<()> {
    if slope > 0.0 { Ok(()) } else { Err(Error::argument(op, "slope", slope, "positive")) }
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    struct Modulate {
        slope: f64,
    }

    impl Twin for Modulate {
        fn forward(&self, x: &[Array]) -> Array {
            let modulated = x[0].zip(&x[1], |x, gamma| x * (1.0 + gamma)).zip(&x[2], |scaled, beta| scaled + beta);
            modulated.map(|v| if v > 0.0 { v } else { self.slope * v })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let modulated = x[0].zip(&x[1], |x, gamma| x * (1.0 + gamma)).zip(&x[2], |scaled, beta| scaled + beta);
            let dv = dy.zip(&modulated, |dy, v| if v > 0.0 { dy } else { self.slope * dy });
            vec![Some(dv.zip(&x[1], |dv, gamma| dv * (1.0 + gamma))), Some(dv.zip(&x[0], |dv, x| dv * x)), Some(dv)]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, slope) in [(&[1][..], 1.0), (&[257], 0.25), (&[2, 3, 5, 7], 0.25), (&[3, 41, 11], 1.0)] {
            let mut random = Random::new(1);
            let inputs = [random.array(shape), random.array(shape), random.array(shape)];
            check(&Modulate { slope }, &inputs, |t| super::modulate(&t[0], &t[1], &t[2], slope as f32));
        }
    }

    #[test]
    fn a_slope_that_loses_the_sign_is_refused() {
        for device in devices() {
            let x = Tensor::new(&device, &[1], &[1.0]).unwrap();
            for slope in [0.0, -1.0, f32::NAN] {
                assert!(super::modulate(&x, &x, &x, slope).is_err());
            }
        }
    }
}
