//! Sum of two tensors.

use crate::kernel;
use alias_tensor::{Kernel, Result, Tensor, Work};

const SOURCE: &str = wgsl!("add", "grid");
static FORWARD: Kernel = kernel("add", SOURCE, "forward");

params! { n: u32 }

/// `a + b`, of one shape.
///
/// # Errors
/// Where the shapes differ; what the device reports.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    b.shape().expect("add", "b", &a.shape())?;
    let n = a.elements();
    let y = Tensor::empty(a.gpu(), &a.shape())?;
    a.gpu().launch(&FORWARD, &Params { n: n as u32 }, &[a, b, &y], Work::threads(n).flops(n as u64))?;
    Ok(y.with_backward([a, b], |dy| Ok([Some(dy.clone()), Some(dy.clone())])))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    struct Add;

    impl Twin for Add {
        fn forward(&self, x: &[Array]) -> Array {
            x[0].zip(&x[1], |a, b| a + b)
        }

        fn backward(&self, _: &[Array], dy: &Array) -> Vec<Option<Array>> {
            vec![Some(dy.clone()), Some(dy.clone())]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [&[1][..], &[257], &[2, 3, 5, 7]] {
            let mut random = Random::new(1);
            check(&Add, &[random.array(shape), random.array(shape)], |t| super::add(&t[0], &t[1]));
        }
    }
}
