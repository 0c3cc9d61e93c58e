//! One scale and one shift per channel: `y[n, c] = x[n, c] * weight[c] + bias[c]`, the affine part of a normalization.

use crate::kernel;
use alias_tensor::{Kernel, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(AFFINE, GRID, REDUCE);
static FORWARD: Kernel = kernel("affine", SOURCE, "forward");
static BACKWARD: Kernel = kernel("affine", SOURCE, "backward");
static BACKWARD_WEIGHT: Kernel = kernel("affine", SOURCE, "backward_weight");

params! { batch: u32, channels: u32, plane: u32 }

/// `x` (N, C, H, W) times `weight` (C) plus `bias` (C).
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn affine(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("affine", "x")?;
    weight.shape().check("affine", "weight", &[c])?;
    bias.shape().check("affine", "bias", &[c])?;
    let params = Params { batch: n as u32, channels: c as u32, plane: (h * w) as u32 };
    let elements = x.numel();
    let y = Tensor::empty(x.gpu(), &x.shape())?;
    let work = Work::threads(elements).flops(2 * elements as u64);
    x.gpu().launch(&FORWARD, &params, &[weight, x, bias], &[&y], work)?;

    let (saved_x, saved_weight) = (x.clone(), weight.clone());
    let learned = weight.is_tracked() || bias.is_tracked();
    Ok(y.with_backward([x, weight, bias], move |dy| {
        let gpu = dy.gpu();
        let by_input = || {
            let dx = Tensor::empty(gpu, &dy.shape())?;
            let work = Work::threads(elements).flops(elements as u64);
            gpu.launch(&BACKWARD, &params, &[&saved_weight, dy], &[&dx], work)?;
            Ok(dx)
        };
        let dx = saved_x.is_tracked().then(by_input).transpose()?;
        if !learned {
            return Ok([dx, None, None]);
        }
        let (dw, db) = (Tensor::empty(gpu, &[c])?, Tensor::empty(gpu, &[c])?);
        let work = Work::groups(c).flops(3 * elements as u64);
        gpu.launch(&BACKWARD_WEIGHT, &params, &[&saved_x, dy], &[&dw, &db], work)?;
        Ok([dx, Some(dw), Some(db)])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    struct Affine;

    impl Twin for Affine {
        fn forward(&self, x: &[Array]) -> Array {
            Array::from_fn(x[0].nchw(), |at| x[0][at] * x[1][[at[1]]] + x[2][[at[1]]])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let (mut dw, mut db) = (Array::zeros(&x[1].shape), Array::zeros(&x[2].shape));
            let dx = Array::from_fn(x[0].nchw(), |at| {
                dw[[at[1]]] += dy[at] * x[0][at];
                db[[at[1]]] += dy[at];
                dy[at] * x[1][[at[1]]]
            });
            vec![Some(dx), Some(dw), Some(db)]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [[1, 1, 1, 1], [2, 3, 5, 7], [3, 5, 17, 19]] {
            let mut random = Random::new(1);
            let inputs = [random.array(&shape), random.array(&[shape[1]]), random.array(&[shape[1]])];
            check(&Affine, &inputs, |t| super::affine(&t[0], &t[1], &t[2]));
        }
    }
}
