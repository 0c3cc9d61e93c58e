//! One scale and one shift per channel: `y[n, c] = x[n, c] * weight[c] + bias[c]`, the affine part of a normalization.

use crate::kernel;
use alias_cpu::{Cpu, map, sum};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(AFFINE, GRID, REDUCE);
static FORWARD: Kernel<OnCores<Params, 3, 1>> = kernel("affine", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 2, 1>> = kernel("affine", SOURCE, "backward").on_cores(backward);
static BACKWARD_WEIGHT: Kernel<OnCores<Params, 2, 2>> =
    kernel("affine", SOURCE, "backward_weight").on_cores(backward_weight);

params! { batch: u32, channels: u32, plane: u32 }

fn forward(cpu: &Cpu, params: &Params, [weight, x, bias]: [&[f32]; 3], [y]: [&mut [f32]; 1]) {
    let (channels, plane) = (params.channels as usize, params.plane as usize);
    let planes = y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).enumerate();
    planes.for_each(|(k, (y, x))| {
        let (weight, bias) = (weight[k % channels], bias[k % channels]);
        map(cpu, [x], [y], move |[x]| [x * weight + bias]);
    });
}

fn backward(cpu: &Cpu, params: &Params, [weight, dy]: [&[f32]; 2], [dx]: [&mut [f32]; 1]) {
    let (channels, plane) = (params.channels as usize, params.plane as usize);
    let planes = dx.par_chunks_exact_mut(plane).zip(dy.par_chunks_exact(plane)).enumerate();
    planes.for_each(|(k, (dx, dy))| {
        let weight = weight[k % channels];
        map(cpu, [dy], [dx], move |[dy]| [dy * weight]);
    });
}

fn backward_weight(cpu: &Cpu, params: &Params, [x, dy]: [&[f32]; 2], [dw, db]: [&mut [f32]; 2]) {
    let (channels, plane) = (params.channels as usize, params.plane as usize);
    dw.par_iter_mut().zip(db).enumerate().for_each(|(channel, (dw, db))| {
        let sums = sum_of_channel(cpu, [x, dy], [channels, plane], channel, |[x, dy]| [dy * x, dy]);
        [*dw, *db] = sums.map(|sum| sum as f32);
    });
}

/// [`sum`] over all images of a channel of tensors (N, C, H, W), of which `size` is C and H W.
pub(crate) fn sum_of_channel<const INPUTS: usize, const SUMS: usize>(
    cpu: &Cpu,
    x: [&[f32]; INPUTS],
    size: [usize; 2],
    channel: usize,
    f: impl Fn([f64; INPUTS]) -> [f64; SUMS] + Copy + Send + Sync,
) -> [f64; SUMS] {
    let [channels, plane] = size;
    let mut totals = [0.0; SUMS];
    for start in (channel * plane..x[0].len()).step_by(channels * plane) {
        let sums = sum(cpu, x.map(|x| &x[start..][..plane]), f);
        totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    totals
}

/// `x` (N, C, H, W) times `weight` (C) plus `bias` (C).
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn affine(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("affine", "x")?;
    weight.shape().check("affine", "weight", &[c])?;
    bias.shape().check("affine", "bias", &[c])?;
    let params = Params { batch: n as u32, channels: c as u32, plane: (h * w) as u32 };
    let elements = x.numel();
    let y = Tensor::empty(x.device(), &x.shape())?;
    let work = Work::threads(elements).flops(2 * elements as u64);
    x.device().launch(&FORWARD, &params, &[weight, x, bias], &[&y], work)?;

    let (saved_x, saved_weight) = (x.clone(), weight.clone());
    let learned = weight.is_tracked() || bias.is_tracked();
    Ok(y.with_backward([x, weight, bias], move |dy| {
        let device = dy.device();
        let by_input = || {
            let dx = Tensor::empty(device, &dy.shape())?;
            let work = Work::threads(elements).flops(elements as u64);
            device.launch(&BACKWARD, &params, &[&saved_weight, dy], &[&dx], work)?;
            Ok(dx)
        };
        let dx = saved_x.is_tracked().then(by_input).transpose()?;
        if !learned {
            return Ok([dx, None, None]);
        }
        let (dw, db) = (Tensor::empty(device, &[c])?, Tensor::empty(device, &[c])?);
        let work = Work::groups(c).flops(3 * elements as u64);
        device.launch(&BACKWARD_WEIGHT, &params, &[&saved_x, dy], &[&dw, &db], work)?;
        Ok([dx, Some(dw), Some(db)])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    struct Affine;

    impl Twin for Affine {
        fn forward(&self, x: &[Array]) -> Array {
            Array::from_fn(x[0].nchw(), |at| x[0][at] * x[1][[at[1]]] + x[2][[at[1]]])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let (mut dw, mut db) = (Array::zeros(&x[1].shape), Array::zeros(&x[2].shape));
            let dx = Array::from_fn(x[0].nchw(), |at| {
                dw[[at[1]]] += dy[at] * x[0][at];
                db[[at[1]]] += dy[at];
                dy[at] * x[1][[at[1]]]
            });
            vec![Some(dx), Some(dw), Some(db)]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [[1, 1, 1, 1], [2, 3, 5, 7], [3, 5, 17, 19]] {
            let mut random = Random::new(1);
            let inputs = [random.array(&shape), random.array(&[shape[1]]), random.array(&[shape[1]])];
            check(&Affine, &inputs, |t| super::affine(&t[0], &t[1], &t[2]));
        }
    }
}
