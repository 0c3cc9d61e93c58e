//! Linear layers.

use crate::conv2d;
use alias_tensor::{Result, Tensor};

/// `torch.nn.functional.linear(x.flatten(1), weight, bias)`: `x` (N, C, H, W), `weight` (outputs, C H W), `bias`
/// (outputs); the result is (N, outputs, 1, 1). It is a 1x1 convolution of a picture with one pixel.
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("linear", "x")?;
    let (inputs, outputs) = (c * h * w, bias.numel());
    weight.shape().check("linear", "weight", &[outputs, inputs])?;
    bias.shape().check("linear", "bias", &[outputs])?;
    conv2d(&x.reshape(&[n, inputs, 1, 1])?, &weight.reshape(&[outputs, inputs, 1, 1])?, Some(bias), 1, 0)
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    struct Linear;

    impl Twin for Linear {
        fn forward(&self, x: &[Array]) -> Array {
            let (n, [outputs, inputs]) = (x[0].shape[0], [x[1].shape[0], x[1].shape[1]]);
            Array::from_fn([n, outputs, 1, 1], |[n, o, _, _]| {
                let products = (0..inputs).map(|i| x[1][[o, i]] * x[0].data[n * inputs + i]);
                x[2][[o]] + products.sum::<f64>()
            })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let (batch, [outputs, inputs]) = (x[0].shape[0], [x[1].shape[0], x[1].shape[1]]);
            let mut gradients: Vec<_> = x.iter().map(|x| Array::zeros(&x.shape)).collect();
            for n in 0..batch {
                for o in 0..outputs {
                    let g = dy[[n, o, 0, 0]];
                    gradients[2][[o]] += g;
                    for i in 0..inputs {
                        gradients[0].data[n * inputs + i] += g * x[1][[o, i]];
                        gradients[1][[o, i]] += g * x[0].data[n * inputs + i];
                    }
                }
            }
            gradients.into_iter().map(Some).collect()
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, outputs) in [([1, 1, 1, 1], 1), ([2, 3, 5, 7], 11), ([3, 64, 4, 3], 50), ([17, 5, 1, 2], 3)] {
            let mut random = Random::new(1);
            let inputs = shape[1] * shape[2] * shape[3];
            let x = [random.array(&shape), random.array(&[outputs, inputs]), random.array(&[outputs])];
            check(&Linear, &x, |t| super::linear(&t[0], &t[1], &t[2]));
        }
    }
}
