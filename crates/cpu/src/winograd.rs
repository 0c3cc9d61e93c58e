//! 3x3 convolution by Winograd's algorithm (Lavin and Gray 2016): F(2x2, 3x3) and F(4x4, 3x3).
//!
//! For each tile of M x M pixels, `Y = A^T (sum over ci of (G w G^T) . (B^T d B)) A`. This takes (M + 2)^2 products
//! instead of 9 M^2.
//!
//! A rectangle of tiles goes through three phases: transform the input, a block of channels at a time; multiply, one of
//! the (M + 2)^2 places of the transform at a time; transform the sums, a panel at a time. If the weights are small,
//! each thread computes rectangles of its own, whose transforms stay in its cache. If the weights are large or the
//! strips few, all threads compute one larger rectangle together, phase by phase, so that weights are read from memory
//! less often.

use crate::aligned::Scratch;
use crate::input::Activations;
use crate::output::{Epilogue, Strip, strips};
use crate::product::{SLACK, product};
use crate::weights::ConvolutionWeights;
use crate::winograd_transform::{F, Transform};
use crate::{BLOCK, Cpu, HostBuffers, PANEL};
use alias_plan::{Convolution, Method};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Tiles of a rectangle that one thread computes, down and across.
const TILES: [usize; 2] = [4, 12];
/// Strips of such rectangles that keep most processors busy. The actual number of threads must not matter, since a plan
/// and its scratch memory are made without a device.
const STRIPS: usize = 16;
/// Tiles across a shared rectangle, at most.
const ACROSS: usize = 36;
/// Bytes of a shared rectangle's transformed input at one place, at most: a part of a core's L2 cache.
const SHARED: usize = 512 << 10;
/// Bytes of weights from which threads share rectangles.
const LARGE: u64 = 8 << 20;

/// Whether all threads compute a rectangle together.
fn is_shared(step: &Convolution, m: usize) -> bool {
    let weights = ConvolutionWeights::bytes(&step.input.operand_channels(), step.kernel, step.cout, step.method);
    weights >= LARGE || step.input.batch * step.rows.len().div_ceil(TILES[0] * m) < STRIPS
}

/// Tiles of a rectangle, down and across. Divides the output into rectangles of about equal size.
fn rectangle(step: &Convolution, m: usize, shared: bool) -> [usize; 2] {
    let [down, across] = [step.rows.len(), step.input.width].map(|pixels| pixels.div_ceil(m));
    let most = if shared {
        let across = across.min(ACROSS);
        [(SHARED / (step.input.stored_channels(BLOCK) * size_of::<f32>()) / across).max(1), across]
    } else {
        TILES
    };
    [(down, most[0]), (across, most[1])].map(|(tiles, most)| tiles.div_ceil(tiles.div_ceil(most)))
}

/// Elements of a rectangle's transformed input and its sums, which the phases hand on.
fn between(step: &Convolution, m: usize, [down, across]: [usize; 2]) -> usize {
    let channels = step.input.stored_channels(BLOCK) + step.cout.next_multiple_of(PANEL);
    (m + 2) * (m + 2) * (down * across + SLACK) * channels
}

/// Elements of a step's [`scratch`](Convolution::scratch), 0 if it needs none.
pub fn scratch_elements(step: &Convolution) -> usize {
    match step.method {
        Method::Winograd(m) if is_shared(step, m) => between(step, m, rectangle(step, m, true)),
        _ => 0,
    }
}

pub(crate) fn run(cpu: &Cpu, step: &Convolution, buffers: &mut HostBuffers, weights: &ConvolutionWeights) {
    match step.method {
        Method::Winograd(2) => convolve::<2, 4>(cpu, step, buffers, weights),
        Method::Winograd(4) => convolve::<4, 6>(cpu, step, buffers, weights),
        method => panic!("{}: {method:?} is not Winograd's algorithm for tiles of 2 or 4 pixels", step.name),
    }
}

