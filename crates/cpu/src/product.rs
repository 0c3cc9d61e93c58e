//! Matrix products of activations with panels of weights, the inner loops of all convolutions and tables.

use crate::{BLOCK, PANEL};
use pulp::Simd;

/// Rows of a small tile, for the last rows.
const FEW: usize = 4;
/// Rows past the last one that [`product`] may read and write.
pub const SLACK: usize = FEW - 1;

/// Blocks of the inner dimension per pass over the rows, few enough for their weights to stay in L1.
const INNER: usize = 8;

/// `c = a b`: a matrix of activations times the first `columns` columns of a panel of weights.
///
/// The inner dimension is split into blocks of channels. Row r of block k is `a[starts[k] + BLOCK r..][..BLOCK]`; `b`
/// is (blocks, BLOCK, PANEL), `c` (rows, PANEL). `a` and `c` must have [`SLACK`] more rows, which are read and written.
#[inline(always)]
pub fn product<S: Simd>(simd: S, a: &[f32], starts: &[usize], rows: usize, columns: usize, b: &[f32], c: &mut [f32]) {
    let narrow = columns <= BLOCK;
    let parts = starts.chunks(INNER).zip(b.chunks(INNER * BLOCK * PANEL));
    for (part, (starts, b)) in parts.enumerate() {
        let factors = Factors { a, starts, b, first: part == 0 };
        // As many sums as fit into the registers beside their factors. A narrow panel may be a single vector.
        match (S::REGISTER_COUNT >= 32, narrow && S::F32_LANES == BLOCK) {
            (true, false) => factors.by_tiles::<S, 12, FEW, 2>(simd, rows, narrow, c),
            (true, true) => factors.by_tiles::<S, 12, FEW, 1>(simd, rows, narrow, c),
            (false, _) => factors.by_tiles::<S, 6, 2, 2>(simd, rows, narrow, c),
        }
    }
}

/// The factors for some blocks of the inner dimension.
#[derive(Clone, Copy)]
struct Factors<'a> {
    a: &'a [f32],
    starts: &'a [usize],
    b: &'a [f32],
    /// Whether these are the first blocks. Otherwise `c` has sums of earlier blocks, to add to.
    first: bool,
}

impl Factors<'_> {
    /// Computes tiles of `ROWS` rows, or `FEW` for the last rows, by `VECTORS` vectors of columns.
    #[inline(always)]
    fn by_tiles<S: Simd, const ROWS: usize, const FEW: usize, const VECTORS: usize>(
        self,
        simd: S,
        rows: usize,
        narrow: bool,
        c: &mut [f32],
    ) {
        let columns = if narrow { BLOCK } else { PANEL };
        let whole = rows / ROWS * ROWS;
        for vector in (0..columns / S::F32_LANES).step_by(VECTORS) {
            for row in (0..whole).step_by(ROWS) {
                self.tile::<S, ROWS, VECTORS>(simd, row, vector, c);
            }
            for row in (whole..rows).step_by(FEW) {
                self.tile::<S, FEW, VECTORS>(simd, row, vector, c);
            }
        }
    }

    /// Computes one tile, with its sums in registers.
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S, row: usize, vector: usize, c: &mut [f32]) {
        let line = PANEL / S::F32_LANES;
        let to = &mut S::as_mut_simd_f32s(&mut c[row * PANEL..][..ROWS * PANEL]).0[..ROWS * line];
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        for (&start, b) in self.starts.iter().zip(self.b.chunks_exact(BLOCK * PANEL)) {
            let a = &self.a[start + row * BLOCK..][..ROWS * BLOCK];
            let b = &S::as_simd_f32s(b).0[..BLOCK * line];
            for k in 0..BLOCK {
                let b = &b[k * line + vector..][..VECTORS];
                for r in 0..ROWS {
                    let a = simd.splat_f32s(a[r * BLOCK + k]);
                    for v in 0..VECTORS {
                        sums[r][v] = simd.mul_add_e_f32s(a, b[v], sums[r][v]);
                    }
                }
            }
        }
        // Earlier sums are added last, so that no sum has more than INNER BLOCK terms: that halves rounding errors.
        for r in 0..ROWS {
            for v in 0..VECTORS {
                let to = &mut to[r * line + vector + v];
                *to = if self.first { sums[r][v] } else { simd.add_f32s(*to, sums[r][v]) };
            }
        }
    }
}

/// Terms of each sum that [`outer_product`] adds up before they join the total, few enough for the factors to stay in L1.
const TERMS: usize = 128;

