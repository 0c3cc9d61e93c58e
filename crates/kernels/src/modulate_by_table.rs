//! SPADE modulation by table: pixels with the same 5x5 window of labels have the same scale and shift. A table has one
//! entry for each distinct 5x5 window, and each pixel looks up its entry.

use crate::{kernel, sum_segments::Segments};
use alias_cpu::Cpu;
use alias_tensor::{Device, Error, Kernel, OnCores, Result, Tensor, Work};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

const SOURCE: &[&str] = wgsl!(MODULATE_BY_TABLE, GRID);
static FORWARD: Kernel<OnCores<Params, 4, 1>> = kernel("modulate_by_table", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 3, 1>> = kernel("modulate_by_table", SOURCE, "backward").on_cores(backward);
static BACKWARD_PARTS: Kernel<OnCores<Params, 4, 2>> =
    kernel("modulate_by_table", SOURCE, "backward_parts").on_cores(backward_parts);

params! { batch: u32, channels: u32, plane: u32, entries: u32, parts: u32 }

/// Sums over a run of pixels that are added to in turn, so that none waits for the one before.
const LANES: usize = 8;

fn forward(_: &Cpu, params: &Params, [x, gamma, beta, entry]: [&[f32]; 4], [y]: [&mut [f32]; 1]) {
    let &Params { channels, plane, entries, .. } = params;
    let [channels, plane, entries] = [channels, plane, entries].map(|size| size as usize);
    let entry: &[u32] = bytemuck::cast_slice(entry);
    let planes = y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).enumerate();
    planes.for_each(|(k, (y, x))| {
        let (n, channel) = (k / channels, k % channels);
        let [gamma, beta] = [gamma, beta].map(|table| &table[channel * entries..][..entries]);
        for ((y, x), &entry) in y.iter_mut().zip(x).zip(&entry[n * plane..]) {
            let at = entry as usize - 1;
            *y = x * (1.0 + gamma[at]) + beta[at];
        }
    });
}

fn backward(_: &Cpu, params: &Params, [dy, gamma, entry]: [&[f32]; 3], [dx]: [&mut [f32]; 1]) {
    let &Params { channels, plane, entries, .. } = params;
    let [channels, plane, entries] = [channels, plane, entries].map(|size| size as usize);
    let entry: &[u32] = bytemuck::cast_slice(entry);
    let planes = dx.par_chunks_exact_mut(plane).zip(dy.par_chunks_exact(plane)).enumerate();
    planes.for_each(|(k, (dx, dy))| {
        let (n, channel) = (k / channels, k % channels);
        let gamma = &gamma[channel * entries..][..entries];
        for ((dx, dy), &entry) in dx.iter_mut().zip(dy).zip(&entry[n * plane..]) {
            *dx = dy * (1.0 + gamma[entry as usize - 1]);
        }
    });
}

fn backward_parts(cpu: &Cpu, params: &Params, inputs: [&[f32]; 4], [dgamma, dbeta]: [&mut [f32]; 2]) {
    let &Params { channels, plane, parts, .. } = params;
    let [channels, plane, parts] = [channels, plane, parts].map(|size| size as usize);
    let [dy, x, part, place] = inputs;
    let (part, place): (&[[u32; 2]], &[u32]) = (bytemuck::cast_slice(part), bytemuck::cast_slice(place));
    // Not place by place: dy and x are read from start to end, in runs of pixels of one part.
    let mut part_of = vec![0u32; place.len()];
    for (k, &[start, end]) in (0..).zip(part) {
        place[start as usize..end as usize].iter().for_each(|&pixel| part_of[pixel as usize] = k);
    }
    let runs = |part_of: &[u32]| part_of.chunk_by(|a, b| a == b).map(|run| (run[0] as usize, run.len())).collect();
    let images: Vec<Vec<(usize, usize)>> = part_of.par_chunks_exact(plane).map(runs).collect();
    let by_channel = dgamma.par_chunks_exact_mut(parts).zip(dbeta.par_chunks_exact_mut(parts)).enumerate();
    by_channel.for_each(|(channel, (dgamma, dbeta))| {
        dgamma.fill(0.0);
        dbeta.fill(0.0);
        for (n, runs) in images.iter().enumerate() {
            let [dy, x] = [dy, x].map(|values| &values[(n * channels + channel) * plane..][..plane]);
            cpu.dispatch(SumRuns { dy, x, runs, dgamma, dbeta });
        }
    });
}

/// Adds the sums over runs of pixels of a plane to those of their parts.
struct SumRuns<'a> {
    dy: &'a [f32],
    x: &'a [f32],
    /// Of each run, the part and the number of pixels.
    runs: &'a [(usize, usize)],
    dgamma: &'a mut [f32],
    dbeta: &'a mut [f32],
}

