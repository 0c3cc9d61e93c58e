//! Cross entropy of the pixels' classes.

use crate::{kernel, mean};
use alias_cpu::{Cpu, exp, log};
use alias_tensor::{Device, Error, Kernel, OnCores, Result, Tensor, Work};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(CROSS_ENTROPY, GRID, MATH);
static FORWARD: Kernel<OnCores<Params, 2, 1>> = kernel("cross_entropy", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 3, 1>> = kernel("cross_entropy", SOURCE, "backward").on_cores(backward);

params! { batch: u32, channels: u32, plane: u32 }

/// Pixels per task.
const RUN: usize = 256;

/// The scores of each channel and the classes of a run of pixels, `at` its image and first pixel.
fn pixels<'a>(params: &Params, inputs: [&'a [f32]; 2], at: [usize; 2]) -> (Vec<&'a [f32]>, &'a [u32]) {
    let (channels, plane) = (params.channels as usize, params.plane as usize);
    let ([score, class], [image, first]) = (inputs, at);
    let part = |plane: &'a [f32]| &plane[first..plane.len().min(first + RUN)];
    let planes = score.chunks_exact(plane).skip(image * channels).take(channels);
    (planes.map(part).collect(), bytemuck::cast_slice(part(&class[image * plane..][..plane])))
}

fn forward(cpu: &Cpu, params: &Params, inputs: [&[f32]; 2], [y]: [&mut [f32]; 1]) {
    y.par_chunks_exact_mut(params.plane as usize).enumerate().for_each(|(image, y)| {
        y.par_chunks_mut(RUN).enumerate().for_each(|(run, y)| {
            let (scores, class) = pixels(params, inputs, [image, run * RUN]);
            cpu.dispatch(Losses { scores, class, y });
        });
    });
}

/// Forward of some pixels.
struct Losses<'a> {
    /// The pixels' scores of each channel.
    scores: Vec<&'a [f32]>,
    class: &'a [u32],
    y: &'a mut [f32],
}

impl WithSimd for Losses<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Losses { scores, class, y } = self;
        let (largest, mut log_sum) = softmax(simd, &scores);
        for sum in S::as_mut_simd_f32s(&mut log_sum).0 {
            // The logarithm of NaN need not be NaN.
            *sum = simd.select_f32s(simd.equal_f32s(*sum, *sum), log(simd, *sum), *sum);
        }
        for (i, (y, &class)) in y.iter_mut().zip(class).enumerate() {
            *y = log_sum[i] + (largest[i] - scores[class as usize][i]);
        }
    }
}

/// For each of some pixels the largest score, and the sum over channels of e^(score - largest).
#[inline(always)]
fn softmax<S: Simd>(simd: S, scores: &[&[f32]]) -> ([f32; RUN], [f32; RUN]) {
    let (mut largest, mut sum) = ([0.0; RUN], [0.0; RUN]);
    largest[..scores[0].len()].copy_from_slice(scores[0]);
    for scores in scores {
        for (largest, &score) in largest.iter_mut().zip(*scores) {
            *largest = if score > *largest { score } else { *largest };
        }
    }
    for scores in scores {
        for (sum, share) in sum.iter_mut().zip(shares(simd, scores, &largest)) {
            *sum += share;
        }
    }
    (largest, sum)
}

/// e^(score - largest), from -87 on.
#[inline(always)]
fn shares<S: Simd>(simd: S, scores: &[f32], largest: &[f32; RUN]) -> [f32; RUN] {
    let mut shares = [0.0; RUN];
    for (share, (score, largest)) in shares.iter_mut().zip(scores.iter().zip(largest)) {
        let d = score - largest;
        // A selection, not `max`, so that NaN passes through.
        *share = if d < -87.0 { -87.0 } else { d };
    }
    for d in S::as_mut_simd_f32s(&mut shares).0 {
        *d = exp(simd, *d);
    }
    shares
}

