//! Records a step, whatever kind it is.

use super::{
    DeviceBuffers, TableWeights, fused_conv2d, fused_linear, fused_pool, modulation_table, staged_conv2d, statistics,
    winograd_conv2d,
};
use crate::{correlation, l2_normalize, noise};
use alias_plan::{Method, Step};
use alias_tensor::{Recording, Result, Tensor};

/// The weights of a step.
#[derive(Clone, Copy, Debug)]
pub enum StepWeights<'a> {
    /// Of a [`ModulationTable`](alias_plan::ModulationTable).
    Table(&'a TableWeights),
    /// Of a [`Convolution`](alias_plan::Convolution): a matrix (Cin K K + 1, Cout padded with zeros to a multiple of 4)
    /// whose last row is the bias. For Winograd's algorithm it has 16 Cin + 1 rows, and
    /// [`winograd_weight`](super::winograd_weight) has transformed each kernel.
    Convolution(&'a Tensor),
    /// Of a [`Linear`](alias_plan::Linear) layer: a matrix (outputs, inputs), then the bias (outputs).
    Linear(&'a Tensor),
    /// Of [`Statistics`](alias_plan::Statistics): (C), the factor of the noise in each channel.
    NoiseScale(&'a Tensor),
    /// Of steps without weights.
    None,
}

impl DeviceBuffers {
    /// Records step number `step` of the plan.
    ///
    /// # Errors
    /// [`Error::Argument`](alias_tensor::Error::Argument) if a buffer or a weight is smaller than the step says, or its indices were not uploaded;
    /// what the device reports.
    ///
    /// # Panics
    /// If the weights are those of another kind of step.
    pub fn record(&self, recording: &mut Recording, step: usize, weights: StepWeights) -> Result<()> {
        match (self.ready(step)?, weights) {
            (Step::Table(step), StepWeights::Table(weights)) => {
                modulation_table::record(recording, step, self, weights)
            }
            (Step::Noise(step), StepWeights::None) => noise::record(recording, step, self),
            (Step::Statistics(step), StepWeights::NoiseScale(scale)) => {
                statistics::record(recording, step, self, scale)
            }
            (Step::Convolution(step), StepWeights::Convolution(weight)) => match step.method {
                Method::Staged(_) => staged_conv2d::record(recording, step, self, weight),
                Method::Fused => fused_conv2d::record(recording, step, self, weight),
                Method::Winograd(_) => winograd_conv2d::record(recording, step, self, weight),
            },
            (Step::Pool(step), StepWeights::None) => fused_pool::record(recording, step, self),
            (Step::Linear(step), StepWeights::Linear(weight)) => fused_linear::record(recording, step, self, weight),
            (Step::L2Normalization(step), StepWeights::None) => l2_normalize::record(recording, step, self),
            (Step::Correlation(step), StepWeights::None) => correlation::record(recording, step, self),
            (step, _) => panic!("{}: weights of another kind of step", step.name()),
        }
    }
}