impl WithSimd for SumRuns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let SumRuns { dy, x, runs, dgamma, dbeta } = self;
        let mut start = 0;
        for &(part, len) in runs {
            let (dy, x) = (&dy[start..][..len], &x[start..][..len]);
            start += len;
            let ((dy, dy_rest), (x, x_rest)) = (dy.as_chunks::<LANES>(), x.as_chunks::<LANES>());
            let (mut by_gamma, mut by_beta) = (dgamma[part], dbeta[part]);
            for (dy, x) in dy_rest.iter().zip(x_rest) {
                by_gamma += dy * x;
                by_beta += dy;
            }
            if !dy.is_empty() {
                let (mut gammas, mut betas) = ([0.0; LANES], [0.0; LANES]);
                for (dy, x) in dy.iter().zip(x) {
                    for lane in 0..LANES {
                        gammas[lane] += dy[lane] * x[lane];
                        betas[lane] += dy[lane];
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

/// `x * (1 + gamma) + beta` for `x` (N, C, H, W), where each pixel takes `gamma` and `beta` from its entry of two
/// tables (1, C, 1, E).
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn modulate_by_table(x: &Tensor, gamma: &Tensor, beta: &Tensor, entries: &PixelEntries) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("modulate_by_table", "x")?;
    entries.0.on_device.shape().check("modulate_by_table", "entries", &[n, h, w])?;
    gamma.shape().check("modulate_by_table", "gamma", &[1, c, 1, entries.0.count])?;
    beta.shape().check("modulate_by_table", "beta", &[1, c, 1, entries.0.count])?;
    let (plane, count) = ((h * w) as u32, entries.0.count as u32);
    let params = Params { batch: n as u32, channels: c as u32, plane, entries: count, parts: 0 };
    let numel = x.numel();
    let work = Work::threads(numel).flops(3 * numel as u64);
    let y = Tensor::empty(x.device(), &x.shape())?;
    x.device().launch(&FORWARD, &params, &[x, gamma, beta, &entries.0.on_device], &[&y], work)?;

    let (saved_x, saved_gamma, entries) = (x.clone(), gamma.clone(), entries.clone());
    let learned = gamma.is_tracked() || beta.is_tracked();
    Ok(y.with_backward([x, gamma, beta], move |dy| {
        let device = dy.device();
        let by_input = || {
            let dx = Tensor::empty(device, &dy.shape())?;
            device.launch(&BACKWARD, &params, &[dy, &saved_gamma, &entries.0.on_device], &[&dx], work)?;
            Ok(dx)
        };
        let dx = saved_x.is_tracked().then(by_input).transpose()?;
        if !learned {
            return Ok([dx, None, None]);
        }
        let inverse = entries.inverse(device)?;
        let parts = inverse.parts();
        let params = Params { parts: parts as u32, ..params };
        let (dgamma, dbeta) = (Tensor::empty(device, &[c, parts])?, Tensor::empty(device, &[c, parts])?);
        let inputs = [dy, &saved_x, &inverse.parts, &inverse.places];
        let work = Work::threads(c * parts).flops(3 * numel as u64);
        device.launch(&BACKWARD_PARTS, &params, &inputs, &[&dgamma, &dbeta], work)?;
        Ok([dx, Some(inverse.sum(&dgamma)?), Some(inverse.sum(&dbeta)?)])
    }))
}

#[cfg(test)]
mod tests {
    use super::PixelEntries;
    use alias_oracle::{Array, Random, Twin, check};

    struct ModulateByTable<'a>(&'a [u32]);

    impl ModulateByTable<'_> {
        fn entry(&self, x: &Array, [n, c, y, x_]: [usize; 4]) -> [usize; 4] {
            let [_, _, h, w] = x.nchw();
            [0, c, 0, self.0[(n * h + y) * w + x_] as usize - 1]
        }
    }

    impl Twin for ModulateByTable<'_> {
        fn forward(&self, x: &[Array]) -> Array {
            Array::from_fn(x[0].nchw(), |at| {
                let entry = self.entry(&x[0], at);
                x[0][at] * (1.0 + x[1][entry]) + x[2][entry]
            })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let (mut dgamma, mut dbeta) = (Array::zeros(&x[1].shape), Array::zeros(&x[2].shape));
            let dx = Array::from_fn(dy.nchw(), |at| {
                let entry = self.entry(&x[0], at);
                dgamma[entry] += dy[at] * x[0][at];
                dbeta[entry] += dy[at];
                dy[at] * (1.0 + x[1][entry])
            });
            vec![Some(dx), Some(dgamma), Some(dbeta)]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, entries) in [([1, 1, 1, 1], 1), ([2, 3, 5, 7], 4), ([1, 2, 31, 33], 2), ([3, 5, 4, 6], 90)] {
            let mut random = Random::new(5);
            let [n, c, h, w] = shape;
            let map: Vec<u32> = (0..n * h * w).map(|_| (random.bits() % entries as u64) as u32 + 1).collect();
            let inputs = [random.array(&shape), random.array(&[1, c, 1, entries]), random.array(&[1, c, 1, entries])];
            check(&ModulateByTable(&map), &inputs, |t| {
                let entries = PixelEntries::new(t[0].device(), [n, h, w], map.clone(), entries)?;
                super::modulate_by_table(&t[0], &t[1], &t[2], &entries)
            });
        }
    }
}
