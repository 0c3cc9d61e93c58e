//! SPADE modulation by table: pixels with the same 5x5 window of labels have the same scale and shift. A table has one
//! entry for each distinct 5x5 window, and each pixel looks up its entry. The leaky ReLU after it is computed along.

use crate::modulate::check_slope;
use crate::{kernel, sum_segments::Segments};
use alias_cpu::Cpu;
use alias_tensor::{Device, Error, Kernel, OnCores, Result, Tensor, Work};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

const SOURCE: &[&str] = wgsl!(MODULATE_BY_TABLE, GRID);
static FORWARD: Kernel<OnCores<Params, 3, 1>> = kernel("modulate_by_table", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 4, 1>> = kernel("modulate_by_table", SOURCE, "backward").on_cores(backward);
static BACKWARD_PARTS: Kernel<OnCores<Params, 5, 1>> =
    kernel("modulate_by_table", SOURCE, "backward_parts").on_cores(backward_parts);

params! { batch: u32, channels: u32, plane: u32, entries: u32, parts: u32, slope: f32 }

/// Sums over a run of pixels that are added to in turn, so that none waits for the one before.
const LANES: usize = 8;

fn forward(_: &Cpu, params: &Params, [x, table, entry]: [&[f32]; 3], [y]: [&mut [f32]; 1]) {
    let &Params { channels, plane, entries, slope, .. } = params;
    let [channels, plane, entries] = [channels, plane, entries].map(|size| size as usize);
    let entry: &[u32] = bytemuck::cast_slice(entry);
    let planes = y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).enumerate();
    planes.for_each(|(k, (y, x))| {
        let (n, channel) = (k / channels, k % channels);
        let [gamma, beta] = [channel, channels + channel].map(|row| &table[row * entries..][..entries]);
        for ((y, x), &entry) in y.iter_mut().zip(x).zip(&entry[n * plane..]) {
            let at = entry as usize - 1;
            let v = x * (1.0 + gamma[at]) + beta[at];
            *y = if v > 0.0 { v } else { slope * v };
        }
    });
}

fn backward(_: &Cpu, params: &Params, [dy, table, entry, y]: [&[f32]; 4], [dx]: [&mut [f32]; 1]) {
    let &Params { channels, plane, entries, slope, .. } = params;
    let [channels, plane, entries] = [channels, plane, entries].map(|size| size as usize);
    let entry: &[u32] = bytemuck::cast_slice(entry);
    let planes = dx.par_chunks_exact_mut(plane).zip(dy.par_chunks_exact(plane)).zip(y.par_chunks_exact(plane));
    planes.enumerate().for_each(|(k, ((dx, dy), y))| {
        let (n, channel) = (k / channels, k % channels);
        let gamma = &table[channel * entries..][..entries];
        for (((dx, dy), y), &entry) in dx.iter_mut().zip(dy).zip(y).zip(&entry[n * plane..]) {
            let dv = if *y > 0.0 { *dy } else { slope * dy };
            *dx = dv * (1.0 + gamma[entry as usize - 1]);
        }
    });
}

fn backward_parts(cpu: &Cpu, params: &Params, inputs: [&[f32]; 5], [partial]: [&mut [f32]; 1]) {
    let &Params { channels, plane, parts, slope, .. } = params;
    let [channels, plane, parts] = [channels, plane, parts].map(|size| size as usize);
    let [dy, x, part, y, place] = inputs;
    let (part, place): (&[[u32; 2]], &[u32]) = (bytemuck::cast_slice(part), bytemuck::cast_slice(place));
    // Not place by place: dy and x are read from start to end, in runs of pixels of one part.
    let mut part_of = vec![0u32; place.len()];
    for (k, &[start, end]) in (0..).zip(part) {
        place[start as usize..end as usize].iter().for_each(|&pixel| part_of[pixel as usize] = k);
    }
    let runs = |part_of: &[u32]| part_of.chunk_by(|a, b| a == b).map(|run| (run[0] as usize, run.len())).collect();
    let images: Vec<Vec<(usize, usize)>> = part_of.par_chunks_exact(plane).map(runs).collect();
    let (dgamma, dbeta) = partial.split_at_mut(channels * parts);
    let by_channel = dgamma.par_chunks_exact_mut(parts).zip(dbeta.par_chunks_exact_mut(parts)).enumerate();
    by_channel.for_each(|(channel, (dgamma, dbeta))| {
        dgamma.fill(0.0);
        dbeta.fill(0.0);
        for (n, runs) in images.iter().enumerate() {
            let [dy, x, y] = [dy, x, y].map(|values| &values[(n * channels + channel) * plane..][..plane]);
            cpu.dispatch(SumRuns { dy, x, y, slope, runs, dgamma, dbeta });
        }
    });
}

