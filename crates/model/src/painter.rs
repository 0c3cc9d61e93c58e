//! Images of a person, one garment after the other: the generator for those who do not train it.

use crate::choice::Target;
use crate::compile::{Cost, PersonOptions, Program};
use crate::label_map::{GARMENT, misaligned};
use crate::weights::{Weights, halves};
use crate::{Architecture, Checkpoint, Config, Error, LoadOptions, Noise, Result, Sample, strictness};
use alias_kernels::{
    Buffers, record_fused_conv2d, record_noise, record_staged_conv2d, record_statistics, record_table,
    record_winograd_conv2d,
};
use alias_plan::{BufferId, Method, Plan, Precision, Step};
use alias_tensor::wgpu::Features;
use alias_tensor::{Gpu, Recording, Tensor};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The ALIAS generator, its weights on a device, ready to draw.
///
/// It computes what [`Generator`](crate::Generator) does, from a fifth of the operations and a third of the memory, but
/// nothing that could be differentiated. A cheap handle: clones share the weights.
#[derive(Clone, Debug)]
pub struct Painter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    gpu: Gpu,
    architecture: Architecture,
    weights: Weights,
    target: Target,
}

/// A person's label map and mask, ready to be drawn in any garment that fits them.
///
/// What only depends on those is computed once. It has buffers for a whole image of its own, until it is dropped.
#[derive(Debug)]
pub struct Person {
    /// Batch, height, width.
    size: [usize; 3],
    labels: Vec<u8>,
    misaligned: Vec<f32>,
    cost: Cost,
    pictures: BufferId,
    seed: Option<BufferId>,
    image: BufferId,
    /// By buffer of the plan.
    tensors: Vec<Tensor>,
    recording: Recording,
    /// For each step that is recorded, which launches it ends before.
    ends: Vec<usize>,
    /// Held while an image is drawn: all of them go through the same buffers.
    drawing: Mutex<()>,
}

impl Painter {
    /// Loads a checkpoint, its configuration read from the weights.
    ///
    /// # Errors
    /// As [`Generator::load`](crate::Generator::load).
    pub fn load(gpu: &Gpu, checkpoint: &Checkpoint) -> Result<Painter> {
        Painter::load_with(gpu, checkpoint, LoadOptions::default(), Target::of(gpu, Precision::F32))
    }

    /// Loads a checkpoint by `options`, to draw by plans made for `target`: [`Target::of`] the device, as a rule.
    ///
    /// # Errors
    /// As [`Generator::load`](crate::Generator::load); [`alias_tensor::Error::MissingFeature`] where the device was opened without
    /// what the target needs.
    pub fn load_with(gpu: &Gpu, checkpoint: &Checkpoint, options: LoadOptions, target: Target) -> Result<Painter> {
        if target.precision == Precision::F16 && !gpu.device().features().contains(Features::SHADER_F16) {
            let (adapter, feature) = (gpu.info().name, "SHADER_F16".into());
            return Err(alias_tensor::Error::MissingFeature { adapter, feature }.into());
        }
        let inferred = Config::infer(checkpoint)?;
        let architecture = Architecture::new(Config { plain: options.plain || inferred.plain, ..inferred })?;
        strictness::verify(&architecture, checkpoint, options.strict)?;
        let weights = Weights::new(gpu, &architecture, checkpoint, &target)?;
        Ok(Painter(Arc::new(Inner { gpu: gpu.clone(), architecture, weights, target })))
    }

    /// Its layers.
    pub fn architecture(&self) -> &Architecture {
        &self.0.architecture
    }

    /// Draws one sample: (N, 3, H, W) in [-1, 1].
    ///
    /// # Errors
    /// As [`Painter::person`].
    pub fn draw(&self, sample: &Sample, noise: Noise) -> Result<Vec<f32>> {
        let options = PersonOptions { noise: noise != Noise::None, keeps_tables: false };
        self.person(sample, options)?.draw(sample, noise)
    }

    /// Gets ready to draw the person of `sample`; only size, labels and mask of the sample matter.
    ///
    /// # Errors
    /// [`Error::Input`] where the sample is not what its fields promise, or no size for the generator; what the device
    /// reports.
    pub fn person(&self, sample: &Sample, options: PersonOptions) -> Result<Person> {
        let Inner { gpu, architecture, weights, target } = &*self.0;
        let program = Program::new(architecture, sample, options, target)?;
        let cost = Cost::of(program.plan, architecture, target);
        let Cost { plan, memory, .. } = &cost;
        let slots = memory.slots.iter().map(|&bytes| Tensor::empty(gpu, &[bytes as usize / 4]));
        let slots = slots.collect::<alias_tensor::Result<Vec<_>>>()?;
        let view = |buffer: usize| slots[memory.slot_of[buffer]].prefix(&[plan.bytes(BufferId(buffer)) as usize / 4]);
        let tensors = (0..plan.buffers.len()).map(view).collect::<alias_tensor::Result<Vec<_>>>()?;
        for (id, bytes) in &program.uploads {
            tensors[id.0].overwrite(0, bytes)?;
        }
        for (norm, id) in &program.batch_norms {
            let coefficients = weights.norms[norm].coefficients.as_deref().unwrap_or_default();
            tensors[id.0].overwrite(0, &coefficients.repeat(sample.batch))?;
        }
        let (tables, steps) = plan.steps.split_at(program.tables);
        if !tables.is_empty() {
            record(gpu, plan, tables, &tensors, weights)?.0.submit()?;
        }
        let (recording, ends) = record(gpu, plan, steps, &tensors, weights)?;
        Ok(Person {
            size: [sample.batch, sample.height, sample.width],
            labels: sample.labels.clone(),
            misaligned: (0..sample.labels.len()).map(|at| misaligned(sample, at)).collect(),
            tensors,
            recording,
            ends,
            drawing: Mutex::default(),
            pictures: program.pictures,
            seed: program.seed,
            image: program.image,
            cost,
        })
    }
}

