//! 3x3 convolution of stride 1 by Winograd's F(4x4, 3x3), as `alias_cpu` draws by it.
//!
//! A rectangle of tiles goes through two phases: transform the input, a block of channels at a time; for each panel of
//! output channels, multiply at each of the 36 places, transform the sums and store them. Where there are many rectangles,
//! each thread computes its own; where there are few, all threads share each phase of one.

use super::convolution::Convolution;
use super::strips::{Strip, strips};
use alias_cpu::{BLOCK, Cpu, F, PANEL, SLACK, Scratch, blocks, product, stage_planes};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Side of a tile, and of its transform.
const M: usize = 4;
const N: usize = M + 2;
const PLACES: usize = N * N;
/// Tiles of a rectangle that one thread computes, down and across.
const TILES: [usize; 2] = [4, 12];
/// Tiles across a shared rectangle, at most, and bytes of its transformed input at one place.
const ACROSS: usize = 36;
const SHARED: usize = 512 << 10;
/// Strips that keep most processors busy. The actual number of threads does not matter, so that results are the same.
const STRIPS: usize = 16;

pub(super) fn run(cpu: &Cpu, conv: &Convolution, x: &[f32], packed: &[f32], bias: &[f32], y: &mut [f32]) {
    let [down, across] = conv.output.map(|pixels| pixels.div_ceil(M));
    let shared = conv.batch * down.div_ceil(TILES[0]) < STRIPS;
    let most = if shared {
        let across = across.min(ACROSS);
        [(SHARED / (blocks(conv.cin) * BLOCK * size_of::<f32>()) / across).max(1), across]
    } else {
        TILES
    };
    // Rectangles of about equal size.
    let [down, across] = [(down, most[0]), (across, most[1])].map(|(tiles, most)| tiles.div_ceil(tiles.div_ceil(most)));
    let work = Work { cpu, conv, x, packed, bias, across, shared };
    let strips = strips(conv, y, down * M, 1);
    if shared {
        strips.into_iter().for_each(|strip| work.strip(strip));
    } else {
        strips.into_par_iter().for_each(|strip| work.strip(strip));
    }
}

/// A convolution, for all of its strips.
struct Work<'a> {
    cpu: &'a Cpu,
    conv: &'a Convolution,
    x: &'a [f32],
    /// (panels, places, blocks, BLOCK, PANEL).
    packed: &'a [f32],
    bias: &'a [f32],
    /// Tiles across a rectangle.
    across: usize,
    /// Whether all threads compute a rectangle together.
    shared: bool,
}

impl Work<'_> {
    /// Computes a strip of all output channels, one rectangle after another.
    fn strip(&self, strip: Strip) {
        let Work { cpu, conv, x, packed, bias, across, .. } = *self;
        let Strip { n, rows, mut planes, .. } = strip;
        let image = conv.cin * conv.input[0] * conv.input[1];
        let image = &x[n * image..][..image];
        let (blocks, down) = (blocks(conv.cin), rows.len().div_ceil(M));
        let slots = down * across + SLACK;
        let mut inputs = Scratch::take(blocks * PLACES * slots * BLOCK);
        for left in (0..conv.output[1]).step_by(across * M) {
            let tiles = Tiles { conv, top: rows.start, left, down, across, slots };
            let to = inputs.chunks_exact_mut(PLACES * slots * BLOCK).take(blocks);
            self.for_each(to, |(block, to)| cpu.dispatch(Load { tiles, image, block, to }));
            let inputs = &inputs[..blocks * PLACES * slots * BLOCK];
            let each = PLACES * blocks * BLOCK * PANEL;
            self.for_each(planes.chunks_mut(PANEL), |(panel, planes)| {
                let (weights, bias) = (&packed[panel * each..][..each], &bias[panel * PANEL..][..PANEL]);
                cpu.dispatch(Panel { tiles, height: rows.len(), inputs, weights, bias, planes });
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
    conv: &'a Convolution,
    /// First row and column of the output.
    top: usize,
    left: usize,
    down: usize,
    across: usize,
    /// Tiles for which there is memory, with those that [`product`] may touch past the last one.
    slots: usize,
}

/// The first phase, for one block of channels: `B^T d B` of each tile.
struct Load<'a> {
    tiles: Tiles<'a>,
    /// (Cin, H, W).
    image: &'a [f32],
    block: usize,
    /// (places, slots, BLOCK).
    to: &'a mut [f32],
}

impl WithSimd for Load<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Load { tiles: Tiles { conv, top, left, down, across, slots }, image, block, to } = self;
        let seen = [down * M + 2, across * M + 2];
        let mut staged = Scratch::take(seen[0] * seen[1] * BLOCK);
        let corner = [conv.corner[0] + top as isize, conv.corner[1] + left as isize];
        stage_planes(image, conv.input, block, corner, 1, seen, &mut staged);
        F::<M, N>::load(simd, &staged, seen[1], [down, across], slots, to);
    }
}

/// The second phase, for one panel: products, `A^T m A`, bias.
struct Panel<'a, 'y> {
    tiles: Tiles<'a>,
    /// Rows of the output in the rectangle.
    height: usize,
    /// (blocks, places, slots, BLOCK).
    inputs: &'a [f32],
    /// (places, blocks, BLOCK, PANEL).
    weights: &'a [f32],
    bias: &'a [f32],
    /// The strip's rows of each channel of the panel.
    planes: &'a mut [&'y mut [f32]],
}

impl WithSimd for Panel<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Panel { tiles: Tiles { conv, left, down, across, slots, .. }, height, inputs, weights, bias, planes } =
            self;
        let (plane, columns) = (slots * BLOCK, planes.len());
        let blocks = inputs.len() / (PLACES * plane);
        let mut scratch = Scratch::take(PLACES * slots * PANEL);
        let sums = &mut scratch[..PLACES * slots * PANEL];
        let each = blocks * BLOCK * PANEL;
        for (place, (sums, weights)) in sums.chunks_exact_mut(slots * PANEL).zip(weights.chunks_exact(each)).enumerate()
        {
            let starts: Vec<usize> = (0..blocks).map(|block| (block * PLACES + place) * plane).collect();
            product(simd, inputs, &starts, down * across, columns, weights, sums);
        }
        let width = conv.output[1];
        let mut tile = [0.0; M * M * PANEL];
        for t in 0..down * across {
            let (top, start) = (t / across * M, left + t % across * M);
            let (h, w) = (M.min(height - top), M.min(width.saturating_sub(start)));
            for v in (0..columns).step_by(S::F32_LANES) {
                let values = F::<M, N>::sum(simd, &sums[t * PANEL + v..], slots * PANEL);
                for (pixel, &value) in values.as_flattened().iter().enumerate() {
                    S::as_mut_simd_f32s(&mut tile[pixel * PANEL + v..][..S::F32_LANES]).0[0] = value;
                }
            }
            for (c, plane) in planes.iter_mut().enumerate() {
                for y in 0..h {
                    let to = &mut plane[(top + y) * width + start..][..w];
                    for (x, to) in to.iter_mut().enumerate() {
                        *to = tile[(y * M + x) * PANEL + c] + bias[c];
                    }
                }
            }
        }
    }
}