fn convolve<const M: usize, const N: usize>(
    cpu: &Cpu,
    step: &Convolution,
    buffers: &mut HostBuffers,
    weights: &ConvolutionWeights,
) where
    F<M, N>: Transform<M, N>,
{
    let shared = step.scratch.is_some();
    let [down, across] = rectangle(step, M, shared);
    let convolve = |buffers: &HostBuffers, out: &mut [f32], scratch: &mut [f32]| {
        let activations = &Activations::new(&step.input, buffers);
        let work = Work::<M, N> { cpu, step, activations, weights, across, shared };
        let strips = strips(step, out, down * M, 1);
        if shared {
            strips.into_iter().for_each(|strip| work.strip(strip, scratch));
        } else {
            let len = between(step, M, [down, across]);
            strips.into_par_iter().for_each(|strip| work.strip(strip, &mut Scratch::take(len)));
        }
    };
    match step.scratch {
        Some(scratch) => {
            buffers.write([step.output, scratch], |buffers, [out, scratch]| convolve(buffers, out, scratch));
        }
        None => buffers.write([step.output], |buffers, [out]| convolve(buffers, out, &mut [])),
    }
}

/// A convolution, for all of its strips.
struct Work<'a, const M: usize, const N: usize> {
    cpu: &'a Cpu,
    step: &'a Convolution,
    activations: &'a Activations<'a>,
    weights: &'a ConvolutionWeights,
    /// Tiles across a rectangle.
    across: usize,
    /// Whether all threads compute a rectangle together.
    shared: bool,
}

impl<const M: usize, const N: usize> Work<'_, M, N>
where
    F<M, N>: Transform<M, N>,
{
    /// Computes a strip of all output channels, one rectangle after another. `between` holds what the phases hand on.
    fn strip(&self, strip: Strip, between: &mut [f32]) {
        let Work::<M, N> { cpu, step, activations, weights, across, .. } = *self;
        let Strip { n, rows, mut out, .. } = strip;
        let (blocks, panels, width) = (activations.view.blocks(), step.cout.div_ceil(PANEL), step.input.width);
        let down = rows.len().div_ceil(M);
        let slots = down * across + SLACK;
        // The transformed input (blocks, places, slots, BLOCK) and the sums (places, panels, slots, PANEL).
        let (inputs, sums) = between.split_at_mut(blocks * N * N * slots * BLOCK);
        let sums = &mut sums[..N * N * panels * slots * PANEL];
        // The panels of a place are divided so that there is work for every thread.
        let parts = if self.shared { (4 * cpu.threads()).div_ceil(N * N).min(panels) } else { 1 };
        let each = panels.div_ceil(parts);
        for left in (0..width).step_by(across * M) {
            let tiles = Tiles { n, rows: &rows, left, down, across, slots };
            self.for_each(inputs.chunks_exact_mut(N * N * slots * BLOCK), |(block, to)| {
                cpu.dispatch(Load::<M, N> { activations, tiles, block, to });
            });
            let inputs = &*inputs;
            let parts = sums.chunks_exact_mut(panels * slots * PANEL).enumerate().flat_map(|(place, sums)| {
                sums.chunks_mut(each * slots * PANEL).enumerate().map(move |(part, sums)| (place, part * each, sums))
            });
            self.for_each(parts, |(_, (place, panel, sums))| {
                cpu.dispatch(Multiply { inputs, weights, tiles, place, places: N * N, panel, cout: step.cout, sums });
            });
            let sums = &*sums;
            self.for_each(out.chunks_mut(2), |(panel, out)| {
                let bias = &weights.bias[panel * PANEL..][..PANEL];
                cpu.dispatch(Store::<M, N> { step, tiles, sums, panel, bias, out });
            });
        }
    }

    /// Calls `work` with each item and its number, in parallel if the rectangle is shared.
    fn for_each<I: Send>(&self, items: impl Iterator<Item = I>, work: impl Fn((usize, I)) + Sync + Send) {
        if self.shared {
            items.enumerate().collect::<Vec<_>>().into_par_iter().for_each(work);
        } else {
            items.enumerate().for_each(work);
        }
    }
}

