//! Average pooling, 3x3, stride 2, padding 1, without the padding in the mean: halves the discriminator's input.

use crate::kernel;
use alias_tensor::{Kernel, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(AVG_POOL, GRID);
static FORWARD: Kernel = kernel("avg_pool", SOURCE, "forward");
static BACKWARD: Kernel = kernel("avg_pool", SOURCE, "backward");

params! { planes: u32, h: u32, w: u32, oh: u32, ow: u32 }

/// `avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)` of `x` (N, C, H, W), which is
/// (N, C, ceil(H / 2), ceil(W / 2)).
///
/// # Errors
/// If `x` does not have four dimensions or the device reports an error.
pub fn avg_pool(x: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("avg_pool", "x")?;
    let (oh, ow) = (h.div_ceil(2), w.div_ceil(2));
    let params = Params { planes: (n * c) as u32, h: h as u32, w: w as u32, oh: oh as u32, ow: ow as u32 };
    let y = Tensor::empty(x.gpu(), &[n, c, oh, ow])?;
    let flops = 10 * y.numel() as u64;
    x.gpu().launch(&FORWARD, &params, &[x], &[&y], Work::threads(y.numel()).flops(flops))?;

    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.gpu(), &[n, c, h, w])?;
        dy.gpu().launch(&BACKWARD, &params, &[dy], &[&dx], Work::threads(dx.numel()).flops(flops))?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    struct AvgPool;

    /// The input pixels, along a side of `length`, that output pixel `o` averages.
    fn window(o: usize, length: usize) -> std::ops::Range<usize> {
        (2 * o).saturating_sub(1)..(2 * o + 2).min(length)
    }

    impl Twin for AvgPool {
        fn forward(&self, x: &[Array]) -> Array {
            let [n, c, h, w] = x[0].nchw();
            Array::from_fn([n, c, h.div_ceil(2), w.div_ceil(2)], |[n, c, oy, ox]| {
                let (rows, columns) = (window(oy, h), window(ox, w));
                let count = (rows.len() * columns.len()) as f64;
                rows.flat_map(|y| columns.clone().map(move |x_| [n, c, y, x_])).map(|at| x[0][at]).sum::<f64>() / count
            })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let [_, _, h, w] = x[0].nchw();
            let mut dx = Array::zeros(&x[0].shape);
            Array::from_fn(dy.nchw(), |[n, c, oy, ox]| {
                let (rows, columns) = (window(oy, h), window(ox, w));
                let share = dy[[n, c, oy, ox]] / (rows.len() * columns.len()) as f64;
                rows.for_each(|y| columns.clone().for_each(|x| dx[[n, c, y, x]] += share));
                0.0
            });
            vec![Some(dx)]
        }
    }

    #[test]
    fn matches_twin() {
        for (h, w) in [(1, 1), (1, 2), (2, 3), (5, 7), (8, 6), (31, 17)] {
            check(&AvgPool, &[Random::new(1).array(&[2, 3, h, w])], |t| super::avg_pool(&t[0]));
        }
    }
}
