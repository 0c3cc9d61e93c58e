//! Measures the peak arithmetic and copy throughput of the cores.

use crate::Cpu;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::time::Instant;

/// Independent sums in registers, enough to hide the latency of a multiply-add.
const SUMS: usize = 12;
const ROUNDS: usize = 1 << 22;

impl Cpu {
    /// Float32 multiply-adds in registers on all threads at once, in GFLOP/s: the best of three runs.
    pub fn peak_gflops(&self) -> f64 {
        struct Chain;
        impl WithSimd for Chain {
            type Output = f32;
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) -> f32 {
                let (a, b) =
                    (simd.splat_f32s(std::hint::black_box(0.999)), simd.splat_f32s(std::hint::black_box(1e-3)));
                let mut sums = [b; SUMS];
                for _ in 0..ROUNDS {
                    for sum in &mut sums {
                        *sum = simd.mul_add_e_f32s(*sum, a, b);
                    }
                }
                sums.into_iter().map(|sum| simd.reduce_sum_f32s(sum)).sum()
            }
        }
        let lanes = self.dispatch(Lanes);
        let run = || {
            let start = Instant::now();
            let threads = self.threads();
            let sum: f32 = self.install(|| (0..threads).into_par_iter().map(|_| self.dispatch(Chain)).sum());
            std::hint::black_box(sum);
            (2 * SUMS * ROUNDS * lanes * threads) as f64 / start.elapsed().as_secs_f64() / 1e9
        };
        (0..3).map(|_| run()).fold(0.0, f64::max)
    }
}

impl Cpu {
    /// A copy far larger than the caches on all threads at once, in GB/s read plus written: the best of three runs.
    pub fn copy_gbs(&self) -> f64 {
        const ELEMENTS: usize = 1 << 26;
        let (from, mut to) = (vec![1.0f32; ELEMENTS], vec![0.0f32; ELEMENTS]);
        let mut run = || {
            let start = Instant::now();
            self.install(|| {
                let parts = ELEMENTS.div_ceil(8 * self.threads());
                to.par_chunks_mut(parts).zip(from.par_chunks(parts)).for_each(|(to, from)| to.copy_from_slice(from));
            });
            std::hint::black_box(&to);
            (8 * ELEMENTS) as f64 / start.elapsed().as_secs_f64() / 1e9
        };
        (0..3).map(|_| run()).fold(0.0, f64::max)
    }
}

struct Lanes;
impl WithSimd for Lanes {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}
