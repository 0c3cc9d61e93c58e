//! Convolutions and their gradients on processor cores, over planes (N, C, H, W).
//!
//! All are products of blocks of channels, as for drawing (`alias_cpu`): a rectangle of pixels is staged channel block by
//! channel block, and what a product gives is stored as planes again. 3x3 kernels of stride 1 go by Winograd's algorithm
//! where there are enough pixels to pay for the transform of the weights.

mod by_weight;
mod convolution;
mod direct;
mod few_pixels;
mod strips;
mod winograd;

use super::sizes::Conv;
use alias_cpu::{Cpu, PANEL, WeightView, sum};
use alias_tensor::{Cores, Result, Tensor};
use convolution::Convolution;
use rayon::prelude::*;
use winograd::Weights;

/// Whether a convolution reads the weight as it is in its tensor, and packs each part right before its only use.
fn reads_unpacked(conv: &Convolution) -> bool {
    conv.is_winograd() && winograd::uses_weights_once(conv)
}

/// Stores the convolution of `x` and, if given, a bias (Cout). The weight is packed, unless the convolution [reads it
/// unpacked](reads_unpacked).
fn convolve(cpu: &Cpu, conv: &Convolution, x: &[f32], weight: WeightView, bias: Option<&[f32]>, y: &mut [f32]) {
    let mut padded = vec![0.0; conv.cout.next_multiple_of(PANEL)];
    if let Some(bias) = bias {
        padded[..conv.cout].copy_from_slice(bias);
    }
    if !conv.is_winograd() {
        direct::run(cpu, conv, x, weight.elements, &padded, y);
    } else if reads_unpacked(conv) {
        winograd::run(cpu, conv, x, Weights::AsTheyAre(weight), &padded, y);
    } else {
        winograd::run(cpu, conv, x, Weights::Packed(weight.elements), &padded, y);
    }
}

/// A weight (Cout, Cin, K, K) on cores, as it is in its tensor, and what divides it.
#[derive(Clone, Copy)]
pub(super) struct Weight<'a> {
    pub(super) weight: &'a Tensor,
    /// The spectral norm (1).
    pub(super) sigma: Option<&'a Tensor>,
}

impl<'a> Weight<'a> {
    /// The weight and what divides it; twice the weight where nothing does.
    fn tensors(self) -> [&'a Tensor; 2] {
        [self.weight, self.sigma.unwrap_or(self.weight)]
    }

    /// What the weight is multiplied by, given the elements of what divides it.
    fn scale(self) -> impl Fn(&[f32]) -> f32 + Copy {
        let divides = self.sigma.is_some();
        move |sigma| if divides { 1.0 / sigma[0] } else { 1.0 }
    }

    /// The weight as a convolution reads it, whose output channels are `stride_out` elements apart, its input channels
    /// `stride_in`, its taps at `taps`: packed, or as it is where each part is packed right before its only use.
    fn prepare(self, cores: &Cores, conv: &Convolution, strides: [usize; 2], taps: &[usize]) -> Result<Tensor> {
        if reads_unpacked(conv) {
            return Ok(self.weight.detach());
        }
        let packed = Tensor::empty(cores, &[conv.packed_elements()])?;
        let scale = self.scale();
        cores.run("conv2d", "pack", &self.tensors(), &[&packed], 0, |cpu, [elements, sigma], [to]| {
            conv.pack(cpu, &view(conv, elements, strides, taps, scale(sigma)), to);
        })?;
        Ok(packed)
    }
}

fn view<'a>(
    conv: &Convolution,
    elements: &'a [f32],
    [stride_out, stride_in]: [usize; 2],
    taps: &'a [usize],
    scale: f32,
) -> WeightView<'a> {
    WeightView { elements, cout: conv.cout, stride_out, stride_in, taps, scale }
}