/// Adds the sums over runs of pixels of a plane to those of their parts.
struct SumRuns<'a> {
    dy: &'a [f32],
    x: &'a [f32],
    y: &'a [f32],
    slope: f32,
    /// Of each run, the part and the number of pixels.
    runs: &'a [(usize, usize)],
    dgamma: &'a mut [f32],
    dbeta: &'a mut [f32],
}

impl WithSimd for SumRuns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let SumRuns { dy, x, y, slope, runs, dgamma, dbeta } = self;
        let pull = |dy: f32, y: f32| if y > 0.0 { dy } else { slope * dy };
        let mut start = 0;
        for &(part, len) in runs {
            let [dy, x, y] = [dy, x, y].map(|values| values[start..][..len].as_chunks::<LANES>());
            start += len;
            let (mut by_gamma, mut by_beta) = (dgamma[part], dbeta[part]);
            for ((&dy, &x), &y) in dy.1.iter().zip(x.1).zip(y.1) {
                by_gamma += pull(dy, y) * x;
                by_beta += pull(dy, y);
            }
            if !dy.0.is_empty() {
                let (mut gammas, mut betas) = ([0.0; LANES], [0.0; LANES]);
                for ((dy, x), y) in dy.0.iter().zip(x.0).zip(y.0) {
                    for lane in 0..LANES {
                        let dv = pull(dy[lane], y[lane]);
                        gammas[lane] += dv * x[lane];
                        betas[lane] += dv;
                    }
                }
                by_gamma += gammas.iter().sum::<f32>();
                by_beta += betas.iter().sum::<f32>();
            }
            (dgamma[part], dbeta[part]) = (by_gamma, by_beta);
        }
    }
}

/// The table entry of each pixel (N, H, W): the number of its 5x5 window, from 1.
#[derive(Clone, Debug)]
pub struct PixelEntries(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    map: Vec<u32>,
    on_device: Tensor,
    count: usize,
    /// The pixels of each entry. Built when a gradient first needs it.
    inverse: OnceLock<Segments>,
}

impl PixelEntries {
    /// Uploads `map` of `shape` (N, H, W). Its values are 1 to `count`, the number of table entries.
    ///
    /// # Errors
    /// If a value is out of range, `map` does not have N H W values, or the device reports an error.
    pub fn new(device: impl Into<Device>, shape: [usize; 3], map: Vec<u32>, count: usize) -> Result<PixelEntries> {
        if let Some(&number) = map.iter().find(|&&number| !(1..=count).contains(&(number as usize))) {
            return Err(Error::argument("entries", "a number", number, format!("1 to {count}")));
        }
        let on_device = Tensor::indices(device, &shape, &map)?;
        Ok(PixelEntries(Arc::new(Inner { map, on_device, count, inverse: OnceLock::new() })))
    }

    fn inverse(&self, device: &Device) -> Result<&Segments> {
        if let Some(inverse) = self.0.inverse.get() {
            return Ok(inverse);
        }
        let made = Segments::new(device, &self.0.map, self.0.count)?;
        Ok(self.0.inverse.get_or_init(|| made))
    }
}

