//! Converts between planes (N, C, H, W) and blocks of channels (N, C / BLOCK, H, W, BLOCK).

use crate::transpose::{SIDE, eight, transposed};
use crate::{BLOCK, Cpu, blocks, places};
use pulp::Simd;
use rayon::prelude::*;

/// Pixels per task.
const PART: usize = 4096;

/// Concatenates tensors (N, C, H, W) of `plane` = H W pixels along the channels into (N, blocks, H, W, BLOCK).
///
/// # Panics
/// If the tensors are not those of `batch` images or do not fit into `out`.
pub fn pack_planes(cpu: &Cpu, tensors: &[&[f32]], batch: usize, plane: usize, out: &mut [f32]) {
    let image = |tensor: &&[f32]| tensor.len() / batch;
    let channels: usize = tensors.iter().map(image).sum::<usize>() / plane;
    cpu.install(|| {
        let blocks = blocks(channels);
        for (k, out) in out.chunks_exact_mut(plane * BLOCK).take(batch * blocks).enumerate() {
            let (n, block) = (k / blocks, k % blocks);
            let planes =
                tensors.iter().flat_map(|tensor| tensor[n * image(tensor)..][..image(tensor)].chunks_exact(plane));
            let planes: Vec<_> = planes.skip(block * BLOCK).take(BLOCK).collect();
            out.par_chunks_mut(PART * BLOCK).enumerate().for_each(|(part, out)| {
                out.fill(0.0);
                for (place, from) in planes.iter().enumerate() {
                    for (pixel, &value) in out.chunks_exact_mut(BLOCK).zip(&from[part * PART..]) {
                        pixel[place] = value;
                    }
                }
            });
        }
    });
}

/// An image (C, H, W).
#[derive(Clone, Copy, Debug)]
pub struct Planes<'a> {
    /// C H W elements.
    pub elements: &'a [f32],
    /// H and W.
    pub size: [usize; 2],
}

/// Writes channels `block` BLOCK and following of an image (C, H, W) as (rows, columns, BLOCK), as products read them: the
/// pixels `corner`, `corner + step`, ... in both directions, zeros outside the image and past the last channel.
#[inline(always)]
pub fn stage_planes<S: Simd>(
    simd: S,
    image: Planes,
    block: usize,
    [top, left]: [isize; 2],
    step: usize,
    [rows, columns]: [usize; 2],
    out: &mut [f32],
) {
    let Planes { elements, size: [h, w] } = image;
    let planes = &elements[block * BLOCK * h * w..];
    let channels = (planes.len() / (h * w)).min(BLOCK);
    // The columns inside the image.
    let first = (-left).max(0).unsigned_abs().div_ceil(step).min(columns);
    let end = (w as isize - left).max(0).unsigned_abs().div_ceil(step).clamp(first, columns);
    for (y, out) in out.chunks_exact_mut(columns * BLOCK).take(rows).enumerate() {
        let i = usize::try_from(top + (y * step) as isize).unwrap_or(usize::MAX);
        if i >= h || first == end {
            out.fill(0.0);
            continue;
        }
        out[..first * BLOCK].fill(0.0);
        out[end * BLOCK..].fill(0.0);
        let inside = &mut out[first * BLOCK..end * BLOCK];
        let start = i * w + (left + (first * step) as isize).unsigned_abs();
        let length = (end - first - 1) * step + 1;
        if channels < BLOCK {
            inside.fill(0.0);
            for (c, plane) in planes.chunks_exact(h * w).enumerate() {
                let line = &plane[start..][..length];
                inside.chunks_exact_mut(BLOCK).zip(line.iter().step_by(step)).for_each(|(to, &v)| to[c] = v);
            }
            continue;
        }
        let lines: [&[f32]; BLOCK] = std::array::from_fn(|c| &planes[c * h * w + start..][..length]);
        let whole = if step == 1 { length / SIDE * SIDE } else { 0 };
        for x in (0..whole).step_by(SIDE) {
            for half in (0..BLOCK).step_by(SIDE) {
                let pixels = transposed(simd, std::array::from_fn(|c| eight(&lines[half + c][x..])));
                for (k, pixel) in pixels.iter().enumerate() {
                    inside[(x + k) * BLOCK + half..][..SIDE].copy_from_slice(pixel);
                }
            }
        }
        for (x, to) in inside.chunks_exact_mut(BLOCK).enumerate().skip(whole) {
            for c in 0..BLOCK {
                to[c] = lines[c][x * step];
            }
        }
    }
}

/// From (N, blocks, H, W, BLOCK) to (N, `channels`, H, W), where `plane` = H W.
pub fn unpack_planes(cpu: &Cpu, data: &[f32], channels: usize, plane: usize) -> Vec<f32> {
    let blocks = blocks(channels);
    let mut out = vec![0.0; data.len() / (blocks * BLOCK) * channels];
    // For each part of a block's plane, that part of each of its channels.
    let mut parts: Vec<Vec<&mut [f32]>> = Vec::new();
    for image in out.chunks_exact_mut(channels * plane) {
        for block in image.chunks_mut(BLOCK * plane) {
            let start = parts.len();
            parts.resize_with(start + plane.div_ceil(PART), Vec::new);
            for channel in block.chunks_exact_mut(plane) {
                parts[start..].iter_mut().zip(channel.chunks_mut(PART)).for_each(|(part, channel)| part.push(channel));
            }
        }
    }
    let from = data.chunks_exact(plane * BLOCK).flat_map(|block| block.chunks(PART * BLOCK));
    let work: Vec<_> = parts.into_iter().zip(from).collect();
    cpu.install(|| {
        work.into_par_iter().for_each(|(mut part, from)| {
            for (at, pixel) in from.chunks_exact(BLOCK).enumerate() {
                part.iter_mut().zip(pixel).for_each(|(channel, &value)| channel[at] = value);
            }
        });
    });
    out
}

/// From the coefficients (C, 8) of [`Statistics::output`](alias_plan::Statistics::output) to (blocks, 8, BLOCK), the
/// same for each image in `out`. C is the sum of `operands`, the channels of each tensor that the input concatenates.
pub fn pack_coefficients(values: &[f32], operands: &[usize], out: &mut [f32]) {
    let each: usize = operands.iter().map(|channels| channels.next_multiple_of(BLOCK) * 8).sum();
    for out in out.chunks_exact_mut(each) {
        out.fill(0.0);
        for (place, values) in places(operands).zip(values.chunks_exact(8)) {
            for (k, &value) in values.iter().enumerate() {
                out[place / BLOCK * 8 * BLOCK + k * BLOCK + place % BLOCK] = value;
            }
        }
    }
}
