//! A step's input: resized, concatenated, with noise, normalized, modulated, through a leaky ReLU.

use crate::{BLOCK, HostBuffers, PANEL, blocks};
use alias_plan::Input;
use pulp::Simd;
use std::ops::Range;

/// A tensor (N, blocks, h, w, BLOCK), before resizing.
#[derive(Clone, Copy)]
struct Operand<'a> {
    data: &'a [f32],
    blocks: usize,
    h: usize,
    w: usize,
}

/// One or two operands resized to one size and concatenated, and the noise.
#[derive(Clone)]
pub(crate) struct View<'a> {
    operands: Vec<Operand<'a>>,
    pub(crate) h: usize,
    pub(crate) w: usize,
    /// (N, H, W).
    pub(crate) noise: Option<&'a [f32]>,
}

impl<'a> View<'a> {
    pub(crate) fn new(input: &Input, buffers: &'a HostBuffers) -> View<'a> {
        let operand = |o: &alias_plan::Operand| Operand {
            data: buffers.get(o.buffer),
            blocks: blocks(o.channels),
            h: o.height,
            w: o.width,
        };
        let noise = input.noise.map(|noise| buffers.get(noise));
        View { operands: input.operands.iter().map(operand).collect(), h: input.height, w: input.width, noise }
    }

    /// Blocks of channels of all operands.
    pub(crate) fn blocks(&self) -> usize {
        self.operands.iter().map(|operand| operand.blocks).sum()
    }

    /// The plane (h, w, BLOCK) of a block before resizing, and [h, w].
    pub(crate) fn plane(&self, n: usize, block: usize) -> (&'a [f32], [usize; 2]) {
        let mut block = block;
        for operand in &self.operands {
            if block < operand.blocks {
                let plane = operand.h * operand.w * BLOCK;
                return (&operand.data[(n * operand.blocks + block) * plane..][..plane], [operand.h, operand.w]);
            }
            block -= operand.blocks;
        }
        panic!("an input of {} blocks has no block {block} more", self.blocks())
    }
}

/// A plane, read as if it were resized by nearest neighbour.
#[derive(Clone, Copy)]
pub(crate) struct Resized<'a> {
    data: &'a [f32],
    w: usize,
    up: u32,
    down: u32,
}

impl<'a> Resized<'a> {
    /// Resized to height `h`, and to a width by the same factor.
    pub(crate) fn new((data, [from_h, w]): (&'a [f32], [usize; 2]), h: usize) -> Resized<'a> {
        Resized { data, w, up: (h / from_h).max(1).ilog2(), down: (from_h / h).max(1).ilog2() }
    }

    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> &'a [f32] {
        &self.data[((i >> self.up) << self.down) * self.w * BLOCK..][..self.w * BLOCK]
    }

    /// Index in its row of pixel `j`'s block.
    #[inline(always)]
    pub(crate) fn at(&self, j: usize) -> usize {
        ((j >> self.up) << self.down) * BLOCK
    }
}

/// A normalization and the modulation after it.
struct Norm<'a> {
    /// (N, blocks, 8, BLOCK), the eight of [`Statistics::output`](alias_plan::Statistics::output).
    coefficients: &'a [f32],
    modulation: Option<Modulation<'a>>,
}

/// Scale and shift for each pixel, from a table.
struct Modulation<'a> {
    masked: bool,
    /// (blocks, entries, PANEL): 1 + gamma for a block of channels, then beta.
    table: &'a [f32],
    entries: usize,
    /// (N, rows, W, 2): entry and mask.
    pixels: &'a [u32],
    /// Image rows in `pixels`.
    rows: Range<usize>,
}

/// A step's input, ready to be computed.
pub(crate) struct Activations<'a> {
    pub(crate) view: View<'a>,
    norm: Option<Norm<'a>>,
    slope: f32,
}

