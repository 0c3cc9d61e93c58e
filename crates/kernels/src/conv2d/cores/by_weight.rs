//! The gradient by weight: for each pair of a block of input and a block of output channels, products summed over pixels.
//!
//! Rectangles of all columns and some rows go through two phases, each shared by all threads: stage the input and `dy`, a
//! block of channels at a time; add the products of each pair of blocks to its sums. By Winograd's algorithm (3x3, stride 1)
//! the gradient of F(4x4, 3x3), `dw = G^T (sum over tiles of (A dy A^T) . (B^T d B)) G`, takes a quarter of the products.

use super::super::sizes::Conv;
use alias_cpu::{BLOCK, Cpu, F, MAX_TAPS, Planes, Scratch, blocks, outer_product, stage_planes};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Side of a tile, and of its transform.
const M: usize = 4;
const N: usize = M + 2;
/// Elements of a pair of blocks.
const PAIR: usize = BLOCK * BLOCK;
/// Elements that a rectangle has staged, about.
const STAGED: usize = 1 << 20;
/// Tiles and pixels of a rectangle, at least: fewer would add to each sum in memory too often.
const FEWEST_TILES: usize = 256;
const FEWEST_PIXELS: usize = 1024;
/// Tiles from which Winograd's algorithm takes less time.
const WINOGRAD_TILES: usize = 32;

/// How a gradient by weight is computed.
#[derive(Clone, Copy)]
struct Layout {
    conv: Conv,
    winograd: bool,
    /// Blocks of input and of output channels.
    cin: usize,
    cout: usize,
    /// Rows of `dy` in a rectangle, and how many rectangles an image has.
    rows: usize,
    count: usize,
}

impl Layout {
    fn of(conv: &Conv) -> Layout {
        let (cin, cout) = (blocks(conv.cin), blocks(conv.cout));
        let tiles = conv.oh.div_ceil(M) * conv.ow.div_ceil(M);
        let winograd = conv.k == 3 && conv.stride == 1 && conv.batch * tiles >= WINOGRAD_TILES;
        let channels = (cin + cout) * BLOCK;
        let (lines, line, fewest) = if winograd {
            (conv.oh.div_ceil(M), conv.ow.div_ceil(M) * N * N, FEWEST_TILES * N * N)
        } else {
            (conv.oh, conv.ow * conv.stride * conv.stride, FEWEST_PIXELS)
        };
        let most = (STAGED / channels).max(fewest).div_ceil(line).min(lines);
        let count = lines.div_ceil(most);
        let rows = lines.div_ceil(count) * if winograd { M } else { 1 };
        Layout { conv: *conv, winograd, cin, cout, rows, count: conv.oh.div_ceil(rows) }
    }

    /// Sums for each pair of an input and an output channel.
    fn places(&self) -> usize {
        if self.winograd { N * N } else { self.conv.k * self.conv.k }
    }

    /// Rows and columns of each phase of the input that a rectangle sees, and how many of them are other rectangles'.
    fn seen(&self) -> ([usize; 2], usize) {
        let reach = (self.conv.k - 1) / self.conv.stride;
        ([self.rows + reach, self.conv.ow + reach], reach)
    }

    /// Tiles of a rectangle, down and across.
    fn tiles(&self) -> [usize; 2] {
        [self.rows / M, self.conv.ow.div_ceil(M)]
    }

    /// Elements of a staged block of input channels and of a staged block of output channels.
    fn staged(&self) -> [usize; 2] {
        if self.winograd {
            let [down, across] = self.tiles();
            return [down * across * N * N * BLOCK; 2];
        }
        let ([height, width], reach) = self.seen();
        // Taps of the last row read past its end.
        [(self.conv.stride.pow(2) * height * width + reach) * BLOCK, self.rows * width * BLOCK]
    }

    /// Elements of the sums of a pair of blocks.
    fn sums(&self) -> usize {
        self.places() * PAIR
    }

    /// Elements of all that a rectangle has staged.
    fn all_staged(&self) -> usize {
        let [input, output] = self.staged();
        self.cin * input + self.cout * output
    }

