//! Plans on processor cores.

use super::{Canvas, Engine};
use crate::choice::Target;
use crate::weights::{CpuPack, Weights};
use crate::{Architecture, Checkpoint, Result};
use alias_cpu::{Buffers, Cpu};
use alias_plan::{BufferId, Memory, Plan, Step};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct CpuEngine {
    cpu: Cpu,
    weights: Arc<Weights<CpuPack>>,
}

impl CpuEngine {
    pub(super) fn load(
        cpu: &Cpu,
        architecture: &Architecture,
        checkpoint: &Checkpoint,
        target: &Target,
    ) -> Result<CpuEngine> {
        let weights = Arc::new(Weights::new(&CpuPack(cpu.clone()), architecture, checkpoint, target)?);
        Ok(CpuEngine { cpu: cpu.clone(), weights })
    }
}

impl Engine for CpuEngine {
    fn canvas(&self, plan: &Plan, memory: &Memory, _: usize) -> Result<Box<dyn Canvas>> {
        let buffers = Buffers::new(plan, memory);
        Ok(Box::new(CpuCanvas { cpu: self.cpu.clone(), weights: self.weights.clone(), buffers }))
    }

    fn coefficients(&self, norm: &str) -> &[f32] {
        self.weights.norms[norm].coefficients.as_deref().unwrap_or_default()
    }
}

#[derive(Debug)]
struct CpuCanvas {
    cpu: Cpu,
    weights: Arc<Weights<CpuPack>>,
    buffers: Buffers,
}

impl CpuCanvas {
    fn run(&mut self, step: &Step) {
        let weights = match step {
            Step::Table(step) => alias_cpu::Weights::Table(&self.weights.norms[&step.norm].table),
            Step::Noise(_) => alias_cpu::Weights::None,
            Step::Statistics(step) => alias_cpu::Weights::NoiseScale(&self.weights.norms[&step.norm].noise_scale),
            Step::Convolution(step) => alias_cpu::Weights::Convolution(&self.weights.convolutions[&step.name]),
        };
        alias_cpu::run(&self.cpu, step, &mut self.buffers, weights);
    }
}

impl Canvas for CpuCanvas {
    fn upload(&mut self, id: BufferId, bytes: &[u8]) -> Result<()> {
        bytemuck::cast_slice_mut(self.buffers.get_mut(id))[..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn upload_coefficients(&mut self, id: BufferId, values: &[f32], sources: &[usize], _: usize) -> Result<()> {
        alias_cpu::pack_coefficients(values, sources, self.buffers.get_mut(id));
        Ok(())
    }

    fn upload_pictures(&mut self, id: BufferId, pictures: [&[f32]; 3], [_, h, w]: [usize; 3]) -> Result<()> {
        alias_cpu::pack_planes(&self.cpu, &pictures, 3, h * w, self.buffers.get_mut(id));
        Ok(())
    }

    fn prepare(&mut self, steps: &[Step]) -> Result<()> {
        self.draw(steps)
    }

    fn draw(&mut self, steps: &[Step]) -> Result<()> {
        self.cpu.clone().apart(|| steps.iter().for_each(|step| self.run(step)));
        Ok(())
    }

    fn profile(&mut self, steps: &[Step]) -> Result<Vec<Duration>> {
        let time = |step| {
            let start = Instant::now();
            self.run(step);
            start.elapsed()
        };
        Ok(steps.iter().map(time).collect())
    }

    fn image(&self, id: BufferId, [_, h, w]: [usize; 3]) -> Result<Vec<f32>> {
        Ok(alias_cpu::unpack_planes(&self.cpu, self.buffers.get(id), 3, h * w))
    }
}
