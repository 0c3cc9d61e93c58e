//! Runs a step, whatever kind it is.

use crate::linear::{self, LinearWeights};
use crate::modulation_table::{self, TableWeights};
use crate::output::clear_padding;
use crate::weights::ConvolutionWeights;
use crate::{Cpu, HostBuffers, convolution, correlation, l2_normalization, noise, pool, statistics, winograd};
use alias_plan::{Activation, Method, Step};

/// The weights of a step.
#[derive(Clone, Copy, Debug)]
pub enum StepWeights<'a> {
    /// Of a [`ModulationTable`](alias_plan::ModulationTable).
    Table(&'a TableWeights),
    /// Of a [`Convolution`](alias_plan::Convolution).
    Convolution(&'a ConvolutionWeights),
    /// Of a [`Linear`](alias_plan::Linear) layer.
    Linear(&'a LinearWeights),
    /// Of [`Statistics`](alias_plan::Statistics): (C), the factor of the noise in each channel.
    NoiseScale(&'a [f32]),
    /// Of steps without weights.
    None,
}

/// Executes a step.
///
/// # Panics
/// If the weights are those of another kind of step, or a buffer is smaller than the step says.
pub fn run(cpu: &Cpu, step: &Step, buffers: &mut HostBuffers, weights: StepWeights) {
    cpu.install(|| match (step, weights) {
        (Step::Table(step), StepWeights::Table(weights)) => modulation_table::run(cpu, step, buffers, weights),
        (Step::Noise(step), StepWeights::None) => noise::run(step, buffers),
        (Step::Statistics(step), StepWeights::NoiseScale(scale)) => statistics::run(cpu, step, buffers, scale),
        (Step::Convolution(step), StepWeights::Convolution(weights)) => {
            match step.method {
                Method::Winograd(_) => winograd::run(cpu, step, buffers, weights),
                Method::Fused => convolution::run(cpu, step, buffers, weights),
                Method::Staged(_) => panic!("{}: bands are staged for GPUs", step.name),
            }
            if step.activation == Activation::Sigmoid {
                clear_padding(step, buffers);
            }
        }
        (Step::Pool(step), StepWeights::None) => pool::run(cpu, step, buffers),
        (Step::Linear(step), StepWeights::Linear(weights)) => linear::run(cpu, step, buffers, weights),
        (Step::L2Normalization(step), StepWeights::None) => l2_normalization::run(cpu, step, buffers),
        (Step::Correlation(step), StepWeights::None) => correlation::run(cpu, step, buffers),
        (step, _) => panic!("{}: weights of another kind of step", step.name()),
    });
}
