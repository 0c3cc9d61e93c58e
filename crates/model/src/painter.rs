//! Images of a person, one garment after the other: the generator for those who do not train it.

use crate::choice::Target;
use crate::compile::{Cost, PersonOptions, Program};
use crate::engine::{self, Canvas, Engine};
use crate::label_map::{GARMENT, misaligned};
use crate::{Architecture, Checkpoint, Config, Device, Error, LoadOptions, Noise, Result, Sample, strictness};
use alias_plan::{BufferId, Precision, Step};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The ALIAS generator, its weights on a GPU or packed for processor cores, ready to draw.
///
/// It computes what [`Generator`](crate::Generator) does, from a fifth of the operations and a third of the memory, but
/// nothing that could be differentiated. A cheap handle: clones share the weights.
#[derive(Clone, Debug)]
pub struct Painter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    architecture: Architecture,
    engine: Box<dyn Engine>,
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
    /// How many steps, the first ones, were done when the person was made.
    done: usize,
    /// Locked while an image is drawn: all of them go through the same buffers.
    canvas: Mutex<Box<dyn Canvas>>,
}

impl Painter {
    /// Loads a checkpoint, its configuration read from the weights.
    ///
    /// # Errors
    /// As [`Generator::load`](crate::Generator::load).
    pub fn load(device: impl Into<Device>, checkpoint: &Checkpoint) -> Result<Painter> {
        let device = device.into();
        Painter::load_with(&device, checkpoint, LoadOptions::default(), Target::of(&device, Precision::F32))
    }

    /// Loads a checkpoint by `options`, to draw by plans made for `target`: [`Target::of`] the device, as a rule.
    ///
    /// # Errors
    /// As [`Generator::load`](crate::Generator::load); [`alias_tensor::Error::MissingFeature`] where the device was opened
    /// without what the target needs; [`Error::Config`] where the target is another kind of device.
    pub fn load_with(
        device: impl Into<Device>,
        checkpoint: &Checkpoint,
        options: LoadOptions,
        target: Target,
    ) -> Result<Painter> {
        let inferred = Config::infer(checkpoint)?;
        let architecture = Architecture::new(Config { plain: options.plain || inferred.plain, ..inferred })?;
        strictness::verify(&architecture, checkpoint, options.strict)?;
        let engine = engine::load(&device.into(), &architecture, checkpoint, &target)?;
        Ok(Painter(Arc::new(Inner { architecture, engine, target })))
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
        let Inner { architecture, engine, target } = &*self.0;
        let program = Program::new(architecture, sample, options, target)?;
        let cost = Cost::of(program.plan, architecture, target);
        let mut canvas = engine.canvas(&cost.plan, &cost.memory, program.tables)?;
        for (id, bytes) in &program.uploads {
            canvas.upload(*id, bytes)?;
        }
        for (norm, id, sources) in &program.batch_norms {
            canvas.upload_coefficients(*id, engine.coefficients(norm), sources, sample.batch)?;
        }
        canvas.prepare(&cost.plan.steps[..program.tables])?;
        Ok(Person {
            size: [sample.batch, sample.height, sample.width],
            labels: sample.labels.clone(),
            misaligned: (0..sample.labels.len()).map(|at| misaligned(sample, at)).collect(),
            pictures: program.pictures,
            seed: program.seed,
            image: program.image,
            done: program.tables,
            canvas: Mutex::new(canvas),
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
        let mut canvas = self.canvas();
        let pictures = [&sample.agnostic, &sample.pose, &sample.warped_cloth].map(Vec::as_slice);
        canvas.upload_pictures(self.pictures, pictures, self.size)?;
        if let (Noise::Seed(seed), Some(id)) = (noise, self.seed) {
            canvas.upload(id, bytemuck::cast_slice(&[seed as u32, (seed >> 32) as u32]))?;
        }
        canvas.draw(self.steps())?;
        canvas.image(self.image, self.size)
    }

    fn canvas(&self) -> MutexGuard<'_, Box<dyn Canvas>> {
        // Whatever a panic left in the buffers, an image begins by overwriting it.
        self.canvas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The steps that each image takes: all of the plan's but tables that are kept.
    pub fn steps(&self) -> &[Step] {
        &self.cost.plan.steps[self.done..]
    }

    /// Runs every one of [`Person::steps`] by itself, on whatever the buffers hold, and measures it; on a GPU as
    /// [`Recording::profile`](alias_tensor::Recording::profile) does.
    ///
    /// # Errors
    /// What the device reports.
    pub fn profile(&self) -> Result<Vec<(&Step, Duration)>> {
        let times = self.canvas().profile(self.steps())?;
        Ok(self.steps().iter().zip(times).collect())
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
}
