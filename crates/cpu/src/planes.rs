//! Converts between planes (N, C, H, W) and blocks of channels (N, C / BLOCK, H, W, BLOCK).

use crate::{BLOCK, Cpu, places};
use rayon::prelude::*;

/// Pixels per task.
const PART: usize = 4096;

/// Concatenates `tensors` (N, `channels`, H, W) along the channels and packs them into `out` (N, 1, H, W, BLOCK),
/// unused channels filled with zeros. `plane` is H W.
///
/// # Panics
/// If the channels do not fit into one block.
pub fn pack_planes(cpu: &Cpu, tensors: &[&[f32]], channels: usize, plane: usize, out: &mut [f32]) {
    cpu.install(|| {
        for (n, out) in out.chunks_exact_mut(plane * BLOCK).enumerate() {
            out.par_chunks_mut(PART * BLOCK).enumerate().for_each(|(part, out)| {
                out.fill(0.0);
                for (place, from) in tensors
                    .iter()
                    .flat_map(|tensor| tensor[n * channels * plane..][..channels * plane].chunks_exact(plane))
                    .enumerate()
                {
                    for (pixel, &value) in out.chunks_exact_mut(BLOCK).zip(&from[part * PART..]) {
                        pixel[place] = value;
                    }
                }
            });
        }
    });
}

/// Unpacks the first `channels` channels of `blocks` (N, 1, H, W, BLOCK) to (N, `channels`, H, W). `plane` is H W.
pub fn unpack_planes(cpu: &Cpu, blocks: &[f32], channels: usize, plane: usize) -> Vec<f32> {
    let mut out = vec![0.0; blocks.len() / BLOCK * channels];
    // For each part of an image, the matching slice of each output channel.
    let mut parts: Vec<Vec<&mut [f32]>> = Vec::new();
    for image in out.chunks_exact_mut(channels * plane) {
        let start = parts.len();
        parts.resize_with(start + plane.div_ceil(PART), Vec::new);
        for channel in image.chunks_exact_mut(plane) {
            parts[start..].iter_mut().zip(channel.chunks_mut(PART)).for_each(|(part, channel)| part.push(channel));
        }
    }
    let from = blocks.chunks_exact(plane * BLOCK).flat_map(|image| image.chunks(PART * BLOCK));
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

/// Packs `values` (C, 8), for the C channels of all `sources`, into (N, blocks, 8, BLOCK), the same for each image.
pub fn pack_coefficients(values: &[f32], sources: &[usize], out: &mut [f32]) {
    let each: usize = sources.iter().map(|channels| channels.next_multiple_of(BLOCK) * 8).sum();
    for out in out.chunks_exact_mut(each) {
        out.fill(0.0);
        for (place, values) in places(sources).zip(values.chunks_exact(8)) {
            for (k, &value) in values.iter().enumerate() {
                out[place / BLOCK * 8 * BLOCK + k * BLOCK + place % BLOCK] = value;
            }
        }
    }
}
