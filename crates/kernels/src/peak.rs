//! What an adapter can do at most, measured: what the speed of everything else is a share of.

use crate::kernel;
use alias_tensor::{Gpu, Kernel, Recording, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(PEAK, GRID);
static MULTIPLY_ADD: Kernel = kernel("peak", SOURCE, "multiply_add");
static COPY: Kernel = kernel("peak", SOURCE, "copy");

params! { n: u32, rounds: u32 }

/// An adapter's own peak.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// 10^9 floating-point operations a second: multiplications and additions of float32 in registers.
    pub gflops: f64,
    /// 10^9 bytes a second, read and written: a copy that fits no cache.
    pub gbs: f64,
}

impl Peak {
    /// Measures both, each the best of five runs of some milliseconds.
    ///
    /// # Errors
    /// What the device reports.
    pub fn measure(gpu: &Gpu) -> Result<Peak> {
        let software = gpu.is_software();
        // A quarter of a million invocations fill any GPU; a processor is full with a few, but its loops end early.
        let (n, rounds) = if software { (1 << 12, 1 << 10) } else { (1 << 18, 1 << 10) };
        let flops = 2 * 4 * 64 * n as u64 * u64::from(rounds);
        let small = Tensor::new(gpu, &[n, 4], &vec![0.5; 4 * n])?;
        let out = Tensor::empty(gpu, &[n, 4])?;
        let mut recording = Recording::new(gpu);
        recording.launch(
            &MULTIPLY_ADD,
            &Params { n: n as u32, rounds },
            &[&small],
            &[&out],
            Work::threads(n).flops(flops),
        )?;

        let n = 1 << 22;
        let (from, to) = (Tensor::empty(gpu, &[n, 4])?, Tensor::empty(gpu, &[n, 4])?);
        recording.launch(&COPY, &Params { n: n as u32, rounds: 0 }, &[&from], &[&to], Work::threads(n))?;

        recording.profile()?;
        let mut best = [f64::INFINITY; 2];
        for _ in 0..5 {
            for (best, time) in best.iter_mut().zip(recording.profile()?) {
                *best = best.min(time.as_secs_f64());
            }
        }
        Ok(Peak { gflops: flops as f64 / 1e9 / best[0], gbs: 2.0 * 16.0 * n as f64 / 1e9 / best[1] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alias_oracle::gpu;

    /// No adapter is that slow, or that fast; and the sums have not been optimized away.
    #[test]
    fn the_peak_is_plausible() {
        let Peak { gflops, gbs } = Peak::measure(gpu()).unwrap();
        assert!((1.0..1e6).contains(&gflops), "{gflops} GFLOP/s");
        assert!((0.1..1e5).contains(&gbs), "{gbs} GB/s");
    }
}
