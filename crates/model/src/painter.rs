//! The ALIAS generator for inference: images of a person in one garment after another.

use crate::label_map::{LabelMap, misaligned};
use crate::networks::generator;
use crate::plans::{Conditioning, Cost, PlanOptions, Planned, Prepared, Session, Target};
use crate::{Checkpoint, Device, GeneratorConfig, InputError, LoadOptions, Noise, Result, Sample};
use alias_plan::{Precision, Step};
use alias_tensor::Tensor;
use std::time::Duration;

/// The ALIAS generator for inference, with its weights on a GPU or packed for processor cores.
///
/// It computes what [`Generator`](crate::Generator) computes, with half the operations and a third of the memory, but no
/// gradients. Clones are cheap and share the weights.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::{CpuOptions, Device, Noise, Painter, PlanOptions, Sample};
/// # use alias_model::{GeneratorConfig, Layers, fill};
/// # let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(2) };
/// # let checkpoint = fill(&config.network()?, 1);
/// # let pixels = 64 * 64;
/// # let sample = Sample {
/// #     batch: 1,
/// #     height: 64,
/// #     width: 64,
/// #     agnostic: vec![0.0; 3 * pixels],
/// #     pose: vec![0.0; 3 * pixels],
/// #     warped_cloth: vec![0.5; 3 * pixels],
/// #     warped_mask: vec![1.0; pixels],
/// #     labels: vec![2; pixels],
/// # };
///
/// let painter = Painter::load(Device::cores(CpuOptions::default())?, &checkpoint)?;
/// let image = painter.draw(&sample, Noise::Seed(7))?; // (N, 3, H, W) in [-1, 1]
///
/// // One person, planned once, in two garments.
/// let person = painter.person(&sample, PlanOptions { keeps_tables: true, ..Default::default() })?;
/// let first = person.draw(&sample, Noise::None)?;
/// let other = Sample { warped_cloth: vec![-0.5; sample.warped_cloth.len()], ..sample.clone() };
/// assert_ne!(person.draw(&other, Noise::None)?, first);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Painter {
    config: GeneratorConfig,
    session: Session,
}

/// A person's label map and mask, ready to be drawn in any garment that fits them: of another colour or print, with the
/// same labels and the same mask within the garment's class. Another outline needs another person.
///
/// The label map's distinct windows are found once and, with [`PlanOptions::keeps_tables`], SPADE's scale and shift are
/// computed once. A person has its own buffers for a whole image. Threads that share one take turns.
#[derive(Debug)]
pub struct Person {
    /// Batch, height, width.
    size: [usize; 3],
    labels: Vec<u8>,
    misaligned: Vec<f32>,
    prepared: Prepared,
}

/// A person's plan, without buffers, for [`Painter::prepare`].
#[derive(Debug)]
pub struct PersonPlan {
    size: [usize; 3],
    labels: Vec<u8>,
    misaligned: Vec<f32>,
    planned: Planned,
}

impl Painter {
    /// Loads a checkpoint and reads the generator's configuration from it.
    ///
    /// # Errors
    /// As [`Generator::load`](crate::Generator::load).
    pub fn load(device: impl Into<Device>, checkpoint: &Checkpoint) -> Result<Painter> {
        let device = device.into();
        Painter::load_with(&device, checkpoint, LoadOptions::default(), Target::of(&device, Precision::F32))
    }

    /// Loads a checkpoint by `options`, with plans for `target`, which is usually [`Target::of`] the device.
    ///
    /// ```no_run
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::{LoadOptions, Painter, Precision, Target};
    /// use alias_tensor::wgpu::Features;
    /// use alias_tensor::{Gpu, GpuOptions};
    /// # use alias_model::{GeneratorConfig, Layers, fill};
    /// # let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(1) };
    /// # let checkpoint = fill(&config.network()?, 1);
    ///
    /// // Half precision, for half the memory, on a GPU that has it.
    /// let gpu = Gpu::open(&GpuOptions { features: Features::SHADER_F16, ..Default::default() })?;
    /// let target = Target::of(&gpu, Precision::F16);
    /// let painter = Painter::load_with(&gpu, &checkpoint, LoadOptions::default(), target)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Generator::load`](crate::Generator::load); [`alias_tensor::Error::MissingFeature`] if the device was opened
    /// without a feature that the target needs; [`Error::Config`](crate::Error::Config) if the device does not support
    /// the target.
    pub fn load_with(
        device: impl Into<Device>,
        checkpoint: &Checkpoint,
        options: LoadOptions,
        target: Target,
    ) -> Result<Painter> {
        let (config, network, checkpoint) = options.verified(checkpoint)?;
        Ok(Painter { config, session: Session::of_verified(device.into(), network, &checkpoint, target)? })
    }

