//! The statistics of instance norm and mask norm.

use super::DeviceBuffers;
use super::input::{InputParams, holds};
use crate::geometry::AdapterKind;
use crate::{ShaderText, kernel};
use alias_plan::Statistics;
use alias_tensor::{Error, Recording, Result, Tensor, Work};

const TEXT: ShaderText = stored!(STATISTICS, GRID, INPUT);
#[cfg(test)]
const SOURCE: &[&str] = TEXT.f32;

params! { input: InputParams, part: u32, parts: u32, eps: f32 }

/// Records a step. `noise_scale` (C) is the factor of the noise in each channel.
pub(super) fn record(
    recording: &mut Recording,
    step: &Statistics,
    buffers: &DeviceBuffers,
    noise_scale: &Tensor,
) -> Result<()> {
    let input = &step.input;
    buffers.check_input("statistics", input, &(0..input.height))?;
    if let Some(operand) = input.operands.iter().find(|operand| operand.height > input.height) {
        return Err(Error::argument("statistics", "an operand's height", operand.height, "at most the input's"));
    }
    let elements = input.batch * input.channels();
    holds("statistics", "the scale of the noise", noise_scale, 4 * input.channels() as u64)?;
    let partial = buffers.stored("statistics", "partial", step.partial)?;
    holds("statistics", "the partial statistics", partial, 48 * (elements * step.parts()) as u64)?;
    holds("statistics", "the output", buffers.get(step.output), 32 * elements as u64)?;
    if let Some(mask) = step.mask {
        holds("statistics", "the mask", buffers.get(mask), 4 * (input.batch * input.plane()) as u64)?;
    }
    let (planes, parts) = (input.batch * input.channels(), step.parts());
    let params = Params {
        input: InputParams::new(input),
        part: Statistics::PART as u32,
        parts: parts as u32,
        eps: Statistics::EPS,
    };
    let [a, b] = buffers.operands(input);
    let noise = input.noise.map_or(noise_scale, |id| buffers.get(id));
    let mask = step.mask.map_or(noise_scale, |id| buffers.get(id));
    let output = buffers.get(step.output);
    let workgroup = AdapterKind::of(recording.gpu()).statistics_workgroup(input.plane());
    let reduce = kernel("statistics", TEXT.of(buffers.precision()), "partial")
        .workgroup(workgroup)
        .constant("MASKED", step.mask.is_some().into())
        .constant("NOISE", input.noise.is_some().into());
    let inputs = [a, b, noise, noise_scale, mask];
    recording.launch(&reduce, &params, &inputs, &[partial], Work::groups(planes * parts).flops(step.flops()))?;
    let combine = kernel("statistics", TEXT.of(buffers.precision()), "combine")
        .workgroup(64)
        .constant("MASKED", step.mask.is_some().into());
    recording.launch(&combine, &params, &[partial, noise_scale], &[output], Work::threads(planes))
}
