//! A linear layer that normalizes and activates its input while loading it.

use super::DeviceBuffers;
use super::input::{holds, reading};
use super::load_store::LoadStoreParams;
use crate::{ShaderText, kernel};
use alias_plan::Linear;
use alias_tensor::{Recording, Result, Tensor, Work};

const TEXT: ShaderText = stored!(FUSED_LINEAR, GRID, INPUT, LOAD_STORE, MATH, REDUCE);

/// Records a step. `weight` is a matrix (outputs, inputs), then the bias (outputs).
pub(super) fn record(recording: &mut Recording, step: &Linear, buffers: &DeviceBuffers, weight: &Tensor) -> Result<()> {
    let (input, stored) = (&step.input, buffers.precision().bytes());
    buffers.check_input("fused_linear", input, &(0..input.height))?;
    let results = input.batch * step.outputs;
    holds("fused_linear", "the weight", weight, (step.outputs * (step.inputs() + 1)) as u64 * stored)?;
    holds("fused_linear", "the output", buffers.get(step.output), results as u64 * stored)?;
    let forward = reading(kernel("fused_linear", TEXT.of(buffers.precision()), "forward"), input);
    let [a, b, coefficients, table, pixels, noise] = buffers.read_by(input);
    let reads = [a, b, coefficients, table, pixels, noise, weight];
    let work = Work::groups(results).flops(step.flops());
    recording.launch(&forward, &LoadStoreParams::of_linear(step), &reads, &[buffers.get(step.output)], work)
}
