//! A tensor times a number.

use crate::kernel;
use alias_cpu::{Cpu, map};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(SCALE, GRID);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("scale", SOURCE, "forward").on_cores(forward);

params! { n: u32, factor: f32 }

fn forward(cpu: &Cpu, &Params { factor, .. }: &Params, x: [&[f32]; 1], y: [&mut [f32]; 1]) {
    map(cpu, x, y, move |[x]| [factor * x]);
}

/// `factor * x`. Any shape.
///
/// # Errors
/// If the device reports an error.
pub fn scale(x: &Tensor, factor: f32) -> Result<Tensor> {
    Ok(scaled(x, factor)?.with_backward([x], move |dy| Ok([Some(scaled(dy, factor)?)])))
}

fn scaled(x: &Tensor, factor: f32) -> Result<Tensor> {
    let n = x.numel();
    let y = Tensor::empty(x.device(), &x.shape())?;
    x.device().launch(&FORWARD, &Params { n: n as u32, factor }, &[x], &[&y], Work::threads(n).flops(n as u64))?;
    Ok(y)
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    struct Scale {
        factor: f64,
    }

    impl Twin for Scale {
        fn forward(&self, x: &[Array]) -> Array {
            x[0].map(|x| self.factor * x)
        }

        fn backward(&self, _: &[Array], dy: &Array) -> Vec<Option<Array>> {
            vec![Some(dy.map(|dy| self.factor * dy))]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [&[1][..], &[257], &[2, 3, 5, 7]] {
            check(&Scale { factor: -1.75 }, &[Random::new(1).array(shape)], |t| super::scale(&t[0], -1.75));
        }
    }
}
