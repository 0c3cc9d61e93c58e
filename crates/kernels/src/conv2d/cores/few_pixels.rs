//! Convolutions of few pixels with many channels, whose time goes into reading the weight: it is read as it is, once, and
//! never packed.
//!
//! The input is unfolded (im2col): a row for each weight of an output channel, a column for each output pixel. Then the
//! convolution is `weight x columns`, the gradient by input `weight^T x dy`, folded back, and the gradient by weight
//! `dy x columns^T`.

use super::super::sizes::Conv;
use alias_cpu::{BLOCK, Cpu, outer_product, row_product};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Pixels up to which this takes less time than products with a packed weight.
const MOST: usize = 128;
/// Rows of the weight in a task.
const ROWS: usize = 24;
/// Columns of the weight in a task: a page of memory for each row.
const COLUMNS: usize = 1024;
/// Rows of the weight that are multiplied before their sums go back to memory.
const TERMS: usize = 32;

pub(super) fn applies(conv: &Conv) -> bool {
    pixels(conv) <= MOST
}

fn pixels(conv: &Conv) -> usize {
    conv.batch * conv.oh * conv.ow
}

/// Weights of an output channel.
fn inner(conv: &Conv) -> usize {
    conv.cin * conv.k * conv.k
}

/// Elements of the scratch memory of each function here.
pub(super) fn scratch_elements(conv: &Conv) -> usize {
    let columns = pixels(conv).next_multiple_of(BLOCK);
    (inner(conv).next_multiple_of(BLOCK) + conv.cout.next_multiple_of(BLOCK)) * columns
}

/// The index in `x` that tap `tap` of output pixel `p` of channel 0 reads, or None outside the image.
fn place(conv: &Conv, tap: usize, p: usize) -> Option<usize> {
    let (n, y, x) = (p / (conv.oh * conv.ow), p / conv.ow % conv.oh, p % conv.ow);
    let y = (y * conv.stride + tap / conv.k).checked_sub(conv.padding).filter(|&y| y < conv.h)?;
    let x = (x * conv.stride + tap % conv.k).checked_sub(conv.padding).filter(|&x| x < conv.w)?;
    Some((n * conv.cin * conv.h + y) * conv.w + x)
}

/// For each tap the [`place`] of each pixel.
fn places(conv: &Conv) -> Vec<Vec<Option<usize>>> {
    (0..conv.k * conv.k).map(|tap| (0..pixels(conv)).map(|p| place(conv, tap, p)).collect()).collect()
}

/// `y = scale weight x + bias`.
pub(super) fn forward(
    cpu: &Cpu,
    conv: &Conv,
    x: &[f32],
    (weight, scale): (&[f32], f32),
    bias: Option<&[f32]>,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let (inner, pixels, plane) = (inner(conv), pixels(conv), conv.h * conv.w);
    let groups = pixels.div_ceil(BLOCK);
    // Groups of pixels (groups, inner, BLOCK).
    let (columns, sums) = scratch.split_at_mut(groups * inner * BLOCK);
    let places = places(conv);
    columns.par_chunks_exact_mut(inner * BLOCK).enumerate().for_each(|(group, columns)| {
        for (k, to) in columns.chunks_exact_mut(BLOCK).enumerate() {
            let (channel, places) = (k / places.len() * plane, &places[k % places.len()][group * BLOCK..]);
            to.fill(0.0);
            to.iter_mut().zip(places).for_each(|(to, place)| *to = place.map_or(0.0, |place| x[channel + place]));
        }
    });
    let columns = &*columns;
    let sums = &mut sums[..conv.cout * groups * BLOCK];
    // (cout, groups, BLOCK).
    sums.par_chunks_mut(ROWS * groups * BLOCK).zip(weight.par_chunks(ROWS * inner)).for_each(|(sums, weight)| {
        cpu.dispatch(Forward { weight, inner, columns, groups, sums });
    });
    let image = conv.oh * conv.ow;
    y.par_chunks_exact_mut(image).enumerate().for_each(|(k, y)| {
        let (n, co) = (k / conv.cout, k % conv.cout);
        let bias = bias.map_or(0.0, |bias| bias[co]);
        let sums = &sums[co * groups * BLOCK + n * image..];
        y.iter_mut().zip(sums).for_each(|(y, sum)| *y = scale * sum + bias);
    });
}

struct Forward<'a> {
    weight: &'a [f32],
    inner: usize,
    columns: &'a [f32],
    groups: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Forward { weight, inner, columns, groups, sums } = self;
        sums.fill(0.0);
        for start in (0..inner).step_by(COLUMNS) {
            let end = inner.min(start + COLUMNS);
            for (group, columns) in columns.chunks_exact(inner * BLOCK).enumerate() {
                let columns = &columns[start * BLOCK..end * BLOCK];
                let (sums, line) = (&mut sums[group * BLOCK..], groups * BLOCK);
                row_product(simd, &weight[start..], inner, weight.len() / inner, columns, sums, line);
            }
        }
    }
}

