//! The transforms of Winograd's algorithm for F(2x2, 3x3) and F(4x4, 3x3).
//!
//! The interpolation points of F(4x4, 3x3) are 0, +-3/4, +-3/2 and infinity: the usual 0, +-1, +-2 make the error of an
//! image some 8% larger.

use crate::{BLOCK, PANEL};
use pulp::Simd;

/// A and B are the positive finite points of F(4x4, 3x3).
const A: f64 = 0.75;
const B: f64 = 1.5;

/// Row i of G evaluates a kernel, as a polynomial, at point i and divides by the product of its distances from the other
/// points; the last row is for infinity. The distances of F(4x4, 3x3):
const FROM_0: f64 = A * A * B * B;
const FROM_A: f64 = 2.0 * A * A * (A * A - B * B);
const FROM_B: f64 = 2.0 * B * B * (B * B - A * A);

/// The transforms of a row or column of a tile. Each element is a vector of channels.
pub trait Transform<const M: usize, const N: usize> {
    /// `B^T d`.
    fn input<S: Simd>(simd: S, d: [S::f32s; N]) -> [S::f32s; N];
    /// `A^T m`.
    fn output<S: Simd>(simd: S, m: [S::f32s; N]) -> [S::f32s; M];
    /// `A y`, through which a gradient by the output goes back.
    fn output_gradient<S: Simd>(simd: S, y: [S::f32s; M]) -> [S::f32s; N];
    /// `G w`.
    fn weight<S: Simd>(simd: S, w: [S::f32s; 3]) -> [S::f32s; N];
    /// `G^T u`, through which a gradient by the transformed weight goes back.
    fn weight_gradient<S: Simd>(simd: S, u: [S::f32s; N]) -> [S::f32s; 3];
}

/// F(M x M, 3x3) with transforms of N = M + 2 points.
pub struct F<const M: usize, const N: usize>;

impl<const M: usize, const N: usize> F<M, N>
where
    F<M, N>: Transform<M, N>,
{
    /// `B^T d B` of `down` by `across` tiles for a block of channels. `staged` is a rectangle (rows, `seen`, BLOCK), of which
    /// each tile reads N x N pixels; `to` is (places, `slots`, BLOCK).
    #[inline(always)]
    pub fn load<S: Simd>(
        simd: S,
        staged: &[f32],
        seen: usize,
        [down, across]: [usize; 2],
        slots: usize,
        to: &mut [f32],
    ) {
        for tile in 0..down * across {
            let corner = (tile / across * M * seen + tile % across * M) * BLOCK;
            for v in (0..BLOCK).step_by(S::F32_LANES) {
                // First B^T d by columns, then the rows of that times B. Loops, because a closure that is not inlined
                // is not compiled for the vector instructions of its caller.
                let mut half = [[simd.splat_f32s(0.0); N]; N];
                for j in 0..N {
                    let mut d = [simd.splat_f32s(0.0); N];
                    for i in 0..N {
                        d[i] = vector::<S>(&staged[corner + (i * seen + j) * BLOCK + v..]);
                    }
                    let column = Self::input(simd, d);
                    for i in 0..N {
                        half[i][j] = column[i];
                    }
                }
                for i in 0..N {
                    let row = Self::input(simd, half[i]);
                    for j in 0..N {
                        *vector_mut::<S>(&mut to[((i * N + j) * slots + tile) * BLOCK + v..]) = row[j];
                    }
                }
            }
        }
    }

    /// `A^T m A` of a tile for a vector of channels. The sum at place k is `sums[k * stride..]`.
    #[inline(always)]
    pub fn sum<S: Simd>(simd: S, sums: &[f32], stride: usize) -> [[S::f32s; M]; M] {
        let mut half = [[simd.splat_f32s(0.0); N]; M];
        for j in 0..N {
            let mut m = [simd.splat_f32s(0.0); N];
            for i in 0..N {
                m[i] = vector::<S>(&sums[(i * N + j) * stride..]);
            }
            let column = Self::output(simd, m);
            for i in 0..M {
                half[i][j] = column[i];
            }
        }
        let mut tile = [[simd.splat_f32s(0.0); M]; M];
        for y in 0..M {
            tile[y] = Self::output(simd, half[y]);
        }
        tile
    }

    /// `G w G^T` for a vector of output channels, the one that starts at `v`. Place k goes to `to[k * stride..]`.
    #[inline(always)]
    pub fn weights<S: Simd>(simd: S, w: &[[f32; PANEL]; 9], v: usize, to: &mut [f32], stride: usize) {
        let mut columns = [[simd.splat_f32s(0.0); 3]; N];
        for j in 0..3 {
            let column = Self::weight(simd, [0, 3, 6].map(|row| vector::<S>(&w[row + j][v..])));
            for i in 0..N {
                columns[i][j] = column[i];
            }
        }
        for i in 0..N {
            let row = Self::weight(simd, columns[i]);
            for j in 0..N {
                *vector_mut::<S>(&mut to[(i * N + j) * stride..]) = row[j];
            }
        }
    }

    /// `G^T u G` for a vector of channels. Place k is `u[k * stride..]`.
    #[inline(always)]
    pub fn weight_gradients<S: Simd>(simd: S, u: &[f32], stride: usize) -> [S::f32s; 9] {
        let mut half = [[simd.splat_f32s(0.0); N]; 3];
        for j in 0..N {
            let mut column = [simd.splat_f32s(0.0); N];
            for i in 0..N {
                column[i] = vector::<S>(&u[(i * N + j) * stride..]);
            }
            let column = Self::weight_gradient(simd, column);
            for i in 0..3 {
                half[i][j] = column[i];
            }
        }
        let mut w = [simd.splat_f32s(0.0); 9];
        for i in 0..3 {
            w[3 * i..][..3].copy_from_slice(&Self::weight_gradient(simd, half[i]));
        }
        w
    }

    /// `A y A^T` of `down` by `across` tiles for a block of channels, the gradient by the sums. `staged` is a rectangle
    /// (rows, M `across`, BLOCK); `to` is (places, tiles, BLOCK).
    #[inline(always)]
    pub fn load_gradient<S: Simd>(simd: S, staged: &[f32], [down, across]: [usize; 2], to: &mut [f32]) {
        for tile in 0..down * across {
            let corner = (tile / across * M * M * across + tile % across * M) * BLOCK;
            for v in (0..BLOCK).step_by(S::F32_LANES) {
                let mut columns = [[simd.splat_f32s(0.0); M]; N];
                for j in 0..M {
                    let mut y = [simd.splat_f32s(0.0); M];
                    for i in 0..M {
                        y[i] = vector::<S>(&staged[corner + (i * M * across + j) * BLOCK + v..]);
                    }
                    let column = Self::output_gradient(simd, y);
                    for i in 0..N {
                        columns[i][j] = column[i];
                    }
                }
                for i in 0..N {
                    let row = Self::output_gradient(simd, columns[i]);
                    for j in 0..N {
                        *vector_mut::<S>(&mut to[((i * N + j) * down * across + tile) * BLOCK + v..]) = row[j];
                    }
                }
            }
        }
    }
}

