//! Products of activations with panels of weights: what all convolutions and tables come down to.

use crate::{BLOCK, PANEL};
use pulp::Simd;

/// Rows past the last one that [`product`] may read and write.
pub(crate) const SLACK: usize = 8;

/// `c = a b`: rows of `a`, a block of channels at a time, with the first `columns` of a panel of weights.
///
/// Row r of the inner dimension's block k is `a[starts[k] + BLOCK r..][..BLOCK]`; `b` is (blocks, BLOCK, PANEL), `c` (rows,
/// PANEL). Up to [`SLACK`] more rows are read and written, so that `a` and `c` must have them.
#[inline(always)]
pub(crate) fn product<S: Simd>(
    simd: S,
    a: &[f32],
    starts: &[usize],
    rows: usize,
    columns: usize,
    b: &[f32],
    c: &mut [f32],
) {
    // As many sums as registers hold, besides what they are made of.
    let narrow = columns <= BLOCK;
    match (S::REGISTER_COUNT >= 32, narrow && S::F32_LANES == BLOCK) {
        (true, false) => by_tiles::<S, 8, 2>(simd, a, starts, rows, narrow, b, c),
        (true, true) => by_tiles::<S, 8, 1>(simd, a, starts, rows, narrow, b, c),
        (false, _) => by_tiles::<S, 6, 2>(simd, a, starts, rows, narrow, b, c),
    }
}

/// By tiles of so many rows and vectors of columns.
#[inline(always)]
fn by_tiles<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    a: &[f32],
    starts: &[usize],
    rows: usize,
    narrow: bool,
    b: &[f32],
    c: &mut [f32],
) {
    let columns = if narrow { BLOCK } else { PANEL };
    for row in (0..rows).step_by(ROWS) {
        let to = &mut S::as_mut_simd_f32s(&mut c[row * PANEL..][..ROWS * PANEL]).0[..ROWS * PANEL / S::F32_LANES];
        for vector in (0..columns / S::F32_LANES).step_by(VECTORS) {
            let sums = tile::<S, ROWS, VECTORS>(simd, a, starts, row, b, vector);
            for r in 0..ROWS {
                for v in 0..VECTORS {
                    to[r * (PANEL / S::F32_LANES) + vector + v] = sums[r][v];
                }
            }
        }
    }
}

/// The sums of a tile, in registers.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    a: &[f32],
    starts: &[usize],
    row: usize,
    b: &[f32],
    vector: usize,
) -> [[S::f32s; VECTORS]; ROWS] {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    for (&start, b) in starts.iter().zip(b.chunks_exact(BLOCK * PANEL)) {
        let a = &a[start + row * BLOCK..][..ROWS * BLOCK];
        let b = &S::as_simd_f32s(b).0[..BLOCK * PANEL / S::F32_LANES];
        for k in 0..BLOCK {
            let b = &b[k * (PANEL / S::F32_LANES) + vector..][..VECTORS];
            for r in 0..ROWS {
                let a = simd.splat_f32s(a[r * BLOCK + k]);
                for v in 0..VECTORS {
                    sums[r][v] = simd.mul_add_e_f32s(a, b[v], sums[r][v]);
                }
            }
        }
    }
    sums
}