/// Leaky ReLU in place, unless the slope is 1.
fn activate(cpu: &Cpu, y: &mut [f32], slope: f32) {
    if slope == 1.0 {
        return;
    }
    y.par_chunks_mut(1 << 14).for_each(|y| {
        cpu.dispatch(
            #[inline(always)]
            || {
                for y in y {
                    // With a slope of 0, minus infinity becomes 0; NaN passes through.
                    let negative = if slope == 0.0 && *y <= 0.0 { 0.0 } else { slope * *y };
                    *y = if *y > 0.0 { *y } else { negative };
                }
            },
        );
    });
}

/// The convolution itself and leaky ReLU.
pub(super) fn forward(
    cores: &Cores,
    conv: &Conv,
    x: &Tensor,
    weight: Weight,
    bias: Option<&Tensor>,
    slope: f32,
) -> Result<Tensor> {
    let Conv { batch, cin, cout, h, w, oh, ow, k, stride, padding, .. } = *conv;
    if few_pixels::applies(conv) {
        let (y, scratch) = (Tensor::empty(cores, &[batch, cout, oh, ow])?, scratch(cores, conv)?);
        let (has_bias, bias) = (bias.is_some(), bias.unwrap_or(x));
        let ([weight, sigma], scale) = (weight.tensors(), weight.scale());
        let inputs = [x, weight, sigma, bias];
        cores.run("conv2d", "forward_few", &inputs, &[&y, &scratch], conv.flops(), |cpu, x, [y, scratch]| {
            let [x, weight, sigma, bias] = x;
            few_pixels::forward(cpu, conv, x, (weight, scale(sigma)), has_bias.then_some(bias), y, scratch);
            activate(cpu, y, slope);
        })?;
        return Ok(y);
    }
    let output = [oh, ow];
    let convolution = Convolution {
        batch,
        cin,
        cout,
        input: [h, w],
        kernel: [k, k],
        stride,
        corner: [-(padding as isize); 2],
        output,
        stored: output,
        first: [0, 0],
        step: 1,
    };
    let taps: Vec<usize> = (0..k * k).collect();
    let strides = [cin * k * k, k * k];
    let prepared = weight.prepare(cores, &convolution, strides, &taps)?;
    let y = Tensor::empty(cores, &[batch, cout, oh, ow])?;
    let ([_, sigma], scale) = (weight.tensors(), weight.scale());
    let (has_bias, bias) = (bias.is_some(), bias.unwrap_or(&prepared));
    cores.run("conv2d", "forward", &[x, &prepared, sigma, bias], &[&y], conv.flops(), |cpu, inputs, [y]| {
        let [x, weight, sigma, bias] = inputs;
        let weight = view(&convolution, weight, strides, &taps, scale(sigma));
        convolve(cpu, &convolution, x, weight, has_bias.then_some(bias), y);
        activate(cpu, y, slope);
    })?;
    Ok(y)
}