/// `leaky_relu(x * (1 + gamma) + beta, slope)` for `x` (N, C, H, W), where each pixel takes `gamma` and `beta` from its
/// entry of `table` (1, 2 C, 1, E), which has a row for gamma of each channel, then one for beta of each. A `slope` of 1
/// leaves it at the modulation.
///
/// # Errors
/// If the shapes do not match, `slope` is not positive, or the device reports an error.
pub fn modulate_by_table(x: &Tensor, table: &Tensor, entries: &PixelEntries, slope: f32) -> Result<Tensor> {
    check_slope("modulate_by_table", slope)?;
    let [n, c, h, w] = x.shape().nchw("modulate_by_table", "x")?;
    entries.0.on_device.shape().check("modulate_by_table", "entries", &[n, h, w])?;
    table.shape().check("modulate_by_table", "table", &[1, 2 * c, 1, entries.0.count])?;
    let (plane, count) = ((h * w) as u32, entries.0.count as u32);
    let params = Params { batch: n as u32, channels: c as u32, plane, entries: count, parts: 0, slope };
    let numel = x.numel();
    let work = Work::threads(numel).flops(4 * numel as u64);
    let y = Tensor::empty(x.device(), &x.shape())?;
    x.device().launch(&FORWARD, &params, &[x, table, &entries.0.on_device], &[&y], work)?;

    let (saved_x, saved_table, saved_y, entries) = (x.clone(), table.clone(), y.detach(), entries.clone());
    Ok(y.with_backward([x, table], move |dy| {
        let device = dy.device();
        let by_input = || {
            let dx = Tensor::empty(device, &dy.shape())?;
            let inputs = [dy, &saved_table, &entries.0.on_device, &saved_y];
            device.launch(&BACKWARD, &params, &inputs, &[&dx], work)?;
            Ok(dx)
        };
        let dx = saved_x.is_tracked().then(by_input).transpose()?;
        if !saved_table.is_tracked() {
            return Ok([dx, None]);
        }
        let inverse = entries.inverse(device)?;
        let parts = inverse.parts();
        let params = Params { parts: parts as u32, ..params };
        let partial = Tensor::empty(device, &[2 * c, parts])?;
        let inputs = [dy, &saved_x, &inverse.parts, &saved_y, &inverse.places];
        let work = Work::threads(c * parts).flops(3 * numel as u64);
        device.launch(&BACKWARD_PARTS, &params, &inputs, &[&partial], work)?;
        Ok([dx, Some(inverse.sum(&partial)?)])
    }))
}

#[cfg(test)]
mod tests {
    use super::PixelEntries;
    use alias_oracle::{Array, Random, Twin, check};

    struct ModulateByTable<'a>(&'a [u32], f64);

    impl ModulateByTable<'_> {
        /// Where gamma of a pixel is in the table.
        fn entry(&self, x: &Array, [n, c, y, x_]: [usize; 4]) -> [usize; 4] {
            let [_, _, h, w] = x.nchw();
            [0, c, 0, self.0[(n * h + y) * w + x_] as usize - 1]
        }

        /// Where beta is, whose gamma is at `entry`.
        fn beta(&self, x: &Array, [n, c, y, e]: [usize; 4]) -> [usize; 4] {
            [n, x.shape[1] + c, y, e]
        }
    }

    impl Twin for ModulateByTable<'_> {
        fn forward(&self, x: &[Array]) -> Array {
            Array::from_fn(x[0].nchw(), |at| {
                let entry = self.entry(&x[0], at);
                let v = x[0][at] * (1.0 + x[1][entry]) + x[1][self.beta(&x[0], entry)];
                if v > 0.0 { v } else { self.1 * v }
            })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let mut dtable = Array::zeros(&x[1].shape);
            let dx = Array::from_fn(dy.nchw(), |at| {
                let entry = self.entry(&x[0], at);
                let v = x[0][at] * (1.0 + x[1][entry]) + x[1][self.beta(&x[0], entry)];
                let dv = if v > 0.0 { dy[at] } else { self.1 * dy[at] };
                dtable[entry] += dv * x[0][at];
                dtable[self.beta(&x[0], entry)] += dv;
                dv * (1.0 + x[1][entry])
            });
            vec![Some(dx), Some(dtable)]
        }
    }

    #[test]
    fn matches_twin() {
        let cases =
            [([1, 1, 1, 1], 1, 1.0), ([2, 3, 5, 7], 4, 0.25), ([1, 2, 31, 33], 2, 0.25), ([3, 5, 4, 6], 90, 1.0)];
        for (shape, entries, slope) in cases {
            let mut random = Random::new(5);
            let [n, c, h, w] = shape;
            let map: Vec<u32> = (0..n * h * w).map(|_| (random.bits() % entries as u64) as u32 + 1).collect();
            let inputs = [random.array(&shape), random.array(&[1, 2 * c, 1, entries])];
            check(&ModulateByTable(&map, slope), &inputs, |t| {
                let entries = PixelEntries::new(t[0].device(), [n, h, w], map.clone(), entries)?;
                super::modulate_by_table(&t[0], &t[1], &entries, slope as f32)
            });
        }
    }
}
