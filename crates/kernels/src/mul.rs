//! Elementwise product of two tensors.

use crate::kernel;
use alias_cpu::{Cpu, map};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(MUL, GRID);
static FORWARD: Kernel<OnCores<Params, 2, 1>> = kernel("mul", SOURCE, "forward").on_cores(forward);

params! { n: u32 }

fn forward(cpu: &Cpu, _: &Params, a_and_b: [&[f32]; 2], y: [&mut [f32]; 1]) {
    map(cpu, a_and_b, y, move |[a, b]| [a * b]);
}

/// `a * b`, both of one shape.
///
/// # Errors
/// If the shapes differ or the device reports an error.
pub fn mul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    b.shape().check("mul", "b", &a.shape())?;
    let (saved_a, saved_b) = (a.clone(), b.clone());
    Ok(product(a, b)?.with_backward([a, b], move |dy| {
        let da = saved_a.is_tracked().then(|| product(dy, &saved_b)).transpose()?;
        let db = saved_b.is_tracked().then(|| product(dy, &saved_a)).transpose()?;
        Ok([da, db])
    }))
}

fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let n = a.numel();
    let y = Tensor::empty(a.device(), &a.shape())?;
    a.device().launch(&FORWARD, &Params { n: n as u32 }, &[a, b], &[&y], Work::threads(n).flops(n as u64))?;
    Ok(y)
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    struct Mul;

    impl Twin for Mul {
        fn forward(&self, x: &[Array]) -> Array {
            x[0].zip(&x[1], |a, b| a * b)
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            vec![Some(dy.zip(&x[1], |dy, b| dy * b)), Some(dy.zip(&x[0], |dy, a| dy * a))]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [&[1][..], &[257], &[2, 3, 5, 7]] {
            let mut random = Random::new(1);
            check(&Mul, &[random.array(shape), random.array(shape)], |t| super::mul(&t[0], &t[1]));
        }
    }

    /// One leaf gets three gradients, which the tape has to add up.
    struct Reused;

    impl Twin for Reused {
        fn forward(&self, x: &[Array]) -> Array {
            x[0].map(|x| x * (1.0 + x * x) + x * x)
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            vec![Some(x[0].zip(dy, |x, dy| dy * (1.0 + 3.0 * x * x + 2.0 * x)))]
        }
    }

    #[test]
    fn a_tensor_used_many_times_gets_the_sum_of_its_gradients() {
        for shape in [&[1][..], &[257], &[1024], &[2, 3, 5, 7]] {
            check(&Reused, &[Random::new(1).array(shape)], |t| {
                let square = super::mul(&t[0], &t[0])?;
                crate::modulate(&t[0], &square, &square, 1.0)
            });
        }
    }
}