/// The first elements of `values`, as a vector.
#[inline(always)]
fn vector<S: Simd>(values: &[f32]) -> S::f32s {
    S::as_simd_f32s(&values[..S::F32_LANES]).0[0]
}

#[inline(always)]
fn vector_mut<S: Simd>(values: &mut [f32]) -> &mut S::f32s {
    &mut S::as_mut_simd_f32s(&mut values[..S::F32_LANES]).0[0]
}

impl Transform<2, 4> for F<2, 4> {
    #[inline(always)]
    fn input<S: Simd>(simd: S, d: [S::f32s; 4]) -> [S::f32s; 4] {
        // At 0 the sign is opposite to Lavin and Gray's; `weight` makes up for it.
        [simd.sub_f32s(d[2], d[0]), simd.add_f32s(d[2], d[1]), simd.sub_f32s(d[2], d[1]), simd.sub_f32s(d[3], d[1])]
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: [S::f32s; 4]) -> [S::f32s; 2] {
        let (even, odd) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
        [simd.add_f32s(m[0], even), simd.add_f32s(odd, m[3])]
    }

    #[inline(always)]
    fn output_gradient<S: Simd>(simd: S, y: [S::f32s; 2]) -> [S::f32s; 4] {
        [y[0], simd.add_f32s(y[0], y[1]), simd.sub_f32s(y[0], y[1]), y[1]]
    }

    #[inline(always)]
    fn weight<S: Simd>(simd: S, w: [S::f32s; 3]) -> [S::f32s; 4] {
        let half = |x: S::f32s| simd.mul_f32s(x, simd.splat_f32s(0.5));
        let (even, odd) = (half(simd.add_f32s(w[0], w[2])), half(w[1]));
        [simd.neg_f32s(w[0]), simd.add_f32s(even, odd), simd.sub_f32s(even, odd), w[2]]
    }

    #[inline(always)]
    fn weight_gradient<S: Simd>(simd: S, u: [S::f32s; 4]) -> [S::f32s; 3] {
        let half = |x: S::f32s| simd.mul_f32s(x, simd.splat_f32s(0.5));
        let (even, odd) = (half(simd.add_f32s(u[1], u[2])), half(simd.sub_f32s(u[1], u[2])));
        [simd.sub_f32s(even, u[0]), odd, simd.add_f32s(even, u[3])]
    }
}