    /// Its configuration.
    pub fn config(&self) -> GeneratorConfig {
        self.config
    }

    /// Draws one sample: (N, 3, H, W) in [-1, 1].
    ///
    /// # Errors
    /// As [`Painter::person`].
    pub fn draw(&self, sample: &Sample, noise: Noise) -> Result<Vec<f32>> {
        let options = PlanOptions { noise: noise != Noise::None, keeps_tables: false };
        self.person(sample, options)?.draw(sample, noise)
    }

    /// Prepares to draw the person of `sample`, of which only size, labels and mask matter.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a field of the sample has a wrong length or a value out of range, or
    /// the generator cannot draw its size; an error of the device.
    pub fn person(&self, sample: &Sample, options: PlanOptions) -> Result<Person> {
        self.prepare(self.plan(sample, options)?)
    }

    /// Plans to draw the person of `sample`. This runs on the host alone, so another thread can do it while the device
    /// draws.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::{CpuOptions, Device, Noise, Painter, PlanOptions, Sample};
    /// # use alias_model::{GeneratorConfig, Layers, fill};
    /// # let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(2) };
    /// # let checkpoint = fill(&config.network()?, 1);
    /// # let pixels = 64 * 64;
    /// # let sample = Sample {
    /// #     batch: 1,
    /// #     height: 64,
    /// #     width: 64,
    /// #     agnostic: vec![0.0; 3 * pixels],
    /// #     pose: vec![0.0; 3 * pixels],
    /// #     warped_cloth: vec![0.5; 3 * pixels],
    /// #     warped_mask: vec![1.0; pixels],
    /// #     labels: vec![2; pixels],
    /// # };
    ///
    /// let painter = Painter::load(Device::cores(CpuOptions::default())?, &checkpoint)?;
    /// let plan = std::thread::scope(|scope| {
    ///     scope.spawn(|| painter.plan(&sample, PlanOptions::default())).join().expect("planning does not panic")
    /// })?;
    /// let image = painter.prepare(plan)?.draw(&sample, Noise::None)?;
    /// # assert_eq!(image.len(), 3 * pixels);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a field of the sample has a wrong length or a value out of range, or
    /// the generator cannot draw its size.
    pub fn plan(&self, sample: &Sample, options: PlanOptions) -> Result<PersonPlan> {
        let conditioning = conditioning(self.config, sample)?;
        Ok(PersonPlan {
            size: [sample.batch, sample.height, sample.width],
            labels: sample.labels.clone(),
            misaligned: conditioning.masks[&generator::Inputs::MASK].clone(),
            planned: self.session.plan(&conditioning, options)?,
        })
    }

    /// Prepares to draw a person that this painter planned.
    ///
    /// # Errors
    /// [`ConfigError::OtherSession`](crate::ConfigError::OtherSession) if another painter made the plan; an error of the
    /// device.
    pub fn prepare(&self, plan: PersonPlan) -> Result<Person> {
        let PersonPlan { size, labels, misaligned, planned } = plan;
        Ok(Person { size, labels, misaligned, prepared: self.session.prepare(planned)? })
    }
}

impl Cost {
    /// The cost of drawing `sample` with a generator of `config` on `target`. Of the sample, only size, labels and mask
    /// matter. Needs no device.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::{Cost, GeneratorConfig, PlanOptions, Sample, Target};
    /// # let pixels = 128 * 128;
    /// # let sample = Sample {
    /// #     batch: 1,
    /// #     height: 128,
    /// #     width: 128,
    /// #     agnostic: vec![0.0; 3 * pixels],
    /// #     pose: vec![0.0; 3 * pixels],
    /// #     warped_cloth: vec![0.5; 3 * pixels],
    /// #     warped_mask: vec![1.0; pixels],
    /// #     labels: vec![2; pixels],
    /// # };
    ///
    /// let cost = Cost::of_image(GeneratorConfig::PUBLISHED, &sample, PlanOptions::default(), &Target::GUARANTEED)?;
    /// assert!(cost.plan.flops() < GeneratorConfig::PUBLISHED.network()?.dense_flops(128, 128)? / 3);
    /// assert!(cost.largest_binding <= 128 << 20);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a field of the sample has a wrong length or a value out of range, or
    /// the generator cannot draw its size.
    pub fn of_image(config: GeneratorConfig, sample: &Sample, options: PlanOptions, target: &Target) -> Result<Cost> {
        Cost::new(&config.network()?, &conditioning(config, sample)?, options, target)
    }
}

