//! 3x3 convolution by Winograd's algorithm (Lavin and Gray 2016): F(2x2, 3x3) and F(4x4, 3x3).
//!
//! For each tile of M x M pixels, `Y = A^T (sum over ci of (G w G^T) . (B^T d B)) A`: (M + 2)^2 products instead of 9 M^2. The points
//! of F(4x4, 3x3) are 0, +-3/4, +-3/2 and infinity: with the usual 0, +-1, +-2 an image is some 8% less exact.

use crate::aligned::Scratch;
use crate::convolution::{ConvolutionWeights, Epilogue, Strip, strips};
use crate::input::Activations;
use crate::product::{SLACK, product};
use crate::{BLOCK, Buffers, Cpu, PANEL};
use alias_plan::Convolution;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Tiles that a thread computes at once, down and across: what it transforms then stays in its cache.
const TILES: [usize; 2] = [4, 12];

/// The finite points, of which the first is 0.
const A: f64 = 0.75;
const B: f64 = 1.5;
fn points(m: usize) -> &'static [f64] {
    match m {
        2 => &[0.0, 1.0, -1.0],
        4 => &[0.0, A, -A, B, -B],
        _ => panic!("F({m}x{m}, 3x3) is not there; there are 2 and 4"),
    }
}

/// G, row by row: what the values of a kernel's polynomial at the points are, over the product of their distances.
pub(crate) fn weight_transform(m: usize) -> Vec<[f64; 3]> {
    let points = points(m);
    let row = |(i, &x): (usize, &f64)| {
        let others = points.iter().enumerate().filter(|&(j, _)| j != i);
        let distances: f64 = others.map(|(_, &y)| x - y).product();
        [1.0, x, x * x].map(|power| power / distances)
    };
    points.iter().enumerate().map(row).chain([[0.0, 0.0, 1.0]]).collect()
}

/// `G w G^T` for a panel of 3x3 kernels side by side: to `out(place)[column]`.
pub(crate) fn transform_weights(g: &[[f64; 3]], w: &[[f64; PANEL]; 9], mut out: impl FnMut(usize, &[f32; PANEL])) {
    for (i, gi) in g.iter().enumerate() {
        // A row of G w.
        let mut rows = [[0.0; PANEL]; 3];
        for (k, row) in rows.iter_mut().enumerate() {
            for (column, value) in row.iter_mut().enumerate() {
                *value = gi[0] * w[k][column] + gi[1] * w[3 + k][column] + gi[2] * w[6 + k][column];
            }
        }
        for (j, gj) in g.iter().enumerate() {
            let mut product = [0.0; PANEL];
            for (column, value) in product.iter_mut().enumerate() {
                *value = (gj[0] * rows[0][column] + gj[1] * rows[1][column] + gj[2] * rows[2][column]) as f32;
            }
            out(i * g.len() + j, &product);
        }
    }
}

/// The transforms of one line, as vectors.
trait Tile {
    /// Pixels of a tile's side, and places of its transform's.
    const M: usize;
    const N: usize;
    /// `B^T d`.
    fn input<S: Simd>(simd: S, d: &[S::f32s]) -> [S::f32s; 6];
    /// `A^T m`.
    fn output<S: Simd>(simd: S, m: &[S::f32s]) -> [S::f32s; 4];
}

struct Two;
impl Tile for Two {
    const M: usize = 2;
    const N: usize = 4;

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: &[S::f32s]) -> [S::f32s; 6] {
        let zero = simd.splat_f32s(0.0);
        // At 0 and infinity the sign is not the usual one; nor is that of `weight_transform`, and of `output`.
        [
            simd.sub_f32s(d[2], d[0]),
            simd.add_f32s(d[2], d[1]),
            simd.sub_f32s(d[2], d[1]),
            simd.sub_f32s(d[3], d[1]),
            zero,
            zero,
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: &[S::f32s]) -> [S::f32s; 4] {
        let zero = simd.splat_f32s(0.0);
        let (even, odd) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
        [simd.add_f32s(m[0], even), simd.add_f32s(odd, m[3]), zero, zero]
    }
}

struct Four;
impl Tile for Four {
    const M: usize = 4;
    const N: usize = 6;

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: &[S::f32s]) -> [S::f32s; 6] {
        let (a, b) = (A as f32, B as f32);
        // By x + y k.
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
    fn output<S: Simd>(simd: S, m: &[S::f32s]) -> [S::f32s; 4] {
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

pub(crate) fn run(cpu: &Cpu, step: &Convolution, buffers: &mut Buffers, weights: &ConvolutionWeights) {
    let alias_plan::Method::Winograd(m) = step.method else { panic!("{}: another method", step.name) };
    buffers.write(step.output, |buffers, out| {
        let activations = Activations::new(step, buffers);
        let strips = strips(step, out, TILES[0] * m, 4 * cpu.threads());
        strips.into_par_iter().for_each(|strip| {
            let (activations, epilogue) = (&activations, Epilogue::new(step));
            let work = Work { width: step.input.width, activations, epilogue, weights, strip, cout: step.cout };
            if m == 2 { cpu.dispatch(By::<Two>(work, Two)) } else { cpu.dispatch(By::<Four>(work, Four)) }
        });
    });
}

struct Work<'a> {
    width: usize,
    activations: &'a Activations<'a>,
    epilogue: Epilogue,
    weights: &'a ConvolutionWeights,
    strip: Strip<'a>,
    cout: usize,
}

/// A strip, rectangles of [`TILES`] of it one after the other.
struct By<'a, T>(Work<'a>, T);

