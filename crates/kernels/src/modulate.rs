//! SPADE modulation (Park et al. 2019, equation 1; VITON-HD, equation 6): a normalized activation, scaled and shifted
//! by maps predicted from the segmentation.

use crate::kernel;
use alias_cpu::{Cpu, map};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(MODULATE, GRID);
static FORWARD: Kernel<OnCores<Params, 3, 1>> = kernel("modulate", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 3, 2>> = kernel("modulate", SOURCE, "backward").on_cores(backward);

params! { n: u32 }

fn forward(cpu: &Cpu, _: &Params, x_gamma_beta: [&[f32]; 3], y: [&mut [f32]; 1]) {
    map(cpu, x_gamma_beta, y, move |[x, gamma, beta]| [x * (1.0 + gamma) + beta]);
}

fn backward(cpu: &Cpu, _: &Params, x_gamma_dy: [&[f32]; 3], dx_and_dgamma: [&mut [f32]; 2]) {
    map(cpu, x_gamma_dy, dx_and_dgamma, move |[x, gamma, dy]| [dy * (1.0 + gamma), dy * x]);
}

/// `x * (1 + gamma) + beta`, all of one shape.
///
/// # Errors
/// If the shapes differ or the device reports an error.
pub fn modulate(x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<Tensor> {
    gamma.shape().check("modulate", "gamma", &x.shape())?;
    beta.shape().check("modulate", "beta", &x.shape())?;
    let n = x.numel();
    let params = Params { n: n as u32 };
    let work = Work::threads(n).flops(3 * n as u64);
    let y = Tensor::empty(x.device(), &x.shape())?;
    x.device().launch(&FORWARD, &params, &[x, gamma, beta], &[&y], work)?;

    let (saved_x, saved_gamma) = (x.clone(), gamma.clone());
    Ok(y.with_backward([x, gamma, beta], move |dy| {
        let dx = Tensor::empty(dy.device(), &dy.shape())?;
        let dgamma = Tensor::empty(dy.device(), &dy.shape())?;
        dy.device().launch(&BACKWARD, &params, &[&saved_x, &saved_gamma, dy], &[&dx, &dgamma], work)?;
        Ok([Some(dx), Some(dgamma), Some(dy.clone())])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    struct Modulate;

    impl Twin for Modulate {
        fn forward(&self, x: &[Array]) -> Array {
            x[0].zip(&x[1], |x, gamma| x * (1.0 + gamma)).zip(&x[2], |scaled, beta| scaled + beta)
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            vec![
                Some(dy.zip(&x[1], |dy, gamma| dy * (1.0 + gamma))),
                Some(dy.zip(&x[0], |dy, x| dy * x)),
                Some(dy.clone()),
            ]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [&[1][..], &[257], &[2, 3, 5, 7]] {
            let mut random = Random::new(1);
            let inputs = [random.array(shape), random.array(shape), random.array(shape)];
            check(&Modulate, &inputs, |t| super::modulate(&t[0], &t[1], &t[2]));
        }
    }
}