/// `dx = scale weight^T dy`, folded.
pub(super) fn by_input(
    cpu: &Cpu,
    conv: &Conv,
    dy: &[f32],
    (weight, scale): (&[f32], f32),
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let (inner, pixels, plane, image) = (inner(conv), pixels(conv), conv.h * conv.w, conv.oh * conv.ow);
    let groups = pixels.div_ceil(BLOCK);
    let (columns, gradients) = scratch.split_at_mut(inner.next_multiple_of(BLOCK) * groups * BLOCK);
    // (groups, cout, BLOCK).
    let gradients = &mut gradients[..groups * conv.cout * BLOCK];
    gradients.chunks_exact_mut(conv.cout * BLOCK).enumerate().for_each(|(group, to)| {
        for (co, to) in to.chunks_exact_mut(BLOCK).enumerate() {
            for (lane, to) in to.iter_mut().enumerate() {
                let p = group * BLOCK + lane;
                *to = if p < pixels { dy[(p / image * conv.cout + co) * image + p % image] } else { 0.0 };
            }
        }
    });
    let gradients = &*gradients;
    // Blocks of weights (blocks, groups, BLOCK, BLOCK).
    columns.par_chunks_mut(COLUMNS * groups * BLOCK).enumerate().for_each(|(part, to)| {
        let start = part * COLUMNS;
        cpu.dispatch(ByInput { weight, inner, start, gradients, groups, to });
    });
    let (columns, places) = (&*columns, places(conv));
    let taps = places.len();
    dx.fill(0.0);
    for n in 0..conv.batch {
        let first = n * conv.cin * plane;
        let images = dx[first..][..conv.cin * plane].par_chunks_exact_mut(plane).enumerate();
        images.for_each(|(ci, dx)| {
            for (tap, places) in places.iter().enumerate() {
                let k = ci * taps + tap;
                let column = &columns[(k / BLOCK * groups * BLOCK + k % BLOCK) * BLOCK..];
                for p in n * image..(n + 1) * image {
                    if let Some(place) = places[p] {
                        dx[place - first] += scale * column[p / BLOCK * BLOCK * BLOCK + p % BLOCK];
                    }
                }
            }
        });
    }
}

struct ByInput<'a> {
    weight: &'a [f32],
    inner: usize,
    /// First column of the weight.
    start: usize,
    gradients: &'a [f32],
    groups: usize,
    to: &'a mut [f32],
}

impl WithSimd for ByInput<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ByInput { weight, inner, start, gradients, groups, to } = self;
        to.fill(0.0);
        let terms = weight.len() / inner;
        let mut padded;
        for first in (0..terms).step_by(TERMS) {
            let terms = TERMS.min(terms - first);
            for (block, to) in to.chunks_exact_mut(groups * BLOCK * BLOCK).enumerate() {
                let column = start + block * BLOCK;
                let mut factors = &weight[first * inner + column..];
                let mut stride = inner;
                if inner - column < BLOCK {
                    // The last columns, where the last row of the weight ends too soon to be read by whole blocks.
                    padded = [0.0; TERMS * BLOCK];
                    for (k, to) in padded.chunks_exact_mut(BLOCK).take(terms).enumerate() {
                        to[..inner - column].copy_from_slice(&factors[k * inner..][..inner - column]);
                    }
                    (factors, stride) = (&padded, BLOCK);
                }
                for (gradients, to) in
                    gradients.chunks_exact(gradients.len() / groups).zip(to.chunks_mut(BLOCK * BLOCK))
                {
                    outer_product(simd, factors, stride, &gradients[first * BLOCK..][..terms * BLOCK], to);
                }
            }
        }
    }
}

/// `dw = dy columns^T`.
pub(super) fn by_weight(cpu: &Cpu, conv: &Conv, x: &[f32], dy: &[f32], dw: &mut [f32], scratch: &mut [f32]) {
    let (inner, pixels, plane, image) = (inner(conv), pixels(conv), conv.h * conv.w, conv.oh * conv.ow);
    // (blocks of columns, pixels, BLOCK), then (blocks of output channels, pixels, BLOCK).
    let (columns, gradients) = scratch.split_at_mut(inner.div_ceil(BLOCK) * pixels * BLOCK);
    let places = places(conv);
    let taps = places.len();
    columns.par_chunks_exact_mut(pixels * BLOCK).enumerate().for_each(|(block, columns)| {
        for lane in 0..BLOCK {
            let k = block * BLOCK + lane;
            for (p, to) in columns[lane..].iter_mut().step_by(BLOCK).enumerate() {
                let place = if k < inner { places[k % taps][p] } else { None };
                *to = place.map_or(0.0, |place| x[k / taps * plane + place]);
            }
        }
    });
    let gradients = &mut gradients[..conv.cout.div_ceil(BLOCK) * pixels * BLOCK];
    gradients.par_chunks_exact_mut(pixels * BLOCK).enumerate().for_each(|(block, gradients)| {
        for (p, to) in gradients.chunks_exact_mut(BLOCK).enumerate() {
            for (lane, to) in to.iter_mut().enumerate() {
                let co = block * BLOCK + lane;
                *to = if co < conv.cout { dy[(p / image * conv.cout + co) * image + p % image] } else { 0.0 };
            }
        }
    });
    let (columns, gradients) = (&*columns, &*gradients);
    let rows = dw.par_chunks_mut(BLOCK * inner).zip(gradients.par_chunks_exact(pixels * BLOCK));
    rows.for_each(|(dw, gradients)| cpu.dispatch(ByWeight { columns, gradients, inner, dw }));
}

struct ByWeight<'a> {
    columns: &'a [f32],
    /// (pixels, BLOCK) for the output channels of `dw`.
    gradients: &'a [f32],
    inner: usize,
    dw: &'a mut [f32],
}

impl WithSimd for ByWeight<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ByWeight { columns, gradients, inner, dw } = self;
        for (block, columns) in columns.chunks_exact(gradients.len()).enumerate() {
            let mut sums = [0.0; BLOCK * BLOCK];
            outer_product(simd, gradients, BLOCK, columns, &mut sums);
            for (dw, sums) in dw.chunks_exact_mut(inner).zip(sums.chunks_exact(BLOCK)) {
                dw[block * BLOCK..].iter_mut().zip(sums).for_each(|(dw, &sum)| *dw = sum);
            }
        }
    }
}
