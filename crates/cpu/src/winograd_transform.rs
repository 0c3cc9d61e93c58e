//! The transforms of Winograd's algorithm for F(2x2, 3x3) and F(4x4, 3x3).
//!
//! The interpolation points of F(4x4, 3x3) are 0, +-3/4, +-3/2 and infinity: the usual 0, +-1, +-2 make the error of an
//! image some 8% larger.

use crate::PANEL;
use pulp::Simd;

/// A and B are the positive finite points of F(4x4, 3x3).
const A: f64 = 0.75;
const B: f64 = 1.5;
fn points(m: usize) -> &'static [f64] {
    match m {
        2 => &[0.0, 1.0, -1.0],
        4 => &[0.0, A, -A, B, -B],
        _ => panic!("F({m}x{m}, 3x3) is not there; there are 2 and 4"),
    }
}

/// The rows of G. Row i evaluates a kernel, as a polynomial, at point i and divides by the product of its distances
/// from the other points; the last row is for infinity.
pub(crate) fn weight_transform(m: usize) -> Vec<[f64; 3]> {
    let points = points(m);
    let row = |(i, &x): (usize, &f64)| {
        let others = points.iter().enumerate().filter(|&(j, _)| j != i);
        let distances: f64 = others.map(|(_, &y)| x - y).product();
        [1.0, x, x * x].map(|power| power / distances)
    };
    points.iter().enumerate().map(row).chain([[0.0, 0.0, 1.0]]).collect()
}

/// `G w G^T` for the 3x3 kernels of a panel. `w` is [tap][column], `out` is [place in the transform][column].
#[inline(always)]
pub(crate) fn transform_weights(g: &[[f64; 3]], w: &[[f64; PANEL]; 9], out: &mut [[f32; PANEL]; 36]) {
    for (i, gi) in g.iter().enumerate() {
        // Row i of G w.
        let mut rows = [[0.0; PANEL]; 3];
        for (k, row) in rows.iter_mut().enumerate() {
            for (column, value) in row.iter_mut().enumerate() {
                *value = gi[0] * w[k][column] + gi[1] * w[3 + k][column] + gi[2] * w[6 + k][column];
            }
        }
        for (j, gj) in g.iter().enumerate() {
            for (column, value) in out[i * g.len() + j].iter_mut().enumerate() {
                *value = (gj[0] * rows[0][column] + gj[1] * rows[1][column] + gj[2] * rows[2][column]) as f32;
            }
        }
    }
}

/// The transforms of a row or column of a tile. Each element is a vector of channels.
pub(crate) trait Transform<const M: usize, const N: usize> {
    /// `B^T d`.
    fn input<S: Simd>(simd: S, d: [S::f32s; N]) -> [S::f32s; N];
    /// `A^T m`.
    fn output<S: Simd>(simd: S, m: [S::f32s; N]) -> [S::f32s; M];
}

/// F(M x M, 3x3) with transforms of N = M + 2 points.
pub(crate) struct F<const M: usize, const N: usize>;

impl Transform<2, 4> for F<2, 4> {
    #[inline(always)]
    fn input<S: Simd>(simd: S, d: [S::f32s; 4]) -> [S::f32s; 4] {
        // At 0 and infinity the sign is opposite to Lavin and Gray's; `weight_transform` and `output` make up for it.
        [simd.sub_f32s(d[2], d[0]), simd.add_f32s(d[2], d[1]), simd.sub_f32s(d[2], d[1]), simd.sub_f32s(d[3], d[1])]
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: [S::f32s; 4]) -> [S::f32s; 2] {
        let (even, odd) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
        [simd.add_f32s(m[0], even), simd.add_f32s(odd, m[3])]
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
}