    fn has_one_rectangle(&self) -> bool {
        self.conv.batch * self.count == 1
    }
}

/// Elements of the scratch memory of [`by_weight`].
pub(super) fn scratch_elements(conv: &Conv) -> usize {
    let layout = Layout::of(conv);
    let sums = if layout.has_one_rectangle() { 0 } else { layout.cin * layout.cout * layout.sums() };
    layout.all_staged() + sums
}

/// `dw` (Cout, Cin, K, K) from `x` and `dy`.
pub(super) fn by_weight(cpu: &Cpu, conv: &Conv, x: &[f32], dy: &[f32], dw: &mut [f32], scratch: &mut [f32]) {
    let layout = Layout::of(conv);
    let (staged, sums) = scratch.split_at_mut(layout.all_staged());
    let channels = dw.par_chunks_mut(BLOCK * conv.cin * conv.k * conv.k).enumerate();
    if layout.has_one_rectangle() {
        stage(cpu, &layout, x, dy, 0, staged);
        channels.for_each(|(to, dw)| {
            let mut scratch = Scratch::take(layout.sums());
            let sums = &mut scratch[..layout.sums()];
            for from in 0..layout.cin {
                sums.fill(0.0);
                add(cpu, &layout, staged, [to, from], sums);
                cpu.dispatch(Finish { layout, from, sums, dw });
            }
        });
        return;
    }
    sums.fill(0.0);
    for (x, dy) in x.chunks_exact(conv.cin * conv.h * conv.w).zip(dy.chunks_exact(conv.cout * conv.oh * conv.ow)) {
        for k in 0..layout.count {
            stage(cpu, &layout, x, dy, k * layout.rows, staged);
            let pairs = sums.par_chunks_exact_mut(layout.sums()).enumerate();
            pairs.for_each(|(pair, sums)| add(cpu, &layout, staged, [pair / layout.cin, pair % layout.cin], sums));
        }
    }
    channels.for_each(|(to, dw)| {
        let sums = sums.chunks_exact(layout.sums()).skip(to * layout.cin).take(layout.cin);
        sums.enumerate().for_each(|(from, sums)| cpu.dispatch(Finish { layout, from, sums, dw }));
    });
}

/// Stages the rectangle of an image that starts at row `top` of `dy`: the blocks of the input, then those of `dy`.
fn stage(cpu: &Cpu, layout: &Layout, x: &[f32], dy: &[f32], top: usize, staged: &mut [f32]) {
    let [input, output] = layout.staged();
    let (inputs, outputs) = staged.split_at_mut(layout.cin * input);
    let inputs = inputs.par_chunks_exact_mut(input).enumerate();
    let outputs = outputs.par_chunks_exact_mut(output).enumerate();
    let stage = |image, is_input, (block, to)| cpu.dispatch(Stage { layout, image, is_input, top, block, to });
    rayon::join(
        || inputs.for_each(|block| stage(x, true, block)),
        || outputs.for_each(|block| stage(dy, false, block)),
    );
}

/// Adds a rectangle's products of block `from` of the input with block `to` of `dy` to their sums.
fn add(cpu: &Cpu, layout: &Layout, staged: &[f32], [to, from]: [usize; 2], sums: &mut [f32]) {
    let [input, output] = layout.staged();
    let (inputs, outputs) = staged.split_at(layout.cin * input);
    cpu.dispatch(Add { layout, x: &inputs[from * input..][..input], dy: &outputs[to * output..][..output], sums });
}

/// Stages a block of channels of an image.
struct Stage<'a> {
    layout: &'a Layout,
    image: &'a [f32],
    /// Whether it is the input's, not that of `dy`.
    is_input: bool,
    /// First row of `dy`.
    top: usize,
    block: usize,
    to: &'a mut [f32],
}

