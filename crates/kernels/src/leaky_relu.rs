//! Leaky ReLU: `y = x > 0 ? x : slope * x`.

use crate::kernel;
use alias_cpu::{Cpu, map};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(LEAKY_RELU, GRID);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("leaky_relu", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 2, 1>> = kernel("leaky_relu", SOURCE, "backward").on_cores(backward);

params! { n: u32, slope: f32 }

fn forward(cpu: &Cpu, &Params { slope, .. }: &Params, x: [&[f32]; 1], y: [&mut [f32]; 1]) {
    map(cpu, x, y, move |[x]| [if x > 0.0 { x } else { slope * x }]);
}

fn backward(cpu: &Cpu, &Params { slope, .. }: &Params, saved_and_dy: [&[f32]; 2], dx: [&mut [f32]; 1]) {
    map(cpu, saved_and_dy, dx, move |[saved, dy]| [if saved > 0.0 { dy } else { slope * dy }]);
}

/// `x` where it is positive, `slope * x` elsewhere. Any shape.
///
/// # Errors
/// If the device reports an error.
pub fn leaky_relu(x: &Tensor, slope: f32) -> Result<Tensor> {
    let n = x.numel();
    let y = Tensor::empty(x.device(), &x.shape())?;
    let params = Params { n: n as u32, slope };
    x.device().launch(&FORWARD, &params, &[x], &[&y], Work::threads(n).flops(n as u64))?;

    // With a positive slope, y > 0 where x > 0. The next operation keeps y alive anyway, so saving y lets x be freed.
    let saved = if slope > 0.0 { y.detach() } else { x.detach() };
    Ok(y.with_backward([x], move |dy| Ok([Some(pull_back(&saved, dy, slope)?)])))
}

/// The gradient `dy` pulled back through leaky ReLU: times `slope` where `saved` is not positive. `saved` is what leaky
/// ReLU was applied to, or anything that is positive at the same places.
pub(crate) fn pull_back(saved: &Tensor, dy: &Tensor, slope: f32) -> Result<Tensor> {
    let n = dy.numel();
    let dx = Tensor::empty(dy.device(), &dy.shape())?;
    let params = Params { n: n as u32, slope };
    dy.device().launch(&BACKWARD, &params, &[saved, dy], &[&dx], Work::threads(n).flops(n as u64))?;
    Ok(dx)
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    struct LeakyRelu {
        slope: f64,
    }

    impl Twin for LeakyRelu {
        fn forward(&self, x: &[Array]) -> Array {
            x[0].map(|x| if x > 0.0 { x } else { self.slope * x })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            vec![Some(x[0].zip(dy, |x, dy| if x > 0.0 { dy } else { self.slope * dy }))]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [&[1][..], &[257], &[2, 3, 5, 7]] {
            for slope in [0.25f32, 0.01] {
                let twin = LeakyRelu { slope: f64::from(slope) };
                check(&twin, &[Random::new(1).array(shape)], |t| super::leaky_relu(&t[0], slope));
            }
        }
    }

    /// As in PyTorch, the gradient at 0 is the slope.
    #[test]
    fn around_zero() {
        for device in devices() {
            let x = Tensor::new(&device, &[4], &[0.0, -0.0, 1e-30, -1e-30]).unwrap().requires_grad();
            let y = super::leaky_relu(&x, 0.25).unwrap();
            assert_eq!(y.to_vec().unwrap(), [0.0, -0.0, 1e-30, -0.25e-30]);
            let dy = Tensor::new(&device, &[4], &[1.0; 4]).unwrap();
            assert_eq!(y.backward(&dy).unwrap().get(&x).unwrap().to_vec().unwrap(), [0.25, 0.25, 1.0, 0.25]);
        }
    }
}