impl Person {
    /// Draws the person in the garment of `sample`: (N, 3, H, W) in [-1, 1]. Threads that share a person take turns.
    ///
    /// # Errors
    /// [`Error::Input`] where the sample is not what its fields promise, has other labels, another size or another mask than
    /// the person, or where there is noise and the person was made without, or the other way round; what the device reports.
    pub fn draw(&self, sample: &Sample, noise: Noise) -> Result<Vec<f32>> {
        self.check(sample, noise)?;
        let _drawing = self.drawing.lock().unwrap_or_else(PoisonError::into_inner);
        let Sample { batch, height, width, .. } = *sample;
        let (tensor, picture) = (&self.tensors[self.pictures.0], 3 * height * width);
        for image in 0..batch {
            for (k, part) in [&sample.agnostic, &sample.pose, &sample.warped_cloth].into_iter().enumerate() {
                let (at, part) = ((3 * image + k) * picture, &part[image * picture..][..picture]);
                // Sizes are multiples of 64, so that halves fill whole words.
                match self.cost.plan.precision {
                    Precision::F32 => tensor.overwrite(at, part)?,
                    Precision::F16 => tensor.overwrite(at / 2, &halves(part))?,
                }
            }
        }
        if let (Noise::Seed(seed), Some(id)) = (noise, self.seed) {
            self.tensors[id.0].overwrite(0, &[seed as u32, (seed >> 32) as u32])?;
        }
        self.recording.submit()?;
        self.read(self.image, 3 * batch * height * width)
    }

    /// The steps that each image takes: all of the plan's but tables that are kept.
    pub fn steps(&self) -> &[Step] {
        let steps = &self.cost.plan.steps;
        &steps[steps.len() - self.ends.len()..]
    }

    /// Runs every one of [`Person::steps`] by itself, on whatever the buffers hold, and measures it: [`Recording::profile`].
    ///
    /// # Errors
    /// What the device reports.
    pub fn profile(&self) -> Result<Vec<(&Step, Duration)>> {
        let _drawing = self.drawing.lock().unwrap_or_else(PoisonError::into_inner);
        let times = self.recording.profile()?;
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let ranges = starts.zip(&self.ends);
        Ok(self
            .steps()
            .iter()
            .zip(ranges)
            .map(|(step, (start, &end))| (step, times[start..end].iter().sum()))
            .collect())
    }

    /// What it takes to draw the person.
    pub fn cost(&self) -> &Cost {
        &self.cost
    }

    fn check(&self, sample: &Sample, noise: Noise) -> Result<()> {
        sample.verify()?;
        let size = [sample.batch, sample.height, sample.width];
        if size != self.size {
            let [n, h, w] = self.size;
            let [m, y, x] = size;
            return Err(Error::Input(format!("{m} pictures of {y}x{x}; the person was made for {n} of {h}x{w}")));
        }
        if sample.labels != self.labels {
            return Err(Error::Input("the labels are not the person's; make another person of this sample".into()));
        }
        // The mask outside the garment's class is nobody's concern.
        let other = |at: &usize| misaligned(sample, *at) != self.misaligned[*at];
        let differs = (0..self.labels.len()).fold(false, |any, at| any | other(&at));
        if let Some(at) = (0..self.labels.len()).find(|at| differs && other(at)) {
            return Err(Error::Input(format!(
                "warped_mask differs from the person's at element {at}, in class {GARMENT}; make another person of this \
                 sample"
            )));
        }
        match (noise, self.seed) {
            (Noise::Seed(_), None) => Err(Error::Input("the person was made without noise".into())),
            (Noise::None, Some(_)) => Err(Error::Input("the person was made with noise; give a seed".into())),
            _ => Ok(()),
        }
    }

    /// The first elements of a buffer of activations.
    fn read(&self, id: BufferId, elements: usize) -> Result<Vec<f32>> {
        let mut values = self.tensors[id.0].to_vec()?;
        if self.cost.plan.precision == Precision::F16 {
            let halves: &[half::f16] = bytemuck::cast_slice(&values);
            values = halves.iter().map(|v| v.to_f32()).collect();
        }
        values.truncate(elements);
        Ok(values)
    }
}

/// The launches of `steps`, and how many there are after each of them.
fn record(
    gpu: &Gpu,
    plan: &Plan,
    steps: &[Step],
    tensors: &[Tensor],
    weights: &Weights,
) -> Result<(Recording, Vec<usize>)> {
    let mut recording = Recording::new(gpu);
    let mut ends = Vec::new();
    let (buffers, precision) = (Buffers(tensors), plan.precision);
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
                    Method::Winograd => record_winograd_conv2d(&mut recording, step, precision, buffers, weight)?,
                }
            }
        }
        ends.push(recording.len());
    }
    Ok((recording, ends))
}
