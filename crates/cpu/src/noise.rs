//! Draws Gaussian noise.

use crate::HostBuffers;
use alias_plan::{NoisePlane, philox};
use rayon::prelude::*;

/// Numbers per task, a multiple of Philox's block of four.
const PART: usize = 4096;

pub(crate) fn run(step: &NoisePlane, buffers: &mut HostBuffers) {
    let &[low, high] = buffers.indices(step.seed) else { panic!("a seed has two halves") };
    let seed = u64::from(high) << 32 | u64::from(low);
    normal(seed, step.stream, &mut buffers.get_mut(step.output)[..step.elements]);
}

/// The first numbers of [`philox::normal`], on all threads.
pub fn normal(seed: u64, stream: u32, output: &mut [f32]) {
    output.par_chunks_mut(PART).enumerate().for_each(|(part, output)| {
        let numbers = philox::normal_from(seed, stream, (part * PART / 4) as u32);
        output.iter_mut().zip(numbers).for_each(|(to, z)| *to = z as f32);
    });
}
