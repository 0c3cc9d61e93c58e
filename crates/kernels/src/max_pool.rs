//! Max pooling, 2x2, stride 2, as VGG uses it.

use crate::kernel;
use alias_tensor::{Error, Kernel, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(MAX_POOL, GRID, MATH);
static FORWARD: Kernel = kernel("max_pool", SOURCE, "forward");
static BACKWARD: Kernel = kernel("max_pool", SOURCE, "backward");

params! { planes: u32, h: u32, w: u32, oh: u32, ow: u32 }

/// `max_pool2d(x, 2, stride=2)` of `x` (N, C, H, W): (N, C, floor(H / 2), floor(W / 2)). Among equal values the first
/// in row-major order gets the gradient; NaN counts as larger than every number.
///
/// # Errors
/// If `x` does not have four dimensions, H or W is 1, or the device reports an error.
pub fn max_pool(x: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("max_pool", "x")?;
    let (oh, ow) = (h / 2, w / 2);
    if oh == 0 || ow == 0 {
        return Err(Error::shape("max_pool", "x", &x.shape(), "sides of at least 2"));
    }
    let params = Params { planes: (n * c) as u32, h: h as u32, w: w as u32, oh: oh as u32, ow: ow as u32 };
    let y = Tensor::empty(x.gpu(), &[n, c, oh, ow])?;
    let flops = 3 * y.numel() as u64;
    x.gpu().launch(&FORWARD, &params, &[x], &[&y], Work::threads(y.numel()).flops(flops))?;

    let saved = x.clone();
    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.gpu(), &[n, c, h, w])?;
        dy.gpu().launch(&BACKWARD, &params, &[&saved, dy], &[&dx], Work::threads(dx.numel()).flops(4 * flops))?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check, gpu};
    use alias_tensor::Tensor;

    struct MaxPool;

    /// Index of the maximum among the 2x2 inputs of an output pixel: the first in row-major order.
    fn argmax(x: &Array, [n, c, oy, ox]: [usize; 4]) -> [usize; 4] {
        let window = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(y, x)| [n, c, 2 * oy + y, 2 * ox + x]);
        window.into_iter().reduce(|best, at| if x[at] > x[best] { at } else { best }).unwrap()
    }

    impl Twin for MaxPool {
        fn forward(&self, x: &[Array]) -> Array {
            let [n, c, h, w] = x[0].nchw();
            Array::from_fn([n, c, h / 2, w / 2], |at| x[0][argmax(&x[0], at)])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let mut dx = Array::zeros(&x[0].shape);
            Array::from_fn(dy.nchw(), |at| {
                dx[argmax(&x[0], at)] += dy[at];
                0.0
            });
            vec![Some(dx)]
        }
    }

    #[test]
    fn matches_twin() {
        for (h, w) in [(2, 2), (2, 3), (5, 7), (8, 6), (31, 17)] {
            check(&MaxPool, &[Random::new(1).array(&[2, 3, h, w])], |t| super::max_pool(&t[0]));
        }
    }

    #[test]
    fn equal_values_go_to_the_first_and_nan_wins() {
        let x =
            Tensor::new(gpu(), &[1, 1, 2, 4], &[5.0, 5.0, 1.0, 2.0, 5.0, 5.0, f32::NAN, 3.0]).unwrap().requires_grad();
        let y = super::max_pool(&x).unwrap();
        assert!(y.to_vec().unwrap()[1].is_nan());
        let dy = Tensor::new(gpu(), &[1, 1, 1, 2], &[1.0, 2.0]).unwrap();
        let dx = y.backward(&dy).unwrap().get(&x).unwrap().to_vec().unwrap();
        assert_eq!(dx, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
    }

    /// Images of 2x2 with ties between two elements, infinities, and NaN at several positions.
    #[test]
    fn ties_infinities_and_nan_at_every_place() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        for (window, winner) in [
            ([1.0, 2.0, 2.0, 1.0], 1), // row-major order: top right before bottom left
            ([1.0, 1.0, 2.0, 2.0], 2),
            ([1.0, 2.0, 1.0, 2.0], 1),
            ([-inf, -inf, 1.0, -inf], 2),
            ([1.0, -inf, 0.0, -inf], 0),
            ([1.0, inf, 2.0, inf], 1),
            ([-inf; 4], 0),
            ([nan, 1.0, inf, 2.0], 0),
            ([1.0, nan, inf, 2.0], 1),
            ([1.0, inf, 2.0, nan], 3),
        ] {
            let x = Tensor::new(gpu(), &[1, 1, 2, 2], &window).unwrap().requires_grad();
            let y = super::max_pool(&x).unwrap();
            let dy = Tensor::new(gpu(), &[1, 1, 1, 1], &[3.0]).unwrap();
            let dx = y.clone().backward(&dy).unwrap().get(&x).unwrap().to_vec().unwrap();
            let mut want = [0.0; 4];
            want[winner] = 3.0;
            assert_eq!(dx, want, "{window:?}");
            assert_eq!(y.to_vec().unwrap()[0].to_bits(), window[winner].to_bits(), "{window:?}");
        }
    }
}