/// A rectangle of tiles.
#[derive(Clone, Copy)]
struct Tiles<'a> {
    n: usize,
    /// Rows of the image.
    rows: &'a Range<usize>,
    /// First column of the image.
    left: usize,
    down: usize,
    across: usize,
    /// Tiles for which there is memory, with those that [`product`] may touch past the last one.
    slots: usize,
}

/// The first phase, for one block of channels: `B^T d B` of each tile.
struct Load<'a, const M: usize, const N: usize> {
    activations: &'a Activations<'a>,
    tiles: Tiles<'a>,
    block: usize,
    /// (places, slots, BLOCK).
    to: &'a mut [f32],
}

impl<const M: usize, const N: usize> WithSimd for Load<'_, M, N>
where
    F<M, N>: Transform<M, N>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Load { activations, tiles, block, to } = self;
        let Tiles { n, rows, left, down, across, slots } = tiles;
        let seen = [down * M + 2, across * M + 2];
        let mut staged = Scratch::take(seen[0] * seen[1] * BLOCK);
        let corner = [rows.start as isize - 1, left as isize - 1];
        activations.stage(simd, n, block, corner, seen, &mut staged);
        F::<M, N>::load(simd, &staged, seen[1], [down, across], slots, to);
    }
}

/// The second phase, for one place and some panels.
struct Multiply<'a> {
    /// (blocks, places, slots, BLOCK).
    inputs: &'a [f32],
    weights: &'a ConvolutionWeights,
    tiles: Tiles<'a>,
    place: usize,
    places: usize,
    /// The first panel.
    panel: usize,
    cout: usize,
    /// (panels, slots, PANEL).
    sums: &'a mut [f32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Multiply { inputs, weights, tiles, place, places, panel, cout, sums } = self;
        let plane = tiles.slots * BLOCK;
        let blocks = inputs.len() / (places * plane);
        let starts: Vec<usize> = (0..blocks).map(|block| (block * places + place) * plane).collect();
        let each = blocks * BLOCK * PANEL;
        for (panel, sums) in (panel..).zip(sums.chunks_exact_mut(tiles.slots * PANEL)) {
            let weights = &weights.panels[(panel * places + place) * each..][..each];
            product(simd, inputs, &starts, tiles.down * tiles.across, cout - panel * PANEL, weights, sums);
        }
    }
}

/// The third phase, for one panel: `A^T m A`, then bias, addition and activation.
struct Store<'a, 'out, const M: usize, const N: usize> {
    step: &'a Convolution,
    tiles: Tiles<'a>,
    /// (places, panels, slots, PANEL).
    sums: &'a [f32],
    panel: usize,
    bias: &'a [f32],
    /// For each block of channels, (rows, W, BLOCK).
    out: &'a mut [&'out mut [f32]],
}

impl<const M: usize, const N: usize> WithSimd for Store<'_, '_, M, N>
where
    F<M, N>: Transform<M, N>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Store { step, tiles, sums, panel, bias, out } = self;
        let Tiles { rows, left, down, across, slots, .. } = tiles;
        let (epilogue, width) = (Epilogue::new(step), step.input.width);
        let stride = step.cout.div_ceil(PANEL) * slots * PANEL;
        let sums = &sums[panel * slots * PANEL..];
        for (half, out) in out.iter_mut().enumerate() {
            let bias = &bias[half * BLOCK..][..BLOCK];
            for tile in 0..down * across {
                let (top, start) = (tile / across * M, left + tile % across * M);
                let (h, w) = (M.min(rows.len() - top), M.min(width.saturating_sub(start)));
                for v in 0..BLOCK / S::F32_LANES {
                    let at = tile * PANEL + half * BLOCK + v * S::F32_LANES;
                    let sums = F::<M, N>::sum(simd, &sums[at..], stride);
                    for y in 0..h {
                        for (x, &sum) in sums[y].iter().enumerate().take(w) {
                            let to = &mut out[((top + y) * width + start + x) * BLOCK..][..BLOCK];
                            epilogue.store(simd, sum, v, bias, to);
                        }
                    }
                }
            }
        }
    }
}
