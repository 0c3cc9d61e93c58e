//! The generator and the discriminator, trained against each other.

mod discriminator;
mod observer;
mod options;
mod saved;
mod step;
mod update;
mod vgg19;
mod weights;

pub use discriminator::MultiscaleDiscriminator;
pub use observer::{Observer, Phase};
pub use options::TrainerOptions;

pub use vgg19::Vgg19;

use crate::{Error, Result};
use alias_checkpoint::Checkpoint;
use alias_model::{DiscriminatorConfig, GeneratorConfig, Inputs};
use alias_tensor::{Device, Tensor};
use std::collections::BTreeMap;
use std::sync::Mutex;
use weights::TrainedWeights;

/// N examples on a device: a step's batch, or a part of it.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The generator's inputs.
    pub inputs: Inputs,
    /// The true pictures: (N, 3, H, W) in [-1, 1].
    pub real: Tensor,
}

/// The losses of a step, each before the update that it causes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// The discriminator's.
    pub discriminator: f32,
    /// The generator's adversarial term.
    pub gan: f32,
    /// Its feature matching term, unweighted.
    pub feature_matching: f32,
    /// Its perceptual term, unweighted; without VGG-19, the L1 distance of the images.
    pub perceptual: f32,
    /// The weighted sum of the generator's terms.
    pub generator: f32,
}

/// A generator and a discriminator in training.
///
/// A step updates the discriminator, then the generator, each by Adam with `beta_1 = 0`. Two trainers in the same state
/// that take the same steps stay equal, bit for bit.
#[derive(Debug)]
pub struct Trainer {
    device: Device,
    config: GeneratorConfig,
    discriminator_config: DiscriminatorConfig,
    options: TrainerOptions,
    vgg: Option<Vgg19>,
    generator: TrainedWeights,
    discriminator: TrainedWeights,
    /// Whether the backward pass computes the generator's blocks again, instead of keeping their activations.
    recomputes: bool,
    /// Scalars on the device, by their bits.
    constants: Mutex<BTreeMap<u32, Tensor>>,
    /// Steps taken.
    step: u64,
    /// Whether the last step failed within the generator's update.
    torn: bool,
}

impl Trainer {
    /// Starts from the state dicts of a generator and of a discriminator with these configurations. Without VGG-19 the
    /// perceptual term is the L1 distance of pixels.
    ///
    /// # Errors
    /// [`alias_model::Error::StateDict`] if a state dict does not fit its configuration; what the device reports.
    pub fn new(
        device: impl Into<Device>,
        (config, generator): (GeneratorConfig, &Checkpoint),
        (discriminator_config, discriminator): (DiscriminatorConfig, &Checkpoint),
        vgg: Option<Vgg19>,
        options: TrainerOptions,
    ) -> Result<Trainer> {
        let device = device.into();
        let network = config.network()?;
        let generator = network.state_dict_in(generator)?;
        network.verify(&generator, true)?;
        let judge = discriminator_config.network()?;
        let discriminator = judge.state_dict_in(discriminator)?;
        judge.verify(&discriminator, true)?;
        Ok(Trainer {
            generator: TrainedWeights::new(&device, &network, &generator, None)?,
            discriminator: TrainedWeights::new(&device, &judge, &discriminator, None)?,
            device,
            config,
            discriminator_config,
            options,
            vgg,
            recomputes: false,
            constants: Mutex::default(),
            step: 0,
            torn: false,
        })
    }

    /// Turns gradient checkpointing on or off: the backward pass computes the generator's blocks again, instead of
    /// keeping their activations. The result is the same bit for bit; a step takes less memory and a third more time.
    pub fn set_recomputes(&mut self, recomputes: bool) {
        self.recomputes = recomputes;
    }

    /// Steps taken.
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

    fn verify_whole(&self) -> Result<()> {
        if self.torn { Err(Error::HalfAStep { step: self.step }) } else { Ok(()) }
    }
}
