//! How convolutions and poolings load their input and store their output: shaders/shared/load_store.wgsl.

use super::DeviceBuffers;
use super::input::{InputParams, holds};
use alias_plan::{Activation, Convolution, Linear, Pool};
use alias_tensor::{Error, Result, Tensor};
use std::ops::Range;

/// `struct Params` of shaders/shared/load_store.wgsl.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct LoadStoreParams {
    input: InputParams,
    cout: u32,
    out_h: u32,
    out_w: u32,
    row_start: u32,
    row_end: u32,
    stride: u32,
    padding: u32,
    accumulate: u32,
    function: u32,
    out_slope: f32,
}

/// The activation function of the output, as `activated` of shaders/shared/load_store.wgsl numbers them.
fn function(activation: Activation) -> u32 {
    match activation {
        Activation::LeakyRelu(_) => 0,
        Activation::Tanh => 1,
        Activation::Sigmoid => 2,
    }
}

/// The slope of the output's leaky ReLU.
fn slope(activation: Activation) -> f32 {
    if let Activation::LeakyRelu(slope) = activation { slope } else { 1.0 }
}

impl LoadStoreParams {
    /// For `rows` of a convolution's output.
    pub(crate) fn of_convolution(step: &Convolution, rows: &Range<usize>) -> LoadStoreParams {
        LoadStoreParams {
            input: InputParams::new(&step.input),
            cout: step.cout as u32,
            out_h: step.height() as u32,
            out_w: step.width() as u32,
            row_start: rows.start as u32,
            row_end: rows.end as u32,
            stride: step.stride as u32,
            padding: step.padding as u32,
            accumulate: step.accumulate.into(),
            function: function(step.activation),
            out_slope: slope(step.activation),
        }
    }

    /// For a pooling.
    pub(crate) fn of_pool(step: &Pool) -> LoadStoreParams {
        LoadStoreParams {
            input: InputParams::new(&step.input),
            cout: step.input.channels() as u32,
            out_h: step.height() as u32,
            out_w: step.width() as u32,
            row_start: 0,
            row_end: step.height() as u32,
            stride: step.stride as u32,
            padding: step.padding as u32,
            accumulate: 0,
            function: 0,
            out_slope: 1.0,
        }
    }

    /// For a linear layer, whose output is one pixel.
    pub(crate) fn of_linear(step: &Linear) -> LoadStoreParams {
        LoadStoreParams {
            input: InputParams::new(&step.input),
            cout: step.outputs as u32,
            out_h: 1,
            out_w: 1,
            row_start: 0,
            row_end: 1,
            stride: 1,
            padding: 0,
            accumulate: 0,
            function: function(step.activation),
            out_slope: slope(step.activation),
        }
    }
}

impl DeviceBuffers {
    /// Errors if a buffer of a convolution is smaller than the step says, or its weight than `taps` matrices (Cin,
    /// Cout).
    pub(crate) fn check_convolution(
        &self,
        op: &'static str,
        step: &Convolution,
        weight: &Tensor,
        taps: usize,
    ) -> Result<()> {
        if step.kernel == 0
            || step.stride == 0
            || step.input.height.min(step.input.width) + 2 * step.padding < step.kernel
        {
            let got = format!("{} with stride {}", step.kernel, step.stride);
            return Err(Error::argument(op, "the kernel", got, "one that fits the image, with a stride"));
        }
        let (batch, channels, stored) = (step.input.batch, step.input.channels(), self.precision().bytes());
        let (height, width) = (step.height(), step.width());
        if step.rows.is_empty() || step.rows.end > height {
            return Err(Error::argument(op, "rows", format!("{:?}", step.rows), format!("some of 0..{height}")));
        }
        self.check_input(op, &step.input, &step.rows_seen(&step.rows))?;
        let weights = (channels * taps + 1) * step.cout.next_multiple_of(4);
        holds(op, "the weight", weight, weights as u64 * stored)?;
        holds(op, "the output", self.get(step.output), (batch * step.cout * height * width) as u64 * stored)
    }
}

#[cfg(test)]
mod tests {
    use super::LoadStoreParams;
    use alias_shaders::shared::{INPUT, LOAD_STORE, MATH};
    use std::mem::offset_of;

    #[test]
    fn params_match_the_shaders() {
        macro_rules! fields {
            ($($field:ident)*) => { [$((stringify!($field), offset_of!(LoadStoreParams, $field))),*] };
        }
        let source = [
            "alias Stored = f32; override NORM: u32 = 0; override TABLE: u32 = 0; override MASKED: u32 = 0;",
            "override NOISE: u32 = 0; @group(0) @binding(8) var<storage, read_write> y: array<f32>;",
            INPUT,
            LOAD_STORE,
            MATH,
        ];
        let fields = fields!(input cout out_h out_w row_start row_end stride padding accumulate function out_slope);
        alias_oracle::check_params(&source.concat(), &fields);
    }
}