/// `c += a^T b`: term k of `a` is `a[k * stride..][..BLOCK]`, `b` is (terms, BLOCK) and `c` (BLOCK, BLOCK). The terms are the
/// pixels over which a gradient by weight is summed, or the rows of a weight that is not packed.
#[inline(always)]
pub fn outer_product<S: Simd>(simd: S, a: &[f32], stride: usize, b: &[f32], c: &mut [f32]) {
    for (part, b) in b.chunks(TERMS * BLOCK).enumerate() {
        let a = &a[part * TERMS * stride..];
        if S::F32_LANES == BLOCK {
            outer_tile::<S, BLOCK, 1>(simd, a, stride, b, [0, 0], c);
            continue;
        }
        for vector in (0..BLOCK / S::F32_LANES).step_by(2) {
            outer_tile::<S, 6, 2>(simd, a, stride, b, [0, vector], c);
            outer_tile::<S, 6, 2>(simd, a, stride, b, [6, vector], c);
            outer_tile::<S, 4, 2>(simd, a, stride, b, [12, vector], c);
        }
    }
}

/// `c += a b`: row r of `a` is `a[r * stride..]`, of as many elements as `b` (terms, BLOCK) has rows; row r of `c` is
/// `c[r * line..][..BLOCK]`. For weights that are used too seldom to be packed.
#[inline(always)]
pub fn row_product<S: Simd>(simd: S, a: &[f32], stride: usize, rows: usize, b: &[f32], c: &mut [f32], line: usize) {
    if S::F32_LANES == BLOCK {
        rows_by_tiles::<S, 12, 1>(simd, a, stride, rows, b, c, line);
    } else {
        rows_by_tiles::<S, 6, 2>(simd, a, stride, rows, b, c, line);
    }
}

#[inline(always)]
fn rows_by_tiles<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    a: &[f32],
    stride: usize,
    rows: usize,
    b: &[f32],
    c: &mut [f32],
    line: usize,
) {
    let whole = rows / ROWS * ROWS;
    for vector in (0..BLOCK / S::F32_LANES).step_by(VECTORS) {
        for row in (0..whole).step_by(ROWS) {
            row_tile::<S, ROWS, VECTORS>(simd, &a[row * stride..], stride, b, vector, &mut c[row * line..], line);
        }
        for row in whole..rows {
            row_tile::<S, 1, VECTORS>(simd, &a[row * stride..], stride, b, vector, &mut c[row * line..], line);
        }
    }
}

#[inline(always)]
fn row_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    a: &[f32],
    stride: usize,
    b: &[f32],
    vector: usize,
    c: &mut [f32],
    line: usize,
) {
    let per = BLOCK / S::F32_LANES;
    for (part, b) in b.chunks(TERMS * BLOCK).enumerate() {
        let terms = b.len() / BLOCK;
        let mut rows = [&a[..0]; ROWS];
        for r in 0..ROWS {
            rows[r] = &a[r * stride + part * TERMS..][..terms];
        }
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        for (k, b) in S::as_simd_f32s(b).0.chunks_exact(per).enumerate() {
            let b = &b[vector..][..VECTORS];
            for r in 0..ROWS {
                let a = simd.splat_f32s(rows[r][k]);
                for v in 0..VECTORS {
                    sums[r][v] = simd.mul_add_e_f32s(a, b[v], sums[r][v]);
                }
            }
        }
        for r in 0..ROWS {
            let to = &mut S::as_mut_simd_f32s(&mut c[r * line..][..BLOCK]).0[vector..][..VECTORS];
            for v in 0..VECTORS {
                to[v] = simd.add_f32s(to[v], sums[r][v]);
            }
        }
    }
}

/// Computes `ROWS` rows from `row` on by `VECTORS` vectors of columns from `vector` on, with the sums in registers.
#[inline(always)]
fn outer_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    a: &[f32],
    stride: usize,
    b: &[f32],
    [row, vector]: [usize; 2],
    c: &mut [f32],
) {
    let line = BLOCK / S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    for (k, b) in S::as_simd_f32s(b).0.chunks_exact(line).enumerate() {
        let (a, b) = (&a[k * stride + row..][..ROWS], &b[vector..][..VECTORS]);
        for r in 0..ROWS {
            let a = simd.splat_f32s(a[r]);
            for v in 0..VECTORS {
                sums[r][v] = simd.mul_add_e_f32s(a, b[v], sums[r][v]);
            }
        }
    }
    let to = &mut S::as_mut_simd_f32s(&mut c[row * BLOCK..][..ROWS * BLOCK]).0[..ROWS * line];
    for r in 0..ROWS {
        for v in 0..VECTORS {
            let to = &mut to[r * line + vector + v];
            *to = simd.add_f32s(*to, sums[r][v]);
        }
    }
}
