//! Nearest resize by any factor, up or down: `y[oy, ox] = x[floor(oy h / oh), floor(ox w / ow)]`.

use crate::kernel;
use alias_cpu::Cpu;
use alias_tensor::{Error, Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;
use std::ops::Range;

const SOURCE: &[&str] = wgsl!(RESIZE, GRID);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("resize", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 1, 1>> = kernel("resize", SOURCE, "backward").on_cores(backward);

params! { planes: u32, h: u32, w: u32, oh: u32, ow: u32 }

fn forward(cpu: &Cpu, &Params { h, w, oh, ow, .. }: &Params, [x]: [&[f32]; 1], [y]: [&mut [f32]; 1]) {
    let [h, w, oh, ow] = [h, w, oh, ow].map(|side| side as usize);
    let sources: Vec<usize> = (0..ow).map(|ox| ox * w / ow).collect();
    y.par_chunks_exact_mut(ow).enumerate().for_each(|(row, y)| {
        let (plane, oy) = (row / oh, row % oh);
        let x = &x[(plane * h + oy * h / oh) * w..][..w];
        cpu.dispatch(
            #[inline(always)]
            || copy(x, &sources, y),
        );
    });
}

/// Copies the source of each pixel of a row. Pairs, the usual case, need no look-up, and are vectorized.
#[inline(always)]
fn copy(x: &[f32], sources: &[usize], y: &mut [f32]) {
    if y.len() == 2 * x.len() {
        y.as_chunks_mut().0.iter_mut().zip(x).for_each(|(pair, &x)| *pair = [x, x]);
    } else {
        y.iter_mut().zip(sources).for_each(|(y, &source)| *y = x[source]);
    }
}

fn backward(cpu: &Cpu, &Params { h, w, oh, ow, .. }: &Params, [dy]: [&[f32]; 1], [dx]: [&mut [f32]; 1]) {
    let [h, w, oh, ow] = [h, w, oh, ow].map(|side| side as usize);
    let columns: Vec<_> = (0..w).map(|ix| copies(ix, w, ow)).collect();
    dx.par_chunks_exact_mut(w).enumerate().for_each_init(
        || vec![0.0; ow],
        |sums, (row, dx)| {
            let (plane, rows) = (row / h, copies(row % h, h, oh));
            let dy = &dy[(plane * oh + rows.start) * ow..][..rows.len() * ow];
            cpu.dispatch(
                #[inline(always)]
                || sum_copies(dy, sums, &columns, dx),
            );
        },
    );
}

/// Of `outputs` pixels along a side those that copy pixel `source` of `inputs`.
fn copies(source: usize, inputs: usize, outputs: usize) -> Range<usize> {
    (source * outputs).div_ceil(inputs)..((source + 1) * outputs).div_ceil(inputs)
}

/// Sums the rows of `dy`, then the columns that copy each pixel.
#[inline(always)]
fn sum_copies(dy: &[f32], sums: &mut [f32], columns: &[Range<usize>], dx: &mut [f32]) {
    sums.fill(0.0);
    for dy in dy.chunks_exact(sums.len()) {
        sums.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy);
    }
    if sums.len() == 2 * dx.len() {
        dx.iter_mut().zip(sums.as_chunks().0).for_each(|(dx, [a, b])| *dx = a + b);
    } else {
        dx.iter_mut().zip(columns).for_each(|(dx, columns)| *dx = sums[columns.clone()].iter().sum());
    }
}

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
    let y = Tensor::empty(x.device(), &[n, c, height, width])?;
    x.device().launch(&FORWARD, &params, &[x], &[&y], Work::threads(y.numel()))?;

    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.device(), &[n, c, h, w])?;
        dy.device().launch(&BACKWARD, &params, &[dy], &[&dx], Work::threads(dx.numel()).flops(dy.numel() as u64))?;
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