/// The gradient by input. For stride 2 it consists of four convolutions, one for the pixels of each parity, so that no
/// zeros between the pixels of `dy` are multiplied.
pub(super) fn by_input(cores: &Cores, conv: &Conv, dy: &Tensor, weight: Weight) -> Result<Tensor> {
    let Conv { batch, cin, cout, h, w, oh, ow, k, stride, padding, .. } = *conv;
    let dx = Tensor::empty(cores, &[batch, cin, h, w])?;
    if few_pixels::applies(conv) {
        let ([weight, sigma], scale, scratch) = (weight.tensors(), weight.scale(), scratch(cores, conv)?);
        let inputs = [dy, weight, sigma];
        cores.run("conv2d", "by_input_few", &inputs, &[&dx, &scratch], conv.flops(), |cpu, x, [dx, scratch]| {
            let [dy, weight, sigma] = x;
            few_pixels::by_input(cpu, conv, dy, (weight, scale(sigma)), dx, scratch);
        })?;
        return Ok(dx);
    }
    // For the pixels of a parity: the taps that reach them, the last first, and where the first of these reads `dy`.
    let axis = |parity: usize| {
        let start = (parity + padding) % stride;
        let taps: Vec<usize> = (start..k).step_by(stride).rev().collect();
        let corner = ((parity + padding - start) / stride) as isize + 1 - taps.len() as isize;
        (taps, corner)
    };
    let strides = [k * k, cin * k * k];
    let mut parts = Vec::new();
    for parity in 0..stride * stride {
        let first = [parity / stride, parity % stride];
        let [(rows, top), (columns, left)] = first.map(axis);
        let output = [h.saturating_sub(first[0]).div_ceil(stride), w.saturating_sub(first[1]).div_ceil(stride)];
        if output.contains(&0) {
            continue;
        }
        let convolution = Convolution {
            batch,
            cin: cout,
            cout: cin,
            input: [oh, ow],
            kernel: [rows.len(), columns.len()],
            stride: 1,
            corner: [top, left],
            output,
            stored: [h, w],
            first,
            step: stride,
        };
        let taps: Vec<usize> = rows.iter().flat_map(|row| columns.iter().map(move |column| row * k + column)).collect();
        let prepared =
            if taps.is_empty() { dy.clone() } else { weight.prepare(cores, &convolution, strides, &taps)? };
        parts.push((convolution, taps, prepared));
    }
    // Pixels that no tap reaches have no gradient.
    let reaches_all = parts.iter().all(|(_, taps, _)| !taps.is_empty());
    let prepared = |k: usize| parts.get(k).map_or(dy, |(.., prepared)| prepared);
    let ([_, sigma], scale) = (weight.tensors(), weight.scale());
    let inputs = [dy, sigma, prepared(0), prepared(1), prepared(2), prepared(3)];
    cores.run("conv2d", "by_input", &inputs, &[&dx], conv.flops(), |cpu, inputs: [&[f32]; 6], [dx]| {
        let [dy, sigma, weights @ ..] = inputs;
        if !reaches_all {
            dx.fill(0.0);
        }
        for ((convolution, taps, _), weight) in parts.iter().zip(weights).filter(|((_, taps, _), _)| !taps.is_empty()) {
            let weight = view(convolution, weight, strides, taps, scale(sigma));
            convolve(cpu, convolution, dy, weight, None, dx);
        }
    })?;
    Ok(dx)
}

/// The gradient by weight.
pub(super) fn by_weight(cores: &Cores, conv: &Conv, dy: &Tensor, x: &Tensor) -> Result<Tensor> {
    let dw = Tensor::empty(cores, &[conv.cout, conv.cin, conv.k, conv.k])?;
    if few_pixels::applies(conv) {
        let outputs = [&dw, &scratch(cores, conv)?];
        cores.run("conv2d", "by_weight_few", &[x, dy], &outputs, conv.flops(), |cpu, [x, dy], [dw, scratch]| {
            few_pixels::by_weight(cpu, conv, x, dy, dw, scratch);
        })?;
        return Ok(dw);
    }
    let outputs = [&dw, &Tensor::empty(cores, &[by_weight::scratch_elements(conv)])?];
    cores.run("conv2d", "by_weight", &[x, dy], &outputs, conv.flops(), |cpu, [x, dy], [dw, scratch]| {
        by_weight::by_weight(cpu, conv, x, dy, dw, scratch);
    })?;
    Ok(dw)
}

/// Scratch memory for a convolution of few pixels.
fn scratch(cores: &Cores, conv: &Conv) -> Result<Tensor> {
    Tensor::empty(cores, &[few_pixels::scratch_elements(conv)])
}

/// The gradient by bias: for each channel the sum of `dy` (N, C, plane).
pub(super) fn by_bias(cpu: &Cpu, plane: usize, dy: &[f32], db: &mut [f32]) {
    let channels = db.len();
    db.par_iter_mut().enumerate().for_each(|(c, db)| {
        let planes = dy.chunks_exact(plane).skip(c).step_by(channels);
        let sums = planes.map(|plane| sum(cpu, [plane], |dy| dy)[0]);
        *db = sums.sum::<f64>() as f32;
    });
}
