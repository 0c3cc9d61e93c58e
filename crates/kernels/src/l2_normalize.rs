//! L2 normalization over channels.

use crate::plan::{DeviceBuffers, holds};
use crate::spectral_norm::sum_columns;
use crate::{ShaderText, kernel};
use alias_cpu::{Cpu, map};
use alias_plan::L2Normalization;
use alias_tensor::{Error, Kernel, OnCores, Recording, Result, Tensor, Work};
use rayon::prelude::*;

const TEXT: ShaderText = stored!(L2_NORMALIZE, GRID);
const SOURCE: &[&str] = TEXT.f32;
static LENGTHS: Kernel<OnCores<Params, 1, 1>> = kernel("l2_normalize", SOURCE, "lengths").on_cores(lengths);
static FORWARD: Kernel<OnCores<Params, 2, 1>> = kernel("l2_normalize", SOURCE, "forward").on_cores(forward);
static DOTS: Kernel<OnCores<Params, 2, 1>> = kernel("l2_normalize", SOURCE, "dots").on_cores(dots);
static BACKWARD: Kernel<OnCores<Params, 4, 1>> = kernel("l2_normalize", SOURCE, "backward").on_cores(backward);

params! { batch: u32, channels: u32, plane: u32, eps: f32 }

fn lengths(cpu: &Cpu, params: &Params, [x]: [&[f32]; 1], [length]: [&mut [f32]; 1]) {
    let (channels, plane) = (params.channels as usize, params.plane as usize);
    length.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(channels * plane)).for_each(|(length, x)| {
        sum_columns(cpu, [x], length, |_| |[x]| x * x);
        length.iter_mut().for_each(|length| *length = length.sqrt());
    });
}

fn forward(cpu: &Cpu, &Params { channels, plane, eps, .. }: &Params, [x, length]: [&[f32]; 2], [y]: [&mut [f32]; 1]) {
    let (channels, plane) = (channels as usize, plane as usize);
    let planes = y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).enumerate();
    planes.for_each(|(k, (y, x))| {
        let length = &length[k / channels * plane..][..plane];
        // A selection, not `max`, so that NaN passes through.
        map(cpu, [x, length], [y], move |[x, length]| [x / if length < eps { eps } else { length }]);
    });
}

fn dots(cpu: &Cpu, params: &Params, [y, dy]: [&[f32]; 2], [dots]: [&mut [f32]; 1]) {
    let (channels, plane) = (params.channels as usize, params.plane as usize);
    let images = y.par_chunks_exact(channels * plane).zip(dy.par_chunks_exact(channels * plane));
    dots.par_chunks_exact_mut(plane).zip(images).for_each(|(dots, (y, dy))| {
        sum_columns(cpu, [y, dy], dots, |_| |[y, dy]| dy * y);
    });
}

fn backward(cpu: &Cpu, params: &Params, [y, dy, length, dots]: [&[f32]; 4], [dx]: [&mut [f32]; 1]) {
    let (channels, plane, eps) = (params.channels as usize, params.plane as usize, params.eps);
    let planes = dx.par_chunks_exact_mut(plane).zip(y.par_chunks_exact(plane)).zip(dy.par_chunks_exact(plane));
    planes.enumerate().for_each(|(k, ((dx, y), dy))| {
        let [length, dots] = [length, dots].map(|of_place| &of_place[k / channels * plane..][..plane]);
        map(cpu, [y, dy, length, dots], [dx], move |[y, dy, length, dot]| {
            [if length < eps { dy / eps } else { (dy - y * dot) / length }]
        });
    });
}

/// `torch.nn.functional.normalize(x, dim=1)`: each place of `x` (N, C, H, W) divided by its L2 norm over channels, or by
/// 1e-12 where that is larger.
///
/// # Errors
/// If `x` does not have four dimensions or the device reports an error.
pub fn l2_normalize(x: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("l2_normalize", "x")?;
    let params = Params { batch: n as u32, channels: c as u32, plane: (h * w) as u32, eps: L2Normalization::EPS };
    let (elements, places) = (x.numel(), n * h * w);
    let by_place = Work::threads(places).flops(2 * elements as u64);
    let length = Tensor::empty(x.device(), &[n, h, w])?;
    x.device().launch(&LENGTHS, &params, &[x], &[&length], by_place)?;
    let y = Tensor::empty(x.device(), &x.shape())?;
    let work = Work::threads(elements).flops(elements as u64);
    x.device().launch(&FORWARD, &params, &[x, &length], &[&y], work)?;

    let saved = y.detach();
    Ok(y.with_backward([x], move |dy| {
        let device = dy.device();
        let dots = Tensor::empty(device, &[n, h, w])?;
        device.launch(&DOTS, &params, &[&saved, dy], &[&dots], by_place)?;
        let dx = Tensor::empty(device, &dy.shape())?;
        let work = Work::threads(elements).flops(3 * elements as u64);
        device.launch(&BACKWARD, &params, &[&saved, dy, &length, &dots], &[&dx], work)?;
        Ok([Some(dx)])
    }))
}

