//! The class of each pixel: the channel with the largest value.

use crate::kernel;
use alias_cpu::Cpu;
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(ARGMAX, GRID, MATH);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("argmax", SOURCE, "forward").on_cores(forward);

params! { batch: u32, channels: u32, plane: u32 }

/// Pixels whose classes are compared at once.
const RUN: usize = 4096;

/// Whether the score of a later channel is larger than the largest before it. NaN is larger than every number.
pub(crate) fn is_larger(score: f32, largest: f32) -> bool {
    score > largest || score.is_nan() && !largest.is_nan()
}

fn forward(cpu: &Cpu, params: &Params, [x]: [&[f32]; 1], [y]: [&mut [f32]; 1]) {
    let (channels, plane) = (params.channels as usize, params.plane as usize);
    y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(channels * plane)).for_each(|(y, x)| {
        y.par_chunks_mut(RUN).enumerate().for_each(|(run, y)| {
            let mut largest = [0.0; RUN];
            let largest = &mut largest[..y.len()];
            largest.copy_from_slice(&x[run * RUN..][..y.len()]);
            y.fill(0.0);
            for (c, x) in x.chunks_exact(plane).enumerate().skip(1) {
                cpu.dispatch(
                    #[inline(always)]
                    || compare(c, &x[run * RUN..], largest, y),
                );
            }
        });
    });
}

/// Makes `c` the best channel of each pixel where its score is larger than the largest.
#[inline(always)]
fn compare(c: usize, scores: &[f32], largest: &mut [f32], best: &mut [f32]) {
    for ((best, largest), &score) in best.iter_mut().zip(largest).zip(scores) {
        let is_larger = is_larger(score, *largest);
        *best = if is_larger { c as f32 } else { *best };
        *largest = if is_larger { score } else { *largest };
    }
}

/// `torch.argmax(x, dim=1, keepdim=True)` of `x` (N, C, H, W), as float32 (N, 1, H, W): the first channel of those with
/// the largest value; NaN counts as larger than every number. Not differentiable.
///
/// # Errors
/// If `x` does not have four dimensions or the device reports an error.
pub fn argmax(x: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("argmax", "x")?;
    let params = Params { batch: n as u32, channels: c as u32, plane: (h * w) as u32 };
    let y = Tensor::empty(x.device(), &[n, 1, h, w])?;
    x.device().launch(&FORWARD, &params, &[x], &[&y], Work::threads(y.numel()).flops(x.numel() as u64))?;
    Ok(y)
}

#[cfg(test)]
pub(crate) mod tests {
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    pub(crate) struct Argmax;

    impl Twin for Argmax {
        fn forward(&self, x: &[Array]) -> Array {
            let [n, channels, h, w] = x[0].nchw();
            Array::from_fn([n, 1, h, w], |[n, _, i, j]| {
                let larger = |best, c| if x[0][[n, c, i, j]] > x[0][[n, best, i, j]] { c } else { best };
                (0..channels).reduce(larger).unwrap() as f64
            })
        }

        fn backward(&self, _: &[Array], _: &Array) -> Vec<Option<Array>> {
            vec![None]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [[1, 1, 1, 1], [2, 3, 5, 7], [3, 13, 2, 1], [2, 5, 17, 31], [1, 3, 65, 67]] {
            // Few distinct values, so that many are equal.
            let x = Random::new(1).array(&shape).map(|x| (4.0 * x).round());
            check(&Argmax, &[x], |t| super::argmax(&t[0]));
        }
    }

    #[test]
    fn nan_and_infinities() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        for device in devices() {
            for (x, class) in [
                ([1.0, nan, inf, nan], 1.0),
                ([nan, inf, nan, 2.0], 0.0),
                ([-inf, -inf, -inf, -inf], 0.0),
                ([-inf, 1.0, inf, inf], 2.0),
                ([0.0, -0.0, -1.0, nan], 3.0),
            ] {
                let y = super::argmax(&Tensor::new(&device, &[1, 4, 1, 1], &x).unwrap()).unwrap();
                assert_eq!(y.to_vec().unwrap(), [class], "{x:?}");
            }
        }
    }
}
