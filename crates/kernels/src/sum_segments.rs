//! Gradient of a table look-up, gathered instead of scattered: for each table entry, the sum over all places that look
//! it up (a segment). Long segments are summed in parts.

use crate::kernel;
use alias_cpu::Cpu;
use alias_tensor::{Device, Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(SUM_SEGMENTS, GRID);
static FORWARD: Kernel<OnCores<Params, 2, 1>> = kernel("sum_segments", SOURCE, "forward").on_cores(forward);

params! { channels: u32, parts: u32, segments: u32 }

fn forward(_: &Cpu, params: &Params, [x, first]: [&[f32]; 2], [y]: [&mut [f32]; 1]) {
    let (parts, segments) = (params.parts as usize, params.segments as usize);
    let first: &[u32] = bytemuck::cast_slice(first);
    y.par_chunks_exact_mut(segments).zip(x.par_chunks_exact(parts)).for_each(|(y, x)| {
        for (y, range) in y.iter_mut().zip(first.windows(2)) {
            let parts = &x[range[0] as usize..range[1] as usize];
            *y = parts.iter().copied().map(f64::from).sum::<f64>() as f32;
        }
    });
}

/// Largest number of places in a part. Short parts take invocations about equally long and round less.
const PART: usize = 256;

/// The inverse of a look-up: for each target, the places that look it up, its segment.
#[derive(Debug)]
pub(crate) struct Segments {
    /// (parts, 2): start and end (exclusive) in `places` of each run of at most [`PART`] places of one segment.
    pub(crate) parts: Tensor,
    /// (places): the places, segment by segment.
    pub(crate) places: Tensor,
    /// (segments + 1): each segment's first part, then the number of parts.
    first: Tensor,
}

impl Segments {
    /// Inverts `index`, the target of each place: 1 to `segments`, or 0 for none.
    pub(crate) fn new(device: &Device, index: &[u32], segments: usize) -> Result<Segments> {
        let mut starts = vec![0u32; segments + 2];
        for &target in index {
            starts[target as usize + 1] += 1;
        }
        for target in 0..=segments {
            starts[target + 1] += starts[target];
        }
        let mut places = vec![0; index.len()];
        let mut next = starts.clone();
        for (place, &target) in (0..).zip(index) {
            places[next[target as usize] as usize] = place;
            next[target as usize] += 1;
        }
        let (mut parts, mut first) = (Vec::new(), vec![0]);
        // Places without a target come first in `places` and belong to no part.
        for target in 1..=segments {
            let end = starts[target + 1];
            for start in (starts[target]..end).step_by(PART) {
                parts.push([start, end.min(start + PART as u32)]);
            }
            first.push(parts.len() as u32);
        }
        Ok(Segments {
            parts: Tensor::indices(device, &[parts.len(), 2], parts.as_flattened())?,
            places: Tensor::indices(device, &[places.len()], &places)?,
            first: Tensor::indices(device, &[first.len()], &first)?,
        })
    }

    /// Number of parts.
    pub(crate) fn parts(&self) -> usize {
        self.parts.shape()[0]
    }

    /// Sums `partial` (channels, parts) over the parts of each segment: (1, channels, 1, segments).
    pub(crate) fn sum(&self, partial: &Tensor) -> Result<Tensor> {
        let (channels, parts, segments) = (partial.shape()[0], self.parts(), self.first.numel() - 1);
        let params = Params { channels: channels as u32, parts: parts as u32, segments: segments as u32 };
        let y = Tensor::empty(partial.device(), &[1, channels, 1, segments])?;
        let work = Work::threads(y.numel()).flops(partial.numel() as u64);
        partial.device().launch(&FORWARD, &params, &[partial, &self.first], &[&y], work)?;
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::Segments;
    use alias_oracle::devices;
    use alias_tensor::Tensor;

    #[test]
    fn sums_of_parts_are_sums_of_segments() {
        // Target 1 has 300 places, which make two parts, target 2 none, target 3 one; 0 is no target.
        let mut index = vec![1; 300];
        index.extend([0, 3, 0]);
        for device in devices() {
            let segments = Segments::new(&device, &index, 3).unwrap();
            assert_eq!(segments.parts(), 3);
            let partial = Tensor::new(&device, &[2, 3], &[1.0, 2.0, 4.0, 10.0, 20.0, 40.0]).unwrap();
            assert_eq!(segments.sum(&partial).unwrap().to_vec().unwrap(), [3.0, 0.0, 4.0, 30.0, 0.0, 40.0]);
        }
    }
}
