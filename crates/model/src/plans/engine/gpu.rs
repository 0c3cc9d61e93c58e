//! Plans on a GPU: recorded once, replayed in each run.

use super::{Engine, Runner};
use crate::network::Network;
use crate::plans::choice::Target;
use crate::plans::weights::{GpuPack, Weights};
use crate::{Checkpoint, Result};
use alias_kernels::plan::{DeviceBuffers, StepWeights};
use alias_plan::{BufferId, Plan, Precision, Step};
use alias_tensor::wgpu::Features;
use alias_tensor::{Gpu, Recording, Tensor};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct GpuEngine {
    gpu: Gpu,
    weights: Arc<Weights<GpuPack>>,
}

impl GpuEngine {
    pub(super) fn load(gpu: &Gpu, network: &Network, checkpoint: &Checkpoint, target: &Target) -> Result<GpuEngine> {
        if target.precision == Precision::F16 && !gpu.device().features().contains(Features::SHADER_F16) {
            let (adapter, feature) = (gpu.info().name, "SHADER_F16".into());
            return Err(alias_tensor::Error::MissingFeature { adapter, feature }.into());
        }
        let pack = GpuPack { gpu: gpu.clone(), precision: target.precision };
        let weights = Arc::new(Weights::new(&pack, network, checkpoint, target)?);
        Ok(GpuEngine { gpu: gpu.clone(), weights })
    }
}

impl Engine for GpuEngine {
    fn runner(&self, plan: &Plan, run_once: usize) -> Result<Box<dyn Runner>> {
        let buffers = DeviceBuffers::new(&self.gpu, plan.clone())?;
        let (gpu, weights) = (self.gpu.clone(), self.weights.clone());
        Ok(Box::new(GpuRunner { gpu, weights, buffers, run_once, recorded: None }))
    }

    fn coefficients(&self, norm: &str) -> &[f32] {
        self.weights.norms[norm].coefficients.as_deref().unwrap_or_default()
    }
}

#[derive(Debug)]
struct GpuRunner {
    gpu: Gpu,
    weights: Arc<Weights<GpuPack>>,
    buffers: DeviceBuffers,
    /// Number of steps, from the first, that run only once.
    run_once: usize,
    /// The other steps.
    recorded: Option<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    recording: Recording,
    /// For each step, the number of launches up to its end.
    ends: Vec<usize>,
}

impl GpuRunner {
    fn record(&self, steps: Range<usize>) -> Result<Recorded> {
        let mut recording = Recording::new(&self.gpu);
        let mut ends = Vec::new();
        for at in steps {
            let weights = match &self.buffers.plan().steps[at] {
                Step::Table(table) => {
                    let norm = &self.weights.norms[&table.norm];
                    StepWeights::Table(norm.table.as_ref().expect("tables are SPADE's"))
                }
                Step::Noise(_) | Step::Pool(_) | Step::L2Normalization(_) | Step::Correlation(_) => StepWeights::None,
                Step::Linear(step) => StepWeights::Linear(&self.weights.linears[&step.name]),
                Step::Statistics(step) => StepWeights::NoiseScale(&self.weights.norms[&step.norm].noise_scale),
                Step::Convolution(step) => StepWeights::Convolution(&self.weights.convolutions[&step.name]),
            };
            self.buffers.record(&mut recording, at, weights)?;
            ends.push(recording.len());
        }
        Ok(Recorded { recording, ends })
    }

    /// The steps of each run, recorded when they are first needed.
    fn recorded(&mut self) -> Result<&Recorded> {
        if self.recorded.is_none() {
            self.recorded = Some(self.record(self.run_once..self.buffers.plan().steps.len())?);
        }
        Ok(self.recorded.as_ref().expect("it was just recorded"))
    }
}

impl Runner for GpuRunner {
    fn upload(&mut self, id: BufferId, bytes: &[u8]) -> Result<()> {
        Ok(self.buffers.upload(id, bytes)?)
    }

    fn upload_coefficients(&mut self, id: BufferId, values: &[f32], _: &[usize], batch: usize) -> Result<()> {
        Ok(self.buffers.upload(id, bytemuck::cast_slice(&values.repeat(batch)))?)
    }

    fn upload_input(&mut self, id: BufferId, tensors: &[&[f32]], batch: usize, plane: usize) -> Result<()> {
        let mut images = (0..batch).flat_map(|image| {
            tensors.iter().map(move |tensor| {
                let each = tensor.len() / batch;
                &tensor[image * each..][..each]
            })
        });
        // float16 is written in pairs of elements, so images with an odd number cannot be written one by one.
        if self.buffers.plan().precision == Precision::F16 && !plane.is_multiple_of(2) {
            let mut all = images.collect::<Vec<_>>().concat();
            all.resize(all.len().next_multiple_of(2), 0.0);
            return Ok(self.buffers.write(id, 0, &all)?);
        }
        let mut start = 0;
        images.try_for_each(|values| {
            self.buffers.write(id, start, values)?;
            start += values.len();
            Ok(())
        })
    }

    fn run_once(&mut self) -> Result<()> {
        if self.run_once > 0 {
            self.record(0..self.run_once)?.recording.submit()?;
        }
        self.recorded()?;
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        Ok(self.recorded()?.recording.submit()?)
    }

    fn profile(&mut self) -> Result<Vec<Duration>> {
        let Recorded { recording, ends } = self.recorded()?;
        let times = recording.profile()?;
        let starts = [0].into_iter().chain(ends.iter().copied());
        Ok(starts.zip(ends).map(|(start, &end)| times[start..end].iter().sum()).collect())
    }

    fn rgba8(&self, id: BufferId, size: [usize; 3]) -> Option<Result<Tensor>> {
        let pack = || {
            let rgba = self.buffers.rgba8(id, size)?;
            self.gpu.submit()?;
            Ok(rgba)
        };
        Some(pack())
    }

    fn output(&self, id: BufferId, shape: [usize; 4]) -> Result<Vec<f32>> {
        Ok(self.buffers.read(id, shape.iter().product())?)
    }
}