/// What the generator's plan for a sample depends on.
fn conditioning(config: GeneratorConfig, sample: &Sample) -> Result<Conditioning> {
    sample.verify()?;
    config.layers.check_size(sample.height, sample.width)?;
    let mask = (0..sample.labels.len()).map(|at| misaligned(sample, at)).collect();
    let [seg, seg_div] = [false, true].map(|sees_mask| LabelMap::new(sample, sees_mask));
    Ok(Conditioning {
        label_maps: [(generator::Inputs::SEG, seg), (generator::Inputs::SEG_DIV, seg_div)].into(),
        masks: [(generator::Inputs::MASK, mask)].into(),
        ..Conditioning::size(sample.batch, sample.height, sample.width)
    })
}

/// The parts of the network's input `pictures`.
fn pictures(sample: &Sample) -> [&[f32]; 3] {
    [&sample.agnostic, &sample.pose, &sample.warped_cloth]
}

impl Person {
    /// Draws the person in the garment of `sample`: (N, 3, H, W) in [-1, 1].
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a field of the sample has a wrong length or a value out of range, if
    /// its size, labels or mask differ from the person's, or if `noise` does not match [`PlanOptions::noise`]; an error
    /// of the device.
    pub fn draw(&self, sample: &Sample, noise: Noise) -> Result<Vec<f32>> {
        self.check(sample)?;
        let mut outputs = self.prepared.run_parts(&[&pictures(sample)], noise)?;
        Ok(outputs.remove(0))
    }

    /// Draws the person in the garment of `sample` on a GPU and leaves the image there: a tensor (N, H, W) of RGBA8
    /// words, red in the lowest byte, alpha 255. All work is submitted to the queue before this returns, so the
    /// application's next submission finds the image in [`Tensor::buffer`]. Keep the tensor until that submission: once
    /// it is dropped, its memory is used again.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::{Noise, Painter, PlanOptions, Sample, planes_to_rgb8};
    /// use alias_tensor::{Gpu, GpuOptions};
    /// # use alias_model::{GeneratorConfig, Layers, fill};
    /// # let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(2) };
    /// # let checkpoint = fill(&config.network()?, 1);
    /// # let pixels = 64 * 64;
    /// # let sample = Sample {
    /// #     batch: 1,
    /// #     height: 64,
    /// #     width: 64,
    /// #     agnostic: vec![0.0; 3 * pixels],
    /// #     pose: vec![0.0; 3 * pixels],
    /// #     warped_cloth: vec![0.5; 3 * pixels],
    /// #     warped_mask: vec![1.0; pixels],
    /// #     labels: vec![2; pixels],
    /// # };
    ///
    /// let gpu = Gpu::open(&GpuOptions::default())?; // or Gpu::from_device(device, queue)
    /// let person = Painter::load(&gpu, &checkpoint)?.person(&sample, PlanOptions::default())?;
    /// let rgba = person.draw_to_rgba8(&sample, Noise::None)?;
    /// let first = rgba.to_vec()?[0].to_bits().to_le_bytes();
    /// assert_eq!(first[..3], planes_to_rgb8(&person.draw(&sample, Noise::None)?)[..3]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Person::draw`]; [`Error::Config`](crate::Error::Config) if the painter draws on processor cores.
    pub fn draw_to_rgba8(&self, sample: &Sample, noise: Noise) -> Result<Tensor> {
        self.check(sample)?;
        self.prepared.run_to_rgba8(&[&pictures(sample)], noise)
    }

    /// The steps that run for each image: all of the plan's except tables that are kept.
    pub fn steps(&self) -> &[Step] {
        self.prepared.steps()
    }

    /// Runs each of [`Person::steps`] by itself and measures it, like [`Prepared::profile`].
    ///
    /// # Errors
    /// If the device reports an error.
    pub fn profile(&self) -> Result<Vec<(&Step, Duration)>> {
        self.prepared.profile()
    }

    /// The cost of drawing the person.
    pub fn cost(&self) -> &Cost {
        self.prepared.cost()
    }

    fn check(&self, sample: &Sample) -> Result<()> {
        sample.verify()?;
        let size = [sample.batch, sample.height, sample.width];
        if size != self.size {
            return Err(InputError::PersonSize { got: size, person: self.size }.into());
        }
        if sample.labels != self.labels {
            return Err(InputError::PersonLabels.into());
        }
        // Outside the garment's class, the mask has no effect.
        let other = |at: &usize| misaligned(sample, *at) != self.misaligned[*at];
        let differs = (0..self.labels.len()).fold(false, |any, at| any | other(&at));
        if let Some(at) = (0..self.labels.len()).find(|at| differs && other(at)) {
            return Err(InputError::PersonMask { at }.into());
        }
        Ok(())
    }
}
