//! Plans on processor cores.

use super::{Engine, Runner};
use crate::network::Network;
use crate::plans::choice::Target;
use crate::plans::weights::{CpuPack, Weights};
use crate::{Checkpoint, Result};
use alias_cpu::{Cpu, HostBuffers, StepWeights};
use alias_plan::{BufferId, Memory, Plan, Step};
use alias_tensor::Tensor;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct CpuEngine {
    cpu: Cpu,
    weights: Arc<Weights<CpuPack>>,
}

impl CpuEngine {
    pub(super) fn load(cpu: &Cpu, network: &Network, checkpoint: &Checkpoint, target: &Target) -> Result<CpuEngine> {
        let weights = Arc::new(Weights::new(&CpuPack(cpu.clone()), network, checkpoint, target)?);
        Ok(CpuEngine { cpu: cpu.clone(), weights })
    }
}

impl Engine for CpuEngine {
    fn runner(&self, plan: &Plan, done: usize) -> Result<Box<dyn Runner>> {
        let buffers = HostBuffers::new(plan, &Memory::assign(plan));
        let (cpu, weights, steps) = (self.cpu.clone(), self.weights.clone(), plan.steps.clone());
        Ok(Box::new(CpuRunner { cpu, weights, steps, done, buffers }))
    }

    fn coefficients(&self, norm: &str) -> &[f32] {
        self.weights.norms[norm].coefficients.as_deref().unwrap_or_default()
    }
}

#[derive(Debug)]
struct CpuRunner {
    cpu: Cpu,
    weights: Arc<Weights<CpuPack>>,
    steps: Vec<Step>,
    /// How many of the steps, the first ones, are run once.
    done: usize,
    buffers: HostBuffers,
}

impl CpuRunner {
    fn step(&mut self, at: usize) {
        let step = &self.steps[at];
        let weights = match step {
            Step::Table(table) => {
                let norm = &self.weights.norms[&table.norm];
                StepWeights::Table(norm.table.as_ref().expect("tables are SPADE's"))
            }
            Step::Noise(_) | Step::Pool(_) => StepWeights::None,
            Step::Statistics(step) => StepWeights::NoiseScale(&self.weights.norms[&step.norm].noise_scale),
            Step::Convolution(step) => StepWeights::Convolution(&self.weights.convolutions[&step.name]),
        };
        alias_cpu::run(&self.cpu, step, &mut self.buffers, weights);
    }
}

impl Runner for CpuRunner {
    fn upload(&mut self, id: BufferId, bytes: &[u8]) -> Result<()> {
        bytemuck::cast_slice_mut(self.buffers.get_mut(id))[..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn upload_coefficients(&mut self, id: BufferId, values: &[f32], operands: &[usize], _: usize) -> Result<()> {
        alias_cpu::pack_coefficients(values, operands, self.buffers.get_mut(id));
        Ok(())
    }

    fn upload_input(&mut self, id: BufferId, tensors: &[&[f32]], batch: usize, plane: usize) -> Result<()> {
        alias_cpu::pack_planes(&self.cpu, tensors, batch, plane, self.buffers.get_mut(id));
        Ok(())
    }

    fn prepare(&mut self, steps: Range<usize>) -> Result<()> {
        self.cpu.clone().apart(|| steps.for_each(|at| self.step(at)));
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        self.prepare(self.done..self.steps.len())
    }

    fn profile(&mut self) -> Result<Vec<Duration>> {
        let steps = self.done..self.steps.len();
        let time = |at| {
            let start = Instant::now();
            self.step(at);
            start.elapsed()
        };
        Ok(steps.map(time).collect())
    }

    fn rgba8(&self, _: BufferId, _: [usize; 3]) -> Option<Result<Tensor>> {
        None
    }

    fn output(&self, id: BufferId, [_, c, h, w]: [usize; 4]) -> Result<Vec<f32>> {
        Ok(alias_cpu::unpack_planes(&self.cpu, self.buffers.get(id), c, h * w))
    }
}