impl<T: Tile> WithSimd for By<'_, T> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "i, j are places of a matrix, as in the formula")]
    fn with_simd<S: Simd>(self, simd: S) {
        let Work { width, activations, epilogue, weights, strip, cout } = self.0;
        let Strip { n, rows, panels, mut out } = strip;
        let (m, side, count) = (T::M, T::N, T::N * T::N);
        let blocks = activations.view.blocks();
        let down = rows.len().div_ceil(m);
        let across = TILES[1].min(width.div_ceil(m));
        let tiles = down * across;
        let [seen_h, seen_w] = [down * m + 2, across * m + 2];
        // One block of channels; transforms (places, blocks, tiles, BLOCK); sums (panels, places, tiles, PANEL).
        let (staged, plane) = (seen_h * seen_w * BLOCK, (tiles + SLACK) * BLOCK);
        let (inputs, sums) = (count * blocks * plane, (tiles + SLACK) * PANEL);
        let all_sums = panels.len() * count * sums;
        let mut scratch = Scratch::take(staged + inputs + all_sums);
        let (staged_at, rest) = scratch.split_at_mut(staged);
        let (inputs_at, rest) = rest.split_at_mut(inputs);
        let sums_at = &mut rest[..all_sums];
        let starts: Vec<usize> = (0..blocks).map(|block| block * plane).collect();

        for left in (0..width).step_by(across * m) {
            for block in 0..blocks {
                let corner = [rows.start as isize - 1, left as isize - 1];
                activations.stage(simd, n, block, corner, [seen_h, seen_w], staged_at);
                for tile in 0..tiles {
                    let corner = (tile / across * m * seen_w + tile % across * m) * BLOCK;
                    let to = block * plane + tile * BLOCK;
                    for v in (0..BLOCK).step_by(S::F32_LANES) {
                        let d = |i: usize, j: usize| vector::<S>(&staged_at[corner + (i * seen_w + j) * BLOCK + v..]);
                        // B^T d, by columns; then each row of it times B. Loops, since closures over arrays are not always
                        // compiled into their caller, and then not for its instructions.
                        let zero = simd.splat_f32s(0.0);
                        let mut half = [[zero; 6]; 6];
                        for j in 0..side {
                            let mut column = [zero; 6];
                            for i in 0..side {
                                column[i] = d(i, j);
                            }
                            let column = T::input(simd, &column);
                            for i in 0..side {
                                half[i][j] = column[i];
                            }
                        }
                        for i in 0..side {
                            let row = T::input(simd, &half[i]);
                            for j in 0..side {
                                *vector_mut::<S>(&mut inputs_at[(i * side + j) * blocks * plane + to + v..]) = row[j];
                            }
                        }
                    }
                }
            }
            // A place's transforms stay in the cache for all panels.
            let each = blocks * BLOCK * PANEL;
            for place in 0..count {
                let inputs = &inputs_at[place * blocks * plane..][..blocks * plane];
                for panel in panels.clone() {
                    let weights = &weights.panels[(panel * count + place) * each..][..each];
                    let to = &mut sums_at[((panel - panels.start) * count + place) * sums..][..sums];
                    product(simd, inputs, &starts, tiles, cout - panel * PANEL, weights, to);
                }
            }
            for panel in panels.clone() {
                let sums_at = &sums_at[(panel - panels.start) * count * sums..][..count * sums];
                for (half, out) in out[2 * (panel - panels.start)..].iter_mut().take(2).enumerate() {
                    let bias = &weights.bias[panel * PANEL + half * BLOCK..][..BLOCK];
                    for tile in 0..tiles {
                        let (top, start) = (tile / across * m, left + tile % across * m);
                        let (h, w) = (m.min(rows.len() - top), m.min(width.saturating_sub(start)));
                        for v in 0..BLOCK / S::F32_LANES {
                            let at = tile * PANEL + half * BLOCK + v * S::F32_LANES;
                            let zero = simd.splat_f32s(0.0);
                            let mut half = [[zero; 6]; 4];
                            for j in 0..side {
                                let mut column = [zero; 6];
                                for i in 0..side {
                                    column[i] = vector::<S>(&sums_at[(i * side + j) * sums + at..]);
                                }
                                let column = T::output(simd, &column);
                                for i in 0..m {
                                    half[i][j] = column[i];
                                }
                            }
                            for y in 0..h {
                                let row = T::output(simd, &half[y]);
                                for (x, &sum) in row.iter().enumerate().take(w) {
                                    let to = &mut out[((top + y) * width + start + x) * BLOCK..][..BLOCK];
                                    epilogue.store(simd, sum, v, bias, to);
                                }
                            }
                        }
                    }
                }
            }
        }

        epilogue.finish(&mut out);
    }
}

/// The first elements as a vector.
#[inline(always)]
fn vector<S: Simd>(values: &[f32]) -> S::f32s {
    S::as_simd_f32s(&values[..S::F32_LANES]).0[0]
}

#[inline(always)]
fn vector_mut<S: Simd>(values: &mut [f32]) -> &mut S::f32s {
    &mut S::as_mut_simd_f32s(&mut values[..S::F32_LANES]).0[0]
}
