//! Average pooling, 3x3, stride 2, padding 1, without the padding in the mean: halves the discriminator's input.

use crate::kernel;
use alias_cpu::Cpu;
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;
use std::ops::Range;

const SOURCE: &[&str] = wgsl!(AVG_POOL, GRID);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("avg_pool", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 1, 1>> = kernel("avg_pool", SOURCE, "backward").on_cores(backward);

params! { planes: u32, h: u32, w: u32, oh: u32, ow: u32 }

/// The input pixels, along a side of `length`, that output pixel `o` averages.
fn window(o: usize, length: usize) -> Range<usize> {
    (2 * o).saturating_sub(1)..(2 * o + 2).min(length)
}

fn forward(cpu: &Cpu, &Params { h, w, oh, ow, .. }: &Params, [x]: [&[f32]; 1], [y]: [&mut [f32]; 1]) {
    let [h, w, oh, ow] = [h, w, oh, ow].map(|side| side as usize);
    let widths: Vec<f32> = (0..ow).map(|ox| window(ox, w).len() as f32).collect();
    y.par_chunks_exact_mut(ow).enumerate().for_each_init(
        // Sums of rows, with a zero on both sides.
        || vec![0.0; 2 * ow + 2],
        |sums, (row, y)| {
            let (plane, rows) = (row / oh, window(row % oh, h));
            let x = &x[(plane * h + rows.start) * w..][..rows.len() * w];
            cpu.dispatch(
                #[inline(always)]
                || average(x, w, sums, &widths, y),
            );
        },
    );
}

/// The means of windows that are as high as `x` (rows, w).
#[inline(always)]
fn average(x: &[f32], w: usize, sums: &mut [f32], widths: &[f32], y: &mut [f32]) {
    let inside = &mut sums[1..=w];
    inside.fill(0.0);
    for x in x.chunks_exact(w) {
        inside.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
    }
    let (height, (sums, _)) = ((x.len() / w) as f32, sums.as_chunks::<2>());
    for (((y, width), [left, middle]), [right, _]) in y.iter_mut().zip(widths).zip(sums).zip(&sums[1..]) {
        *y = (left + middle + right) / (height * width);
    }
}

fn backward(cpu: &Cpu, &Params { h, w, oh, ow, .. }: &Params, [dy]: [&[f32]; 1], [dx]: [&mut [f32]; 1]) {
    let [h, w, oh, ow] = [h, w, oh, ow].map(|side| side as usize);
    let widths: Vec<f32> = (0..ow).map(|ox| window(ox, w).len() as f32).collect();
    dx.par_chunks_exact_mut(w).enumerate().for_each_init(
        // What each output pixel gives to its window in this row, with a zero after them.
        || vec![0.0; ow + 1],
        |shares, (row, dx)| {
            let (plane, iy) = (row / h, row % h);
            shares.fill(0.0);
            for oy in iy / 2..oh.min(iy.div_ceil(2) + 1) {
                let (dy, height) = (&dy[(plane * oh + oy) * ow..][..ow], window(oy, h).len() as f32);
                cpu.dispatch(
                    #[inline(always)]
                    || add_shares(dy, height, &widths, shares),
                );
            }
            cpu.dispatch(
                #[inline(always)]
                || gather(shares, dx),
            );
        },
    );
}

/// Adds what each output pixel of a row gives to every pixel of its window.
#[inline(always)]
fn add_shares(dy: &[f32], height: f32, widths: &[f32], shares: &mut [f32]) {
    for ((share, dy), width) in shares.iter_mut().zip(dy).zip(widths) {
        *share += dy / (height * width);
    }
}

/// Gives an input pixel in an even column the share of the output pixel there, one in an odd column those of two.
#[inline(always)]
fn gather(shares: &[f32], dx: &mut [f32]) {
    let (pairs, last) = dx.as_chunks_mut();
    for ((pair, share), next) in pairs.iter_mut().zip(shares).zip(&shares[1..]) {
        *pair = [*share, share + next];
    }
    last.fill(shares[shares.len() - 2]);
}

/// `avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)` of `x` (N, C, H, W), which is
/// (N, C, ceil(H / 2), ceil(W / 2)).
///
/// # Errors
/// If `x` does not have four dimensions or the device reports an error.
pub fn avg_pool(x: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("avg_pool", "x")?;
    let (oh, ow) = (h.div_ceil(2), w.div_ceil(2));
    let params = Params { planes: (n * c) as u32, h: h as u32, w: w as u32, oh: oh as u32, ow: ow as u32 };
    let y = Tensor::empty(x.device(), &[n, c, oh, ow])?;
    let flops = 10 * y.numel() as u64;
    x.device().launch(&FORWARD, &params, &[x], &[&y], Work::threads(y.numel()).flops(flops))?;

    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.device(), &[n, c, h, w])?;
        dy.device().launch(&BACKWARD, &params, &[dy], &[&dx], Work::threads(dx.numel()).flops(flops))?;
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
