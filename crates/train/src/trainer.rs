//! The generator and the discriminator, trained against each other.

mod discriminator;
mod options;
mod saved;
mod step;
mod vgg19;
mod weights;

pub use discriminator::MultiscaleDiscriminator;
pub use options::TrainerOptions;
pub use vgg19::Vgg19;

use crate::{Error, Result};
use alias_checkpoint::Checkpoint;
use alias_model::{DiscriminatorConfig, GeneratorConfig, Inputs};
use alias_tensor::{Gpu, Tensor};
use step::Update;
use weights::TrainedWeights;

/// What a step learns from: the generator's inputs, and what it should draw.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What the generator gets.
    pub inputs: Inputs,
    /// The true images: (N, 3, H, W) in [-1, 1].
    pub real: Tensor,
}

/// The losses of a step, before its updates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// The discriminator's.
    pub discriminator: f32,
    /// The generator's adversarial term.
    pub gan: f32,
    /// Its feature matching term, not weighted.
    pub feature_matching: f32,
    /// Its perceptual term, not weighted; without VGG-19 the L1 distance of the images.
    pub perceptual: f32,
    /// All of the generator's terms, weighted.
    pub generator: f32,
}

/// A generator and a discriminator in training.
///
/// A step updates the discriminator, then the generator, each by Adam with `beta_1 = 0`. Two trainers with the same state
/// that take the same steps stay the same, bit for bit.
#[derive(Debug)]
pub struct Trainer {
    gpu: Gpu,
    config: GeneratorConfig,
    discriminator_config: DiscriminatorConfig,
    options: TrainerOptions,
    vgg: Option<Vgg19>,
    generator: TrainedWeights,
    discriminator: TrainedWeights,
    /// Whether the generator computes its blocks a second time for their gradients.
    recomputes: bool,
    /// Steps taken.
    step: u64,
    /// Whether the last step ended amid the generator's update.
    torn: bool,
}

impl Trainer {
    /// Starts from the state dicts of a generator of `config` and of a discriminator. Without VGG-19 the perceptual term
    /// compares pixels.
    ///
    /// # Errors
    /// [`alias_model::Error::StateDict`] where the checkpoints are not what the configurations ask for; what the device reports.
    pub fn new(
        gpu: &Gpu,
        (config, generator): (GeneratorConfig, &Checkpoint),
        (discriminator_config, discriminator): (DiscriminatorConfig, &Checkpoint),
        vgg: Option<Vgg19>,
        options: TrainerOptions,
    ) -> Result<Trainer> {
        let network = config.network()?;
        network.verify(generator, true, &config)?;
        Ok(Trainer {
            gpu: gpu.clone(),
            generator: TrainedWeights::new(gpu, &network, generator)?,
            discriminator: TrainedWeights::new(gpu, &discriminator_config.network()?, discriminator)?,
            config,
            discriminator_config,
            options,
            vgg,
            recomputes: false,
            step: 0,
            torn: false,
        })
    }

    /// From now on, the generator's blocks are computed a second time for their gradients, or not: the same bits from a
    /// fraction of the memory, for a third more time.
    pub fn set_recomputes(&mut self, recomputes: bool) {
        self.recomputes = recomputes;
    }

    /// How many steps it has taken.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// The generator's state dict, as [`Painter::load`](alias_model::Painter::load) takes it.
    ///
    /// # Errors
    /// [`Error::HalfAStep`]; what the device reports.
    pub fn generator(&self) -> Result<Checkpoint> {
        self.verify_whole()?;
        let mut generator = self.generator.state_dict()?;
        if self.config.plain {
            generator.metadata_mut().insert(GeneratorConfig::PLAIN.into(), "true".into());
        }
        Ok(generator)
    }

    /// The discriminator's state dict.
    ///
    /// # Errors
    /// [`Error::HalfAStep`]; what the device reports.
    pub fn discriminator(&self) -> Result<Checkpoint> {
        self.verify_whole()?;
        self.discriminator.state_dict()
    }

    /// One update of the discriminator and one of the generator, by the mean of the losses of all `parts` of a batch; as
    /// many parts as it takes for each of them to fit the device.
    ///
    /// # Errors
    /// [`Error::Diverged`] where a loss is no number, and what the device reports, with the state as before the step; but for
    /// what it reports in the generator's update, which is the last thing of all: then [`Error::HalfAStep`] whatever is asked.
    pub fn step(&mut self, parts: &[Batch]) -> Result<Losses> {
        self.step_with(parts, |_, _| {})
    }

    /// The same, and shows on the way each gradient as `grad.generator.NAME` or `grad.discriminator.NAME`, and the image of
    /// the generator's update as `fake`.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn step_with(&mut self, parts: &[Batch], mut tap: impl FnMut(&str, &Tensor)) -> Result<Losses> {
        self.verify_whole()?;
        if parts.is_empty() {
            return Err(Error::NoBatch);
        }
        // Whatever goes wrong up to here, what there was is still there.
        let mut step = Update::new(self, parts);
        step.update_discriminator(&mut tap)?;
        let (leaves, gradients) = step.generator_gradients(&mut tap)?;
        let Update { generator, discriminator, losses, .. } = step;
        let [rate, _] = self.options.rates(self.step);
        // From here on each weight is given back when its successor is there: two generators at once may be too many.
        (self.generator, self.discriminator, self.torn) = (generator, discriminator, true);
        self.generator.update(&self.options.adam(rate, self.step), leaves, gradients, |name, gradient| {
            tap(&format!("grad.generator.{name}"), gradient);
        })?;
        self.torn = false;
        self.step += 1;
        Ok(losses)
    }

    fn verify_whole(&self) -> Result<()> {
        if self.torn { Err(Error::HalfAStep { step: self.step }) } else { Ok(()) }
    }
}
