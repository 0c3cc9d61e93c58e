//! The weights of two convolutions of the same tensor as the weight of one.

use crate::kernel;
use alias_cpu::Cpu;
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(TAPS, GRID);
static FORWARD: Kernel<OnCores<Params, 2, 1>> = kernel("taps", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 1, 2>> = kernel("taps", SOURCE, "backward").on_cores(backward);

params! { cout: u32, cin: u32, taps: u32 }

/// Rows and columns that are transposed at once: a cache line each.
const TILE: usize = 16;

fn forward(cpu: &Cpu, params: &Params, weights: [&[f32]; 2], [y]: [&mut [f32]; 1]) {
    let size = y.len() / 2;
    for (weight, y) in weights.into_iter().zip(y.chunks_exact_mut(size)) {
        transpose(cpu, weight, params.cin as usize, params.taps as usize, y);
    }
}

fn backward(cpu: &Cpu, params: &Params, [dy]: [&[f32]; 1], by_weights: [&mut [f32]; 2]) {
    let size = dy.len() / 2;
    for (to, dy) in by_weights.into_iter().zip(dy.chunks_exact(size)) {
        transpose(cpu, dy, params.taps as usize, params.cin as usize, to);
    }
}

/// Transposes each of the matrices (`rows`, `columns`) of `x`.
fn transpose(cpu: &Cpu, x: &[f32], rows: usize, columns: usize, y: &mut [f32]) {
    let matrices = y.par_chunks_exact_mut(rows * columns).zip(x.par_chunks_exact(rows * columns));
    matrices.for_each(|(y, x)| {
        cpu.dispatch(
            #[inline(always)]
            || {
                for (part, y) in y.chunks_mut(TILE * rows).enumerate() {
                    transpose_columns(x, columns, part * TILE, y, rows);
                }
            },
        );
    });
}

/// Writes the columns of `x` from `first` on as rows of `y`.
#[inline(always)]
fn transpose_columns(x: &[f32], columns: usize, first: usize, y: &mut [f32], rows: usize) {
    let count = y.len() / rows;
    let mut tile = [[0.0; TILE]; TILE];
    for (part, x) in x.chunks(TILE * columns).enumerate() {
        for (tile, x) in tile.iter_mut().zip(x.chunks_exact(columns)) {
            tile[..count].copy_from_slice(&x[first..][..count]);
        }
        let height = x.len() / columns;
        for (j, y) in y.chunks_exact_mut(rows).enumerate() {
            y[part * TILE..][..height].iter_mut().zip(&tile).for_each(|(y, row)| *y = row[j]);
        }
    }
}

/// The two `weights` (Cout, Cin, K, K) as the weight of one 1x1 convolution, which computes the product of each tap of
/// each with each pixel: (2 Cout K K, Cin, 1, 1). Channel `(s Cout + o) K K + t` is tap t of output channel o of weight s.
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn taps(weights: [&Tensor; 2]) -> Result<Tensor> {
    let [first, second] = weights;
    let [cout, cin, height, width] = first.shape().nchw("taps", "the first weight")?;
    second.shape().check("taps", "the second weight", &first.shape())?;
    let taps = height * width;
    let params = Params { cout: cout as u32, cin: cin as u32, taps: taps as u32 };
    let y = Tensor::empty(first.device(), &[2 * cout * taps, cin, 1, 1])?;
    let work = Work::threads(y.numel());
    first.device().launch(&FORWARD, &params, &weights, &[&y], work)?;

    let shape = first.shape();
    Ok(y.with_backward(weights, move |dy| {
        let [by_first, by_second] = [Tensor::empty(dy.device(), &shape)?, Tensor::empty(dy.device(), &shape)?];
        dy.device().launch(&BACKWARD, &params, &[dy], &[&by_first, &by_second], work)?;
        Ok([Some(by_first), Some(by_second)])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    struct Taps;

    impl Twin for Taps {
        fn forward(&self, w: &[Array]) -> Array {
            let [cout, cin, k, _] = w[0].nchw();
            let taps = k * k;
            Array::from_fn([2 * cout * taps, cin, 1, 1], |[channel, i, _, _]| {
                let (s, o, t) = (channel / (cout * taps), channel / taps % cout, channel % taps);
                w[s][[o, i, t / k, t % k]]
            })
        }

        fn backward(&self, w: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let [cout, _, k, _] = w[0].nchw();
            let of =
                |s: usize| Array::from_fn(w[s].nchw(), |[o, i, a, b]| dy[[((s * cout + o) * k + a) * k + b, i, 0, 0]]);
            vec![Some(of(0)), Some(of(1))]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [[1, 1, 1, 1], [5, 7, 3, 3], [2, 37, 4, 4], [3, 16, 3, 3], [2, 129, 3, 3]] {
            let mut random = Random::new(1);
            let inputs = [random.array(&shape), random.array(&shape)];
            check(&Taps, &inputs, |t| super::taps([&t[0], &t[1]]));
        }
    }
}
