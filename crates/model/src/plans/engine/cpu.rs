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
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct CpuEngine {
    cpu: Cpu,
    weights: Arc<Weights<CpuPack>>,
    spare: Spare,
}

/// The buffers of the last runner that was dropped, for the next one.
type Spare = Arc<Mutex<Option<HostBuffers>>>;

impl CpuEngine {
    pub(super) fn load(cpu: &Cpu, network: &Network, checkpoint: &Checkpoint, target: &Target) -> Result<CpuEngine> {
        let weights = Arc::new(Weights::new(&CpuPack(cpu.clone()), network, checkpoint, target)?);
        Ok(CpuEngine { cpu: cpu.clone(), weights, spare: Spare::default() })
    }
}

impl Engine for CpuEngine {
    fn runner(&self, plan: &Plan, run_once: usize) -> Result<Box<dyn Runner>> {
        let memory = Memory::assign(plan);
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        let buffers = match spare {
            Some(spare) => HostBuffers::reusing(plan, &memory, spare)?,
            None => HostBuffers::new(plan, &memory)?,
        };
        let (cpu, weights, spare) = (self.cpu.clone(), self.weights.clone(), self.spare.clone());
        Ok(Box::new(CpuRunner { cpu, weights, steps: plan.steps.clone(), run_once, buffers: Some(buffers), spare }))
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
    /// Number of steps, from the first, that run only once.
    run_once: usize,
    /// `None` only during the drop.
    buffers: Option<HostBuffers>,
    spare: Spare,
}

impl Drop for CpuRunner {
    fn drop(&mut self) {
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = self.buffers.take();
    }
}

impl CpuRunner {
    fn buffer(&mut self, id: BufferId) -> &mut [f32] {
        self.buffers.as_mut().expect("a runner has buffers").get_mut(id)
    }

    fn step(&mut self, at: usize) {
        let step = &self.steps[at];
        let weights = match step {
            Step::Table(table) => {
                let norm = &self.weights.norms[&table.norm];
                StepWeights::Table(norm.table.as_ref().expect("tables are SPADE's"))
            }
            Step::Noise(_) | Step::Pool(_) | Step::L2Normalization(_) | Step::Correlation(_) => StepWeights::None,
            Step::Linear(step) => StepWeights::Linear(&self.weights.linears[&step.name]),
            Step::Statistics(step) => StepWeights::NoiseScale(&self.weights.norms[&step.norm].noise_scale),
            Step::Convolution(step) => StepWeights::Convolution(&self.weights.convolutions[&step.name]),
        };
        let buffers = self.buffers.as_mut().expect("a runner has buffers");
        alias_cpu::run(&self.cpu, step, buffers, weights);
    }
}

impl CpuRunner {
    fn run_steps(&mut self, steps: Range<usize>) {
        self.cpu.clone().apart(|| steps.for_each(|at| self.step(at)));
    }
}

impl Runner for CpuRunner {
    fn upload(&mut self, id: BufferId, bytes: &[u8]) -> Result<()> {
        bytemuck::cast_slice_mut(self.buffer(id))[..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn upload_coefficients(&mut self, id: BufferId, values: &[f32], operands: &[usize], _: usize) -> Result<()> {
        alias_cpu::pack_coefficients(values, operands, self.buffer(id));
        Ok(())
    }

    fn upload_input(&mut self, id: BufferId, tensors: &[&[f32]], batch: usize, plane: usize) -> Result<()> {
        let cpu = self.cpu.clone();
        alias_cpu::pack_planes(&cpu, tensors, batch, plane, self.buffer(id));
        Ok(())
    }

    fn run_once(&mut self) -> Result<()> {
        self.run_steps(0..self.run_once);
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        self.run_steps(self.run_once..self.steps.len());
        Ok(())
    }

    fn profile(&mut self) -> Result<Vec<Duration>> {
        let steps = self.run_once..self.steps.len();
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
        let buffers = self.buffers.as_ref().expect("a runner has buffers");
        Ok(alias_cpu::unpack_planes(&self.cpu, buffers.get(id), c, h * w))
    }
}
