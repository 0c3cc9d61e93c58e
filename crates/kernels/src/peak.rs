//! Measures an adapter's peak arithmetic and copy throughput, to which other measurements are compared.

use crate::geometry::AdapterKind;
use crate::kernel;
use alias_tensor::{Gpu, Kernel, Recording, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(PEAK, GRID);
static MULTIPLY_ADD: Kernel = kernel("peak", SOURCE, "multiply_add");
static COPY: Kernel = kernel("peak", SOURCE, "copy");

params! { n: u32, rounds: u32 }

/// An adapter's measured peak.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// Float32 multiply-adds in registers, in GFLOP/s.
    pub gflops: f64,
    /// A copy larger than any cache, in GB/s read plus written.
    pub gbs: f64,
}

impl Peak {
    /// Measures both, each as the best of five runs of some milliseconds.
    ///
    /// # Errors
    /// If the device reports an error.
    pub fn measure(gpu: &Gpu) -> Result<Peak> {
        // llvmpipe silently ends an invocation's loops after 65,535 iterations.
        let (n, rounds) = (AdapterKind::of(gpu).peak_invocations(), 1 << 10);
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

    /// Bounds that every adapter is within. If the compiler removed the sums, the peak would be higher.
    #[test]
    fn the_peak_is_plausible() {
        let Peak { gflops, gbs } = Peak::measure(gpu()).unwrap();
        assert!((1.0..1e6).contains(&gflops), "{gflops} GFLOP/s");
        assert!((0.1..1e5).contains(&gbs), "{gbs} GB/s");
    }
}
