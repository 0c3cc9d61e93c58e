//! Weights for processor cores.

use super::{Kernel, Pack};
use crate::Result;
use alias_cpu::{ConvolutionWeights, Cpu, TableWeights};
use alias_plan::Method;

/// Packs weights for processor cores.
#[derive(Debug)]
pub(crate) struct CpuPack(pub(crate) Cpu);

impl Pack for CpuPack {
    type Convolution = ConvolutionWeights;
    type Table = TableWeights;
    type Scale = Vec<f32>;

    fn convolution(&self, kernel: &Kernel, sources: &[usize], method: Method) -> Result<ConvolutionWeights> {
        Ok(ConvolutionWeights::new(&self.0, &of(kernel), sources, method))
    }

    fn table(&self, kernels: [&Kernel; 3], sources: &[usize]) -> Result<TableWeights> {
        Ok(TableWeights::new(&kernels.map(of), sources))
    }

    fn scale(&self, values: Vec<f32>) -> Result<Vec<f32>> {
        Ok(values)
    }

    fn threads(&self) -> usize {
        self.0.threads()
    }
}

fn of<'a>(kernel: &'a Kernel) -> alias_cpu::Kernel<'a> {
    alias_cpu::Kernel { weight: &kernel.weight, scale: kernel.scale, bias: &kernel.bias }
}
