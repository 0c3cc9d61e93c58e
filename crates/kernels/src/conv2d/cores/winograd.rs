//! 3x3 convolution of stride 1 by Winograd's F(4x4, 3x3), as `alias_cpu` draws by it.
//!
//! A rectangle of tiles goes through two phases: transform the input, a block of channels at a time; for each panel of
//! output channels, multiply at each of the 36 places, transform the sums and store them. Where there are many rectangles,
//! each thread computes its own; where there are few, all threads share each phase of one.

use super::convolution::Convolution;
use super::strips::{Strip, strips};
use alias_cpu::{
    BLOCK, Cpu, F, PANEL, Planes, SIDE, SLACK, Scratch, WeightView, blocks, product, stage_planes, store_pixels,
};
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

/// The transformed weight, or the weight to transform.
#[derive(Clone, Copy)]
pub(super) enum Weights<'a> {
    /// (panels, places, blocks, BLOCK, PANEL).
    Packed(&'a [f32]),
    /// Each panel is transformed right before it is used, in the cache.
    AsTheyAre(WeightView<'a>),
}

/// How the output is divided.
struct Division {
    /// Whether all threads compute a rectangle together.
    shared: bool,
    /// Tiles of a rectangle, down and across.
    tiles: [usize; 2],
    /// Rectangles of all images.
    count: usize,
}

impl Division {
    fn of(conv: &Convolution) -> Division {
        let all @ [down, across] = conv.output.map(|pixels| pixels.div_ceil(M));
        let shared = conv.batch * down.div_ceil(TILES[0]) < STRIPS;
        let most = if shared {
            let across = across.min(ACROSS);
            [(SHARED / (blocks(conv.cin) * BLOCK * size_of::<f32>()) / across).max(1), across]
        } else {
            TILES
        };
        // Rectangles of about equal size.
        let tiles = [0, 1].map(|axis| all[axis].div_ceil(all[axis].div_ceil(most[axis])));
        let count = conv.batch * down.div_ceil(tiles[0]) * across.div_ceil(tiles[1]);
        Division { shared, tiles, count }
    }
}

/// Whether each transformed panel of the weight is used once only, so that it need not be stored.
pub(super) fn uses_weights_once(conv: &Convolution) -> bool {
    Division::of(conv).count == 1
}

pub(super) fn run(cpu: &Cpu, conv: &Convolution, x: &[f32], weights: Weights, bias: &[f32], y: &mut [f32]) {
    let Division { shared, tiles: [down, across], .. } = Division::of(conv);
    let places: Vec<usize> = (0..conv.cin).collect();
    let work = Work { cpu, conv, x, weights, places: &places, bias, across, shared };
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
    weights: Weights<'a>,
    /// The place of each input channel in blocks.
    places: &'a [usize],
    bias: &'a [f32],
    /// Tiles across a rectangle.
    across: usize,
    /// Whether all threads compute a rectangle together.
    shared: bool,
}

impl Work<'_> {
    /// Computes a strip of all output channels, one rectangle after another.
    fn strip(&self, strip: Strip) {
        let Work { cpu, conv, x, weights, places, bias, across, .. } = *self;
        let Strip { n, rows, mut planes, .. } = strip;
        let image = conv.cin * conv.input[0] * conv.input[1];
        let image = Planes { elements: &x[n * image..][..image], size: conv.input };
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
                let mut packed = Scratch::take(if matches!(weights, Weights::AsTheyAre(_)) { each } else { 0 });
                let weights = match weights {
                    Weights::Packed(packed) => &packed[panel * each..][..each],
                    Weights::AsTheyAre(view) => {
                        let packed = &mut packed[..each];
                        if !conv.cin.is_multiple_of(BLOCK) {
                            packed.fill(0.0);
                        }
                        view.pack_panel(cpu, places, Some(M), panel, packed);
                        &*packed
                    }
                };
                let bias = &bias[panel * PANEL..][..PANEL];
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
    image: Planes<'a>,
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
        stage_planes(simd, image, block, corner, 1, seen, &mut staged);
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
        // Two tiles side by side, so that eight pixels are stored at once: (M, SIDE, PANEL).
        let width = conv.output[1];
        let mut pair = [0.0; M * SIDE * PANEL];
        for t in (0..down).flat_map(|row| (0..across).step_by(2).map(move |column| row * across + column)) {
            let (top, start) = (t / across * M, left + t % across * M);
            let Some(pixels @ 1..) = width.checked_sub(start) else { continue };
            let tiles = (across - t % across).min(2);
            for tile in 0..tiles {
                for v in (0..columns).step_by(S::F32_LANES) {
                    let values = F::<M, N>::sum(simd, &sums[(t + tile) * PANEL + v..], slots * PANEL);
                    for (pixel, &value) in values.as_flattened().iter().enumerate() {
                        let at = (pixel / M * SIDE + tile * M + pixel % M) * PANEL + v;
                        S::as_mut_simd_f32s(&mut pair[at..][..S::F32_LANES]).0[0] = value;
                    }
                }
            }
            for y in 0..M.min(height - top) {
                let (sums, at) = (&pair[y * SIDE * PANEL..], (top + y) * width + start);
                store_pixels(simd, sums, pixels.min(tiles * M), bias, planes, at);
            }
        }
    }
}