impl WithSimd for Stage<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Stage { layout, image, is_input, top, block, to } = self;
        let Conv { h, w, oh, ow, stride, padding, .. } = layout.conv;
        let (input, output) = (Planes { elements: image, size: [h, w] }, Planes { elements: image, size: [oh, ow] });
        let corner = [(top * stride) as isize - padding as isize, -(padding as isize)];
        if layout.winograd {
            let [down, across] = layout.tiles();
            let seen = if is_input { [down * M + 2, across * M + 2] } else { [down * M, across * M] };
            let mut scratch = Scratch::take(seen[0] * seen[1] * BLOCK);
            if is_input {
                stage_planes(simd, input, block, corner, 1, seen, &mut scratch);
                F::<M, N>::load(simd, &scratch, seen[1], [down, across], down * across, to);
            } else {
                stage_planes(simd, output, block, [top as isize, 0], 1, seen, &mut scratch);
                F::<M, N>::load_gradient(simd, &scratch, [down, across], to);
            }
            return;
        }
        let ([height, width], _) = layout.seen();
        if !is_input {
            // Columns past the image are zeros, so that what taps see there adds nothing.
            stage_planes(simd, output, block, [top as isize, 0], 1, [layout.rows, width], to);
            return;
        }
        let (phases, tail) = to.split_at_mut(stride * stride * height * width * BLOCK);
        for (offset, phase) in phases.chunks_exact_mut(height * width * BLOCK).enumerate() {
            let corner = [corner[0] + (offset / stride) as isize, corner[1] + (offset % stride) as isize];
            stage_planes(simd, input, block, corner, stride, [height, width], phase);
        }
        tail.fill(0.0);
    }
}

/// Adds the products of a pair of blocks.
struct Add<'a> {
    layout: &'a Layout,
    x: &'a [f32],
    dy: &'a [f32],
    /// (places, BLOCK, BLOCK), input channels first.
    sums: &'a mut [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Add { layout, x, dy, sums } = self;
        let (k, stride) = (layout.conv.k, layout.conv.stride);
        let places = sums.chunks_exact_mut(PAIR).enumerate();
        if layout.winograd {
            let each = x.len() / (N * N);
            for ((_, sums), (x, dy)) in places.zip(x.chunks_exact(each).zip(dy.chunks_exact(each))) {
                outer_product(simd, x, BLOCK, dy, sums);
            }
            return;
        }
        let ([height, width], _) = layout.seen();
        for (tap, sums) in places {
            let (i, j) = (tap / k, tap % k);
            let phase = (i % stride * stride + j % stride) * height * width;
            let start = (phase + i / stride * width + j / stride) * BLOCK;
            outer_product(simd, &x[start..], BLOCK, dy, sums);
        }
    }
}

/// Stores the sums of a pair of blocks as gradients.
struct Finish<'a> {
    layout: Layout,
    /// The block of input channels.
    from: usize,
    /// (places, BLOCK, BLOCK).
    sums: &'a [f32],
    /// The block's output channels (BLOCK, Cin, K, K), fewer for the last block.
    dw: &'a mut [f32],
}

impl WithSimd for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Finish { layout, from, sums, dw } = self;
        let (cin, taps) = (layout.conv.cin, layout.conv.k * layout.conv.k);
        let mut values = [[0.0f32; BLOCK]; MAX_TAPS];
        for ci in 0..BLOCK.min(cin - from * BLOCK) {
            let sums = &sums[ci * BLOCK..];
            if layout.winograd {
                for v in (0..BLOCK).step_by(S::F32_LANES) {
                    let w = F::<M, N>::weight_gradients(simd, &sums[v..], PAIR);
                    for (value, w) in values.iter_mut().zip(w) {
                        S::as_mut_simd_f32s(&mut value[v..][..S::F32_LANES]).0[0] = w;
                    }
                }
            } else {
                let sums = sums.chunks(PAIR);
                values.iter_mut().zip(sums).for_each(|(value, sums)| value.copy_from_slice(&sums[..BLOCK]));
            }
            for (co, dw) in dw.chunks_exact_mut(cin * taps).enumerate() {
                let to = &mut dw[(from * BLOCK + ci) * taps..][..taps];
                to.iter_mut().zip(&values).for_each(|(to, values)| *to = values[co]);
            }
        }
    }
}
