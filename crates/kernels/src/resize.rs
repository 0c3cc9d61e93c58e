//! Nearest resize by any factor, up or down: `y[oy, ox] = x[floor(oy h / oh), floor(ox w / ow)]`.

use crate::kernel;
use alias_tensor::{Error, Kernel, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(RESIZE, GRID);
static FORWARD: Kernel = kernel("resize", SOURCE, "forward");
static BACKWARD: Kernel = kernel("resize", SOURCE, "backward");

params! { planes: u32, h: u32, w: u32, oh: u32, ow: u32 }

/// Output pixels that one gradient may be gathered from: Mesa's llvmpipe silently ends an invocation's loops after
/// 65,535 iterations in total.
const MAX_COPIES: usize = 1 << 14;

/// `torch.nn.functional.interpolate(x, (height, width), mode="nearest")` of `x` (N, C, H, W).
///
/// # Errors
/// If `x` does not have four dimensions, a side is 0 or over 65,535, one pixel of a tracked `x` has more than 16,384
/// copies, or the device reports an error.
pub fn resize(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("resize", "x")?;
    // The shader multiplies two sides in `u32`.
    if [h, w, height, width].into_iter().any(|side| !(1..=65_535).contains(&side)) {
        return Err(Error::argument("resize", "height, width", format!("{height}, {width}"), "sides of 1 to 65535"));
    }
    let copies = height.div_ceil(h) * width.div_ceil(w);
    if x.is_tracked() && copies > MAX_COPIES {
        let expected = format!("at most {MAX_COPIES} copies of a pixel, where x is tracked");
        return Err(Error::argument("resize", "height, width", format!("{height}, {width}"), expected));
    }
    if [h, w] == [height, width] {
        return Ok(x.clone());
    }
    let params = Params { planes: (n * c) as u32, h: h as u32, w: w as u32, oh: height as u32, ow: width as u32 };
    let y = Tensor::empty(x.gpu(), &[n, c, height, width])?;
    x.gpu().launch(&FORWARD, &params, &[x], &[&y], Work::threads(y.numel()))?;

    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.gpu(), &[n, c, h, w])?;
        dy.gpu().launch(&BACKWARD, &params, &[dy], &[&dx], Work::threads(dx.numel()).flops(dy.numel() as u64))?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    struct Resize {
        height: usize,
        width: usize,
    }

    impl Resize {
        fn source(&self, [n, c, oy, ox]: [usize; 4], h: usize, w: usize) -> [usize; 4] {
            [n, c, oy * h / self.height, ox * w / self.width]
        }
    }

    impl Twin for Resize {
        fn forward(&self, x: &[Array]) -> Array {
            let [n, c, h, w] = x[0].nchw();
            Array::from_fn([n, c, self.height, self.width], |at| x[0][self.source(at, h, w)])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let [_, _, h, w] = x[0].nchw();
            let mut dx = Array::zeros(&x[0].shape);
            Array::from_fn(dy.nchw(), |at| {
                dx[self.source(at, h, w)] += dy[at];
                0.0
            });
            vec![Some(dx)]
        }
    }

    #[test]
    fn matches_twin() {
        for (h, w, height, width) in
            [(1, 1, 3, 2), (4, 6, 8, 12), (5, 7, 11, 3), (11, 3, 5, 7), (8, 6, 1, 1), (7, 5, 7, 5), (64, 48, 17, 90)]
        {
            check(&Resize { height, width }, &[Random::new(1).array(&[2, 3, h, w])], |t| {
                super::resize(&t[0], height, width)
            });
        }
    }
}