fn backward(cpu: &Cpu, params: &Params, [score, class, dy]: [&[f32]; 3], [dscore]: [&mut [f32]; 1]) {
    let (channels, plane) = (params.channels as usize, params.plane as usize);
    runs_of_pixels(dscore, [channels, plane], RUN).into_par_iter().for_each(|([image, first], dscores)| {
        let (scores, class) = pixels(params, [score, class], [image, first]);
        cpu.dispatch(Gradients { scores, class, dy: &dy[image * plane + first..], dscores });
    });
}

/// The runs of up to `run` pixels of each image of `x` (N, C, H, W), of which `size` is C and H W: the image and its
/// first pixel, and the run's part of each channel.
pub(crate) fn runs_of_pixels(x: &mut [f32], size: [usize; 2], run: usize) -> Vec<([usize; 2], Vec<&mut [f32]>)> {
    let [channels, plane] = size;
    let mut all = Vec::new();
    for (n, image) in x.chunks_exact_mut(channels * plane).enumerate() {
        let mut runs: Vec<_> = (0..plane).step_by(run).map(|first| ([n, first], Vec::new())).collect();
        for channel in image.chunks_exact_mut(plane) {
            runs.iter_mut().zip(channel.chunks_mut(run)).for_each(|((_, parts), part)| parts.push(part));
        }
        all.extend(runs);
    }
    all
}

/// Backward of some pixels.
struct Gradients<'a> {
    scores: Vec<&'a [f32]>,
    class: &'a [u32],
    dy: &'a [f32],
    dscores: Vec<&'a mut [f32]>,
}

impl WithSimd for Gradients<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Gradients { scores, class, dy, mut dscores } = self;
        let (largest, sum) = softmax(simd, &scores);
        // Its own gradient is minus the sum of the others: 1 - e^(s - m) / sum would cancel where the class is likely.
        let mut others = [0.0; RUN];
        for (channel, (scores, dscores)) in (0..).zip(scores.iter().zip(&mut dscores)) {
            let shares = shares(simd, scores, &largest);
            for (i, (dscore, &class)) in dscores.iter_mut().zip(class).enumerate() {
                *dscore = dy[i] * (shares[i] / sum[i]);
                others[i] += if class == channel { 0.0 } else { *dscore };
            }
        }
        for (i, &class) in class.iter().enumerate() {
            dscores[class as usize][i] = -others[i];
        }
    }
}

/// The class of each pixel (N, H, W), from 0.
#[derive(Clone, Debug)]
pub struct PixelClasses {
    on_device: Tensor,
    count: usize,
}

impl PixelClasses {
    /// Uploads `classes` of `shape` (N, H, W), each less than `count`, the number of classes.
    ///
    /// # Errors
    /// If a class is out of range, `classes` does not have N H W values, or the device reports an error.
    pub fn new(device: impl Into<Device>, shape: [usize; 3], classes: &[u32], count: usize) -> Result<PixelClasses> {
        if let Some(&class) = classes.iter().find(|&&class| class as usize >= count) {
            return Err(Error::argument("classes", "a class", class, format!("less than {count}")));
        }
        Ok(PixelClasses { on_device: Tensor::indices(device, &shape, classes)?, count })
    }
}

/// `torch.nn.functional.cross_entropy(scores, classes)`, a scalar: the mean over pixels of `-ln softmax(scores)[class]`,
/// for `scores` (N, C, H, W), with the softmax over channels.
///
/// # Errors
/// If the shapes do not match, the `classes` are not C, or the device reports an error.
pub fn cross_entropy(scores: &Tensor, classes: &PixelClasses) -> Result<Tensor> {
    let [n, c, h, w] = scores.shape().nchw("cross_entropy", "scores")?;
    classes.on_device.shape().check("cross_entropy", "classes", &[n, h, w])?;
    if classes.count != c {
        return Err(Error::argument("cross_entropy", "the number of classes", classes.count, c));
    }
    let params = Params { batch: n as u32, channels: c as u32, plane: (h * w) as u32 };
    let work = Work::threads(n * h * w).flops(22 * scores.numel() as u64);
    let y = Tensor::empty(scores.device(), &[n, h, w])?;
    scores.device().launch(&FORWARD, &params, &[scores, &classes.on_device], &[&y], work)?;

    let (saved, classes) = (scores.clone(), classes.on_device.clone());
    let by_pixel = y.with_backward([scores], move |dy| {
        let dscores = Tensor::empty(dy.device(), &[n, c, h, w])?;
        let work = Work::threads(n * h * w).flops(42 * dscores.numel() as u64);
        dy.device().launch(&BACKWARD, &params, &[&saved, &classes, dy], &[&dscores], work)?;
        Ok([Some(dscores)])
    });
    mean(&by_pixel)
}