/// Records a step of a plan.
pub(crate) fn record(recording: &mut Recording, step: &L2Normalization, buffers: &DeviceBuffers) -> Result<()> {
    let (input, precision) = (&step.input, buffers.precision());
    let [operand] = &input.operands[..] else {
        return Err(Error::argument("l2_normalize", "the number of operands", input.operands.len(), 1));
    };
    buffers.check_input("l2_normalize", input, &(0..input.height))?;
    let (elements, places) = (input.elements(), input.batch * input.plane());
    let lengths = buffers.stored("l2_normalize", "lengths", step.lengths)?;
    holds("l2_normalize", "the lengths", lengths, 4 * places as u64)?;
    holds("l2_normalize", "the output", buffers.get(step.output), elements as u64 * precision.bytes())?;
    let (batch, channels, plane) = (input.batch as u32, operand.channels as u32, input.plane() as u32);
    let params = Params { batch, channels, plane, eps: L2Normalization::EPS };
    let (x, text) = (buffers.get(operand.buffer), TEXT.of(precision));
    let work = Work::threads(places).flops(step.flops());
    recording.launch(&kernel("l2_normalize", text, "lengths"), &params, &[x], &[lengths], work)?;
    let forward = kernel("l2_normalize", text, "forward");
    recording.launch(&forward, &params, &[x, lengths], &[buffers.get(step.output)], Work::threads(elements))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check, devices, relative_l2};
    use alias_tensor::Tensor;

    struct L2Normalize;

    /// The sum over channels of the products of `a` and `b`.
    fn dot(a: &Array, b: &Array, [n, _, y, x]: [usize; 4]) -> f64 {
        (0..a.shape[1]).map(|c| a[[n, c, y, x]] * b[[n, c, y, x]]).sum()
    }

    impl Twin for L2Normalize {
        fn forward(&self, x: &[Array]) -> Array {
            Array::from_fn(x[0].nchw(), |at| x[0][at] / dot(&x[0], &x[0], at).sqrt())
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let y = self.forward(x);
            let dx = |at| (dy[at] - y[at] * dot(dy, &y, at)) / dot(&x[0], &x[0], at).sqrt();
            vec![Some(Array::from_fn(dy.nchw(), dx))]
        }
    }

    #[test]
    fn matches_twin() {
        // At least three channels: with fewer, what is left of the gradient is mostly rounding.
        for shape in [[1, 3, 1, 1], [2, 3, 5, 7], [3, 32, 2, 1], [2, 33, 1, 5], [1, 517, 4, 3], [2, 70, 17, 31]] {
            check(&L2Normalize, &[Random::new(1).array(&shape)], |t| super::l2_normalize(&t[0]));
        }
    }

    /// Sums over channels are taken in runs; one long sum would miss the bar tenfold.
    #[test]
    fn sums_over_many_channels_are_exact() {
        // Equal terms round alike: in one sum errors would add up to 5e-5, where random ones cancel.
        let x = Array::from_fn([1, 16_384, 1, 2], |[_, _, _, x]| f64::from([1.1f32, 0.7][x]));
        let want = L2Normalize.forward(std::slice::from_ref(&x));
        for device in devices() {
            let x = Tensor::new(&device, &x.shape, &x.to_f32()).unwrap();
            let error = relative_l2(&super::l2_normalize(&x).unwrap().to_vec().unwrap(), &want.data);
            assert!(error < 5e-6, "{device:?}: {error:.1e}");
        }
    }

    /// Two places shorter than 1e-12, one of 0, and one that is not a number.
    #[test]
    fn short_places_are_divided_by_the_bound() {
        for device in devices() {
            let x = Tensor::new(&device, &[1, 2, 1, 4], &[3e-13, 0.0, 1.0, f32::NAN, -4e-13, 0.0, -1.0, 1.0]).unwrap();
            let x = x.requires_grad();
            let y = super::l2_normalize(&x).unwrap();
            let values = y.to_vec().unwrap();
            let dy = Tensor::new(&device, &[1, 2, 1, 4], &[1.0, 2.0, 0.5, 1.0, 3.0, 4.0, 0.5, 1.0]).unwrap();
            let dx = y.backward(&dy).unwrap().get(&x).unwrap().to_vec().unwrap();
            let root = 0.5f64.sqrt();
            let numbers = |v: &[f32]| [v[0], v[1], v[2], v[4], v[5], v[6]];
            assert!(relative_l2(&numbers(&values), &[0.3, 0.0, root, -0.4, 0.0, -root]) < 1e-6, "{values:?}");
            assert!(values[3].is_nan() && values[7].is_nan() && dx[3].is_nan() && dx[7].is_nan());
            let scaled = numbers(&dx).map(|v| v / 1e12);
            assert!(relative_l2(&scaled, &[1.0, 2.0, 0.5 * root / 1e12, 3.0, 4.0, 0.5 * root / 1e12]) < 1e-6, "{dx:?}");
            assert!(relative_l2(&[dx[2], dx[6]], &[0.5 * root, 0.5 * root]) < 1e-6, "{dx:?}");
        }
    }
}