impl Transform<4, 6> for F<4, 6> {
    #[inline(always)]
    fn input<S: Simd>(simd: S, d: [S::f32s; 6]) -> [S::f32s; 6] {
        let (a, b) = (A as f32, B as f32);
        // x + y k
        let fma = |y: S::f32s, k: f32, x: S::f32s| simd.mul_add_e_f32s(y, simd.splat_f32s(k), x);
        let (even_a, odd_a) = (fma(d[2], -b * b, d[4]), fma(d[1], -b * b, d[3]));
        let (even_b, odd_b) = (fma(d[2], -a * a, d[4]), fma(d[1], -a * a, d[3]));
        let ends = |d0, d2, d4| fma(d0, a * a * b * b, fma(d2, -(a * a + b * b), d4));
        [
            ends(d[0], d[2], d[4]),
            fma(odd_a, a, even_a),
            fma(odd_a, -a, even_a),
            fma(odd_b, b, even_b),
            fma(odd_b, -b, even_b),
            ends(d[1], d[3], d[5]),
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: [S::f32s; 6]) -> [S::f32s; 4] {
        let (a, b) = (A as f32, B as f32);
        let scaled = |x: S::f32s, k: f32| simd.mul_f32s(x, simd.splat_f32s(k));
        let fma = |y: S::f32s, k: f32, x: S::f32s| simd.mul_add_e_f32s(y, simd.splat_f32s(k), x);
        let (even_a, odd_a) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
        let (even_b, odd_b) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
        [
            simd.add_f32s(m[0], simd.add_f32s(even_a, even_b)),
            fma(odd_a, a, scaled(odd_b, b)),
            fma(even_a, a * a, scaled(even_b, b * b)),
            fma(odd_a, a * a * a, fma(odd_b, b * b * b, m[5])),
        ]
    }

    #[inline(always)]
    fn output_gradient<S: Simd>(simd: S, y: [S::f32s; 4]) -> [S::f32s; 6] {
        let (a, b) = (A as f32, B as f32);
        let scaled = |x: S::f32s, k: f32| simd.mul_f32s(x, simd.splat_f32s(k));
        let fma = |y: S::f32s, k: f32, x: S::f32s| simd.mul_add_e_f32s(y, simd.splat_f32s(k), x);
        let (even_a, odd_a) = (fma(y[2], a * a, y[0]), fma(y[3], a * a * a, scaled(y[1], a)));
        let (even_b, odd_b) = (fma(y[2], b * b, y[0]), fma(y[3], b * b * b, scaled(y[1], b)));
        [
            y[0],
            simd.add_f32s(even_a, odd_a),
            simd.sub_f32s(even_a, odd_a),
            simd.add_f32s(even_b, odd_b),
            simd.sub_f32s(even_b, odd_b),
            y[3],
        ]
    }

    #[inline(always)]
    fn weight<S: Simd>(simd: S, w: [S::f32s; 3]) -> [S::f32s; 6] {
        let scaled = |x: S::f32s, k: f64| simd.mul_f32s(x, simd.splat_f32s(k as f32));
        let fma = |y: S::f32s, k: f64, x: S::f32s| simd.mul_add_e_f32s(y, simd.splat_f32s(k as f32), x);
        let (even_a, odd_a) = (fma(w[2], A * A / FROM_A, scaled(w[0], 1.0 / FROM_A)), scaled(w[1], A / FROM_A));
        let (even_b, odd_b) = (fma(w[2], B * B / FROM_B, scaled(w[0], 1.0 / FROM_B)), scaled(w[1], B / FROM_B));
        [
            scaled(w[0], 1.0 / FROM_0),
            simd.add_f32s(even_a, odd_a),
            simd.sub_f32s(even_a, odd_a),
            simd.add_f32s(even_b, odd_b),
            simd.sub_f32s(even_b, odd_b),
            w[2],
        ]
    }

    #[inline(always)]
    fn weight_gradient<S: Simd>(simd: S, u: [S::f32s; 6]) -> [S::f32s; 3] {
        let scaled = |x: S::f32s, k: f64| simd.mul_f32s(x, simd.splat_f32s(k as f32));
        let fma = |y: S::f32s, k: f64, x: S::f32s| simd.mul_add_e_f32s(y, simd.splat_f32s(k as f32), x);
        let (even_a, odd_a) = (simd.add_f32s(u[1], u[2]), simd.sub_f32s(u[1], u[2]));
        let (even_b, odd_b) = (simd.add_f32s(u[3], u[4]), simd.sub_f32s(u[3], u[4]));
        [
            fma(even_a, 1.0 / FROM_A, fma(even_b, 1.0 / FROM_B, scaled(u[0], 1.0 / FROM_0))),
            fma(odd_a, A / FROM_A, scaled(odd_b, B / FROM_B)),
            fma(even_a, A * A / FROM_A, fma(even_b, B * B / FROM_B, u[5])),
        ]
    }
}