impl<'a> Activations<'a> {
    pub(crate) fn new(input: &Input, buffers: &'a HostBuffers) -> Activations<'a> {
        let norm = input.norm.as_ref().map(|norm| Norm {
            coefficients: buffers.get(norm.coefficients),
            modulation: norm.modulation.as_ref().map(|modulation| Modulation {
                masked: modulation.masked,
                table: buffers.get(modulation.table),
                entries: modulation.entries,
                pixels: buffers.indices(modulation.pixels),
                rows: modulation.rows.clone(),
            }),
        });
        Activations { view: View::new(input, buffers), norm, slope: input.slope }
    }

    /// Writes a block of channels in a rectangle whose upper left pixel is row `top` and column `left` of the image:
    /// (rows, columns, BLOCK), zeros outside the image.
    #[inline(always)]
    pub(crate) fn stage<S: Simd>(
        &self,
        simd: S,
        n: usize,
        block: usize,
        [top, left]: [isize; 2],
        [rows, columns]: [usize; 2],
        out: &mut [f32],
    ) {
        let View { h, w, noise, .. } = self.view;
        let plane = Resized::new(self.view.plane(n, block), h);
        for (y, out) in out.chunks_exact_mut(columns * BLOCK).take(rows).enumerate() {
            // `pixels` has the rows that the band depends on. A tile may extend past them; its results there are
            // unused.
            let modulation = self.norm.as_ref().and_then(|norm| norm.modulation.as_ref());
            let seen = modulation.map_or(0..h, |modulation| modulation.rows.clone());
            let i = usize::try_from(top + y as isize).unwrap_or(usize::MAX);
            if !seen.contains(&i) {
                out.fill(0.0);
                continue;
            }
            let row = plane.row(i);
            // The columns inside the image.
            let first = (-left).clamp(0, columns as isize) as usize;
            let end = (w as isize - left).clamp(0, columns as isize) as usize;
            out[..first * BLOCK].fill(0.0);
            out[end * BLOCK..].fill(0.0);
            let j = |x: usize| (left + x as isize) as usize;
            let inside = out[first * BLOCK..end * BLOCK].chunks_exact_mut(BLOCK).enumerate();
            let Some(norm) = &self.norm else {
                let slope = simd.splat_f32s(self.slope);
                for (x, out) in inside {
                    let from = S::as_simd_f32s(&row[plane.at(j(first + x))..][..BLOCK]).0;
                    for (out, &v) in S::as_mut_simd_f32s(out).0.iter_mut().zip(from) {
                        *out = simd.max_f32s(simd.mul_f32s(v, slope), v);
                    }
                }
                continue;
            };
            let coefficients = &norm.coefficients[(n * self.view.blocks() + block) * 8 * BLOCK..][..8 * BLOCK];
            let noise = noise.map(|noise| &noise[(n * h + i) * w..][..w]);
            let Some(modulation) = modulation else {
                for (x, out) in inside {
                    let j = j(first + x);
                    let pixel = Pixel { noise: noise.map(|noise| noise[j]), mask: None };
                    let affine = &coefficients[6 * BLOCK..];
                    pixel.apply(simd, &row[plane.at(j)..][..BLOCK], coefficients, affine, self.slope, out);
                }
                continue;
            };
            let table = &modulation.table[block * modulation.entries * PANEL..][..modulation.entries * PANEL];
            let line = n * modulation.rows.len() + i - modulation.rows.start;
            let pixels = &modulation.pixels[line * w * 2..][..w * 2];
            for (x, out) in inside {
                let j = j(first + x);
                let affine = &table[pixels[2 * j] as usize * PANEL..][..PANEL];
                let mask = modulation.masked.then(|| f32::from_bits(pixels[2 * j + 1]));
                let pixel = Pixel { noise: noise.map(|noise| noise[j]), mask };
                pixel.apply(simd, &row[plane.at(j)..][..BLOCK], coefficients, affine, self.slope, out);
            }
        }
    }
}

/// What all channels of a pixel share.
#[derive(Clone, Copy)]
struct Pixel {
    noise: Option<f32>,
    /// The mask of mask norm.
    mask: Option<f32>,
}

impl Pixel {
    /// Normalizes a block of channels, scales and shifts it by `affine` (2, BLOCK), and applies the leaky ReLU.
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, from: &[f32], coefficients: &[f32], affine: &[f32], slope: f32, out: &mut [f32]) {
        let per = BLOCK / S::F32_LANES;
        let from = &S::as_simd_f32s(from).0[..per];
        let c = &S::as_simd_f32s(coefficients).0[..8 * per];
        let affine = &S::as_simd_f32s(affine).0[..2 * per];
        let out = &mut S::as_mut_simd_f32s(out).0[..per];
        for v in 0..per {
            let mut x = from[v];
            if let Some(z) = self.noise {
                x = simd.mul_add_e_f32s(c[3 * per + v], simd.splat_f32s(z), x);
            }
            x = simd.sub_f32s(x, c[v]);
            let mut y = simd.mul_f32s(simd.sub_f32s(x, c[per + v]), c[2 * per + v]);
            if let Some(mask) = self.mask {
                let rest = simd.mul_f32s(simd.sub_f32s(x, c[4 * per + v]), c[5 * per + v]);
                y = simd.add_f32s(
                    simd.mul_f32s(simd.splat_f32s(mask), y),
                    simd.mul_f32s(simd.splat_f32s(1.0 - mask), rest),
                );
            }
            let y = simd.mul_add_e_f32s(y, affine[v], affine[per + v]);
            out[v] = simd.max_f32s(simd.mul_f32s(y, simd.splat_f32s(slope)), y);
        }
    }
}
