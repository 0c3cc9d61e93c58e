//! The class of each pixel: the channel with the largest value.

use crate::kernel;
use alias_tensor::{Kernel, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(ARGMAX, GRID, MATH);
static FORWARD: Kernel = kernel("argmax", SOURCE, "forward");

params! { batch: u32, channels: u32, plane: u32 }

/// `torch.argmax(x, dim=1, keepdim=True)` of `x` (N, C, H, W), as float32 (N, 1, H, W): the first channel of those with
/// the largest value; NaN counts as larger than every number. Not differentiable.
///
/// # Errors
/// If `x` does not have four dimensions or the device reports an error.
pub fn argmax(x: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("argmax", "x")?;
    let params = Params { batch: n as u32, channels: c as u32, plane: (h * w) as u32 };
    let y = Tensor::empty(x.gpu(), &[n, 1, h, w])?;
    x.gpu().launch(&FORWARD, &params, &[x], &[&y], Work::threads(y.numel()).flops(x.numel() as u64))?;
    Ok(y)
}

#[cfg(test)]
pub(crate) mod tests {
    use alias_oracle::{Array, Random, Twin, check, gpu};
    use alias_tensor::Tensor;

    pub(crate) struct Argmax;

    impl Twin for Argmax {
        fn forward(&self, x: &[Array]) -> Array {
            let [n, channels, h, w] = x[0].nchw();
            Array::from_fn([n, 1, h, w], |[n, _, i, j]| {
                let larger = |best, c| if x[0][[n, c, i, j]] > x[0][[n, best, i, j]] { c } else { best };
                (0..channels).reduce(larger).unwrap() as f64
            })
        }

        fn backward(&self, _: &[Array], _: &Array) -> Vec<Option<Array>> {
            vec![None]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [[1, 1, 1, 1], [2, 3, 5, 7], [3, 13, 2, 1], [2, 5, 17, 31]] {
            // Few distinct values, so that many are equal.
            let x = Random::new(1).array(&shape).map(|x| (4.0 * x).round());
            check(&Argmax, &[x], |t| super::argmax(&t[0]));
        }
    }

    #[test]
    fn nan_and_infinities() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        for (x, class) in [
            ([1.0, nan, inf, nan], 1.0),
            ([nan, inf, nan, 2.0], 0.0),
            ([-inf, -inf, -inf, -inf], 0.0),
            ([-inf, 1.0, inf, inf], 2.0),
            ([0.0, -0.0, -1.0, nan], 3.0),
        ] {
            let y = super::argmax(&Tensor::new(gpu(), &[1, 4, 1, 1], &x).unwrap()).unwrap();
            assert_eq!(y.to_vec().unwrap(), [class], "{x:?}");
        }
    }
}
