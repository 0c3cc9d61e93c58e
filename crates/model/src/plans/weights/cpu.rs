//! Weights for processor cores.

use super::{Filter, Pack};
use crate::Result;
use alias_cpu::{ConvolutionWeights, Cpu, LinearWeights, TableWeights};
use alias_plan::Method;

/// Packs weights for processor cores.
#[derive(Debug)]
pub(in crate::plans) struct CpuPack(pub(in crate::plans) Cpu);

impl Pack for CpuPack {
    type Convolution = ConvolutionWeights;
    type Linear = LinearWeights;
    type Table = TableWeights;
    type Scale = Vec<f32>;

    fn convolution(&self, filter: &Filter, operands: &[usize], method: Method) -> Result<ConvolutionWeights> {
        Ok(ConvolutionWeights::new(&self.0, &filter.view(), operands, method)?)
    }

    fn linear(&self, weight: &[f32], bias: &[f32], operands: &[usize]) -> Result<LinearWeights> {
        Ok(LinearWeights::new(weight, bias, operands))
    }

    fn table(&self, filters: [&Filter; 3], operands: &[usize]) -> Result<TableWeights> {
        Ok(TableWeights::new(&filters.map(Filter::view), operands)?)
    }

    fn scale(&self, values: Vec<f32>) -> Result<Vec<f32>> {
        Ok(values)
    }

    fn threads(&self) -> usize {
        self.0.threads()
    }
}
