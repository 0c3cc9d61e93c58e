//! Plans on a GPU: recorded once, and replayed for each image.

use super::{Canvas, Engine};
use crate::choice::Target;
use crate::weights::{GpuPack, Weights, halves};
use crate::{Architecture, Checkpoint, Result};
use alias_kernels::{
    Buffers, record_fused_conv2d, record_noise, record_staged_conv2d, record_statistics, record_table,
    record_winograd_conv2d,
};
use alias_plan::{BufferId, Memory, Method, Plan, Precision, Step};
use alias_tensor::wgpu::Features;
use alias_tensor::{Gpu, Recording, Tensor};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct GpuEngine {
    gpu: Gpu,
    weights: Arc<Weights<GpuPack>>,
}

impl GpuEngine {
    pub(super) fn load(
        gpu: &Gpu,
        architecture: &Architecture,
        checkpoint: &Checkpoint,
        target: &Target,
    ) -> Result<GpuEngine> {
        if target.precision == Precision::F16 && !gpu.device().features().contains(Features::SHADER_F16) {
            let (adapter, feature) = (gpu.info().name, "SHADER_F16".into());
            return Err(alias_tensor::Error::MissingFeature { adapter, feature }.into());
        }
        let pack = GpuPack { gpu: gpu.clone(), precision: target.precision };
        let weights = Arc::new(Weights::new(&pack, architecture, checkpoint, target)?);
        Ok(GpuEngine { gpu: gpu.clone(), weights })
    }
}

impl Engine for GpuEngine {
    fn canvas(&self, plan: &Plan, memory: &Memory, done: usize) -> Result<Box<dyn Canvas>> {
        let slots = memory.slots.iter().map(|&bytes| Tensor::empty(&self.gpu, &[bytes as usize / 4]));
        let slots = slots.collect::<alias_tensor::Result<Vec<_>>>()?;
        let view = |buffer: usize| slots[memory.slot_of[buffer]].prefix(&[plan.bytes(BufferId(buffer)) as usize / 4]);
        let tensors = (0..plan.buffers.len()).map(view).collect::<alias_tensor::Result<Vec<_>>>()?;
        let (precision, weights) = (plan.precision, self.weights.clone());
        let (recording, ends) = record(&self.gpu, precision, &plan.steps[done..], &tensors, &weights)?;
        Ok(Box::new(GpuCanvas { gpu: self.gpu.clone(), weights, precision, tensors, recording, ends }))
    }

    fn coefficients(&self, norm: &str) -> &[f32] {
        self.weights.norms[norm].coefficients.as_deref().unwrap_or_default()
    }
}

#[derive(Debug)]
struct GpuCanvas {
    gpu: Gpu,
    weights: Arc<Weights<GpuPack>>,
    precision: Precision,
    /// By buffer of the plan.
    tensors: Vec<Tensor>,
    recording: Recording,
    /// For each step that is recorded, which launches it ends before.
    ends: Vec<usize>,
}

impl Canvas for GpuCanvas {
    fn upload(&mut self, id: BufferId, bytes: &[u8]) -> Result<()> {
        Ok(self.tensors[id.0].overwrite(0, bytes)?)
    }

    fn upload_coefficients(&mut self, id: BufferId, values: &[f32], _: &[usize], batch: usize) -> Result<()> {
        Ok(self.tensors[id.0].overwrite(0, &values.repeat(batch))?)
    }

    fn upload_pictures(&mut self, id: BufferId, pictures: [&[f32]; 3], [n, h, w]: [usize; 3]) -> Result<()> {
        let (tensor, picture) = (&self.tensors[id.0], 3 * h * w);
        for image in 0..n {
            for (k, part) in pictures.into_iter().enumerate() {
                let (at, part) = ((3 * image + k) * picture, &part[image * picture..][..picture]);
                // Sizes are multiples of 64, so that halves fill whole words.
                match self.precision {
                    Precision::F32 => tensor.overwrite(at, part)?,
                    Precision::F16 => tensor.overwrite(at / 2, &halves(part))?,
                }
            }
        }
        Ok(())
    }

    fn prepare(&mut self, steps: &[Step]) -> Result<()> {
        if !steps.is_empty() {
            record(&self.gpu, self.precision, steps, &self.tensors, &self.weights)?.0.submit()?;
        }
        Ok(())
    }

    fn draw(&mut self, _: &[Step]) -> Result<()> {
        Ok(self.recording.submit()?)
    }

    fn profile(&mut self, _: &[Step]) -> Result<Vec<Duration>> {
        let times = self.recording.profile()?;
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        Ok(starts.zip(&self.ends).map(|(start, &end)| times[start..end].iter().sum()).collect())
    }

    fn image(&self, id: BufferId, [n, h, w]: [usize; 3]) -> Result<Vec<f32>> {
        let mut values = self.tensors[id.0].to_vec()?;
        if self.precision == Precision::F16 {
            let halves: &[half::f16] = bytemuck::cast_slice(&values);
            values = halves.iter().map(|v| v.to_f32()).collect();
        }
        values.truncate(3 * n * h * w);
        Ok(values)
    }
}

/// The launches of `steps`, and how many there are after each of them.
fn record(
    gpu: &Gpu,
    precision: Precision,
    steps: &[Step],
    tensors: &[Tensor],
    weights: &Weights<GpuPack>,
) -> Result<(Recording, Vec<usize>)> {
    let mut recording = Recording::new(gpu);
    let mut ends = Vec::new();
    let buffers = Buffers(tensors);
    for step in steps {
        match step {
            Step::Table(step) => {
                record_table(&mut recording, step, precision, buffers, &weights.norms[&step.norm].table)?;
            }
            Step::Noise(step) => record_noise(&mut recording, step, buffers)?,
            Step::Statistics(step) => {
                let noise_scale = &weights.norms[&step.norm].noise_scale;
                record_statistics(&mut recording, step, precision, buffers, noise_scale)?;
            }
            Step::Convolution(step) => {
                let weight = &weights.convolutions[&step.name];
                match step.method {
                    Method::Staged(_) => record_staged_conv2d(&mut recording, step, precision, buffers, weight)?,
                    Method::Fused => record_fused_conv2d(&mut recording, step, precision, buffers, weight)?,
                    Method::Winograd(_) => record_winograd_conv2d(&mut recording, step, precision, buffers, weight)?,
                }
            }
        }
        ends.push(recording.len());
    }
    Ok((recording, ends))
}