#[cfg(test)]
mod tests {
    use super::PixelClasses;
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    struct CrossEntropy<'a>(&'a [u32]);

    /// Softmax over channels at a pixel.
    fn softmax(x: &Array, [n, c, i, j]: [usize; 4]) -> f64 {
        x[[n, c, i, j]].exp() / (0..x.shape[1]).map(|c| x[[n, c, i, j]].exp()).sum::<f64>()
    }

    impl CrossEntropy<'_> {
        fn class(&self, x: &Array, [n, i, j]: [usize; 3]) -> usize {
            self.0[(n * x.shape[2] + i) * x.shape[3] + j] as usize
        }
    }

    impl Twin for CrossEntropy<'_> {
        fn forward(&self, x: &[Array]) -> Array {
            let [n, _, h, w] = x[0].nchw();
            let losses =
                Array::from_fn([n, h, w], |at @ [n, i, j]| -softmax(&x[0], [n, self.class(&x[0], at), i, j]).ln());
            Array::new(&[], vec![losses.data.iter().sum::<f64>() / losses.data.len() as f64])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let [n, _, h, w] = x[0].nchw();
            let share = dy.data[0] / (n * h * w) as f64;
            vec![Some(Array::from_fn(x[0].nchw(), |at @ [n, c, i, j]| {
                let own = if c == self.class(&x[0], [n, i, j]) { 1.0 } else { 0.0 };
                share * (softmax(&x[0], at) - own)
            }))]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, range) in [
            ([1, 2, 1, 1], 1.0),
            ([2, 3, 5, 7], 8.0),
            ([3, 13, 4, 2], 1.0),
            ([2, 5, 31, 17], 0.01),
            ([1, 4, 3, 5], 40.0),
        ] {
            let mut random = Random::new(2);
            let scores = random.array(&shape).map(|s| f64::from((range * s) as f32));
            let [n, c, h, w] = shape;
            let classes: Vec<u32> = (0..n * h * w).map(|_| (random.bits() % c as u64) as u32).collect();
            check(&CrossEntropy(&classes), &[scores], |t| {
                super::cross_entropy(&t[0], &PixelClasses::new(t[0].device(), [n, h, w], &classes, c)?)
            });
        }
    }

    #[test]
    fn large_scores_and_nan() {
        for device in devices() {
            let loss = |scores: [f32; 3], class| {
                let scores = Tensor::new(&device, &[1, 3, 1, 1], &scores).unwrap();
                let classes = PixelClasses::new(&device, [1, 1, 1], &[class], 3).unwrap();
                super::cross_entropy(&scores, &classes).unwrap().to_vec().unwrap()[0]
            };
            assert_eq!(loss([1e30, 0.0, -1e30], 0), 0.0);
            assert_eq!(loss([1000.0, 0.0, -1000.0], 2), 2000.0);
            assert_eq!(loss([f32::NEG_INFINITY, 0.0, 0.0], 0), f32::INFINITY);
            assert!(loss([f32::NAN, 0.0, 0.0], 1).is_nan() && loss([0.0, 0.0, f32::NAN], 1).is_nan());
        }
    }

    #[test]
    fn classes_out_of_range_are_refused() {
        for device in devices() {
            let error = PixelClasses::new(&device, [1, 1, 2], &[0, 3], 3).unwrap_err().to_string();
            assert_eq!(error, "classes: a class is 3, expected less than 3");
            let scores = Tensor::new(&device, &[1, 2, 1, 2], &[0.0; 4]).unwrap();
            let classes = PixelClasses::new(&device, [1, 1, 2], &[0, 2], 3).unwrap();
            let error = super::cross_entropy(&scores, &classes).unwrap_err().to_string();
            assert_eq!(error, "cross_entropy: the number of classes is 3, expected 2");
        }
    }
}
