//! What the three ways to compute a convolution have in common, as their shaders have it.

use crate::input::{Buffers, InputParams, holds};
use crate::kernel;
use alias_plan::{BufferId, Convolution, Input, Norm, Precision};
use alias_tensor::{Error, Kernel, Result, Tensor};
use std::ops::Range;

/// `struct Params` of shaders/shared/convolution.wgsl.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct ConvolutionParams {
    input: InputParams,
    cout: u32,
    row_start: u32,
    row_end: u32,
    accumulate: u32,
    tanh: u32,
}

impl ConvolutionParams {
    /// Of those rows of the output.
    pub(crate) fn new(step: &Convolution, rows: &Range<usize>) -> ConvolutionParams {
        ConvolutionParams {
            input: InputParams::of(step),
            cout: step.cout as u32,
            row_start: rows.start as u32,
            row_end: rows.end as u32,
            accumulate: step.accumulate.into(),
            tanh: step.tanh.into(),
        }
    }
}

/// An entry point that reads what `step` does.
pub(crate) fn reading(
    step: &Convolution,
    name: &'static str,
    source: &'static [&'static str],
    entry: &'static str,
) -> Kernel {
    let norm = step.norm.as_ref();
    kernel(name, source, entry)
        .constant("NORM", norm.is_some().into())
        .constant("MASKED", norm.is_some_and(|norm| norm.masked).into())
        .constant("NOISE", step.input.noise.is_some().into())
}

impl<'a> Buffers<'a> {
    /// Errors unless every buffer of a convolution, and its packed weight of so many `taps`, has what the step says.
    pub(crate) fn check_convolution(
        self,
        op: &'static str,
        step: &Convolution,
        precision: Precision,
        weight: &Tensor,
        taps: usize,
    ) -> Result<()> {
        self.check_input(op, &step.input, precision)?;
        let Input { batch, height, width, .. } = step.input;
        let (channels, stored) = (step.input.channels(), precision.bytes());
        if ![1, 3].contains(&step.kernel) {
            return Err(Error::argument(op, "the kernel", step.kernel, "1 or 3"));
        }
        if step.rows.is_empty() || step.rows.end > height {
            return Err(Error::argument(op, "rows", format!("{:?}", step.rows), format!("some of 0..{height}")));
        }
        if let Some(norm) = &step.norm {
            let seen = step.rows.start.saturating_sub(step.halo())..(step.rows.end + step.halo()).min(height);
            let rows = &norm.pixel_rows;
            if rows.start > seen.start || rows.end < seen.end {
                return Err(Error::argument(op, "pixel_rows", format!("{rows:?}"), format!("all of {seen:?}")));
            }
            holds(op, "the statistics", self.get(norm.coefficients), 32 * (batch * channels) as u64)?;
            holds(op, "the pixels", self.get(norm.pixels), 8 * (batch * rows.len() * width) as u64)?;
        }
        let weights = (channels * taps + 1) * step.cout.next_multiple_of(4);
        holds(op, "the weight", weight, weights as u64 * stored)?;
        holds(op, "the output", self.get(step.output), (batch * step.cout * height * width) as u64 * stored)
    }

    /// What bindings 1 to 6 of shaders/shared/convolution.wgsl are: where there is no norm or noise, nothing reads them.
    pub(crate) fn read_by(self, step: &Convolution) -> [&'a Tensor; 6] {
        let Convolution { input, norm, .. } = step;
        let [a, b] = self.sources(input);
        let of_norm = |id: fn(&Norm) -> BufferId| norm.as_ref().map_or(a, |norm| self.get(id(norm)));
        [
            a,
            b,
            of_norm(|norm| norm.coefficients),
            of_norm(|norm| norm.table),
            of_norm(|norm| norm.pixels),
            input.noise.map_or(a, |noise| self.get(noise)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::ConvolutionParams;
    use alias_shaders::shared::{CONVOLUTION, MATH, SOURCE};
    use std::mem::offset_of;

    #[test]
    fn params_match_the_shaders() {
        macro_rules! fields {
            ($($field:ident)*) => { [$((stringify!($field), offset_of!(ConvolutionParams, $field))),*] };
        }
        let source = [
            "alias Stored = f32; override NORM: u32 = 0; override MASKED: u32 = 0; override NOISE: u32 = 0;",
            "@group(0) @binding(8) var<storage, read_write> y: array<f32>;",
            SOURCE,
            CONVOLUTION,
            MATH,
        ];
        alias_oracle::check_params(&source.concat(), &fields!(input cout row_start row_end accumulate tanh));
    }
}
