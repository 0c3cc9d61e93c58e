//! The generator and the discriminator, trained against each other.

mod network;
mod options;
mod saved;

pub use options::TrainerOptions;

use crate::losses::{feature_matching, perceptual};
use crate::{
    Architecture, Checkpoint, Config, DiscriminatorConfig, Error, Generator, Inputs, MultiscaleDiscriminator, Noise,
    Result, Vgg19, strictness,
};
use alias_kernels::{add, l1, scale};
use alias_tensor::{Gpu, Gradients, Tensor, no_grad};
use network::Network;

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
    architecture: Architecture,
    discriminator_config: DiscriminatorConfig,
    options: TrainerOptions,
    vgg: Option<Vgg19>,
    generator: Network,
    discriminator: Network,
    /// Steps taken.
    step: u64,
}

impl Trainer {
    /// Starts from the state dicts of a generator of `config` and of a discriminator. Without VGG-19 the perceptual term
    /// compares pixels.
    ///
    /// # Errors
    /// [`Error::StateDict`] where the checkpoints are not what the configurations ask for; what the device reports.
    pub fn new(
        gpu: &Gpu,
        (config, generator): (Config, &Checkpoint),
        (discriminator_config, discriminator): (DiscriminatorConfig, &Checkpoint),
        vgg: Option<Vgg19>,
        options: TrainerOptions,
    ) -> Result<Trainer> {
        let architecture = Architecture::new(config)?;
        strictness::verify(&architecture, generator, true)?;
        discriminator_config.verify()?;
        Ok(Trainer {
            gpu: gpu.clone(),
            generator: Network::new(gpu, &architecture.state_dict(), generator)?,
            discriminator: Network::new(gpu, &discriminator_config.state_dict(), discriminator)?,
            architecture,
            discriminator_config,
            options,
            vgg,
            step: 0,
        })
    }

    /// How many steps it has taken.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// The generator's state dict.
    ///
    /// # Errors
    /// What the device reports.
    pub fn generator(&self) -> Result<Checkpoint> {
        self.generator.state_dict()
    }

    /// The discriminator's state dict.
    ///
    /// # Errors
    /// What the device reports.
    pub fn discriminator(&self) -> Result<Checkpoint> {
        self.discriminator.state_dict()
    }

    /// One update of the discriminator and one of the generator, by the mean of the losses of all `parts` of a batch; as
    /// many parts as it takes for each of them to fit the device.
    ///
    /// # Errors
    /// [`Error::Diverged`] where a loss is no number, with the state as before the step; what the device reports.
    pub fn step(&mut self, parts: &[Batch]) -> Result<Losses> {
        self.step_with(parts, |_, _| {})
    }

    /// The same, and shows on the way each gradient as `grad.generator.NAME` or `grad.discriminator.NAME`, and the image of
    /// the generator's update as `fake`.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn step_with(&mut self, parts: &[Batch], mut tap: impl FnMut(&str, &Tensor)) -> Result<Losses> {
        if parts.is_empty() {
            return Err(Error::Input("a step needs at least one part of a batch".into()));
        }
        // Whatever goes wrong on the way, what there was is still there.
        let (mut generator, mut discriminator) = (self.generator.clone(), self.discriminator.clone());
        let mut losses = Losses::default();
        let [rate_g, rate_d] = self.options.rates(self.step);
        self.update_discriminator(parts, &mut generator, &mut discriminator, rate_d, &mut losses, &mut tap)?;
        self.update_generator(parts, &mut generator, &mut discriminator, rate_g, &mut losses, &mut tap)?;
        (self.generator, self.discriminator) = (generator, discriminator);
        self.step += 1;
        Ok(losses)
    }

    fn update_discriminator(
        &self,
        parts: &[Batch],
        generator: &mut Network,
        discriminator: &mut Network,
        rate: f32,
        losses: &mut Losses,
        tap: &mut impl FnMut(&str, &Tensor),
    ) -> Result<()> {
        generator.power_iteration()?;
        discriminator.power_iteration()?;
        let painter = Generator::from_state(self.architecture.clone(), generator.frozen())?.in_training();
        let leaves = discriminator.leaves();
        let judge = MultiscaleDiscriminator::from_state(self.discriminator_config, discriminator.with(&leaves))?;
        let mut gradients = Gradients::default();
        for (k, Batch { inputs, real }) in parts.iter().enumerate() {
            let fake = painter.forward(inputs, self.noise(0, k))?;
            // One after the other: what the first was computed from is gone when the second is computed.
            for (image, is_real) in [(&fake, false), (real, true)] {
                let loss = self.options.gan.discriminator_loss(&judge.forward(&inputs.seg_div, image)?, is_real)?;
                let share = scale(&loss, 1.0 / parts.len() as f32)?;
                losses.discriminator += scalar(&share)?;
                gradients.accumulate(share.backward(&self.one()?)?)?;
            }
        }
        self.finite("discriminator", losses.discriminator)?;
        generator.move_statistics(painter.running_statistics(), parts.len());
        discriminator.update(&self.options.adam(rate, self.step), &leaves, &gradients, |name, gradient| {
            tap(&format!("grad.discriminator.{name}"), gradient);
        })
    }

    fn update_generator(
        &self,
        parts: &[Batch],
        generator: &mut Network,
        discriminator: &mut Network,
        rate: f32,
        losses: &mut Losses,
        tap: &mut impl FnMut(&str, &Tensor),
    ) -> Result<()> {
        generator.power_iteration()?;
        discriminator.power_iteration()?;
        let leaves = generator.leaves();
        let painter = Generator::from_state(self.architecture.clone(), generator.with(&leaves))?.in_training();
        let judge = MultiscaleDiscriminator::from_state(self.discriminator_config, discriminator.frozen())?;
        let TrainerOptions { gan, .. } = self.options;
        let share = 1.0 / parts.len() as f32;
        let mut gradients = Gradients::default();
        for (k, Batch { inputs, real }) in parts.iter().enumerate() {
            let fake = painter.forward(inputs, self.noise(1, k))?;
            tap("fake", &fake);
            let on_fake = judge.forward(&inputs.seg_div, &fake)?;
            let on_real = no_grad(|| judge.forward(&inputs.seg_div, real))?;
            let terms = [
                (gan.generator_loss(&on_fake)?, 1.0, &mut losses.gan),
                (feature_matching(&on_fake, &on_real)?, self.options.feature_matching, &mut losses.feature_matching),
                (self.perceptual(&fake, real)?, self.options.perceptual, &mut losses.perceptual),
            ];
            let mut total: Option<Tensor> = None;
            for (term, weight, sum) in terms {
                *sum += share * scalar(&term)?;
                let weighted = scale(&term, share * weight)?;
                total = Some(match total {
                    Some(total) => add(&total, &weighted)?,
                    None => weighted,
                });
            }
            let total = total.expect("there are three terms");
            losses.generator += scalar(&total)?;
            gradients.accumulate(total.backward(&self.one()?)?)?;
        }
        for (name, loss) in [
            ("gan", losses.gan),
            ("feature matching", losses.feature_matching),
            ("perceptual", losses.perceptual),
            ("generator", losses.generator),
        ] {
            self.finite(name, loss)?;
        }
        generator.move_statistics(painter.running_statistics(), parts.len());
        generator.update(&self.options.adam(rate, self.step), &leaves, &gradients, |name, gradient| {
            tap(&format!("grad.generator.{name}"), gradient);
        })
    }

    fn perceptual(&self, fake: &Tensor, real: &Tensor) -> Result<Tensor> {
        match &self.vgg {
            Some(vgg) => perceptual(vgg, fake, real),
            None => Ok(l1(fake, real)?),
        }
    }

    /// The noise of a step's first or second image of part `part`.
    fn noise(&self, image: u64, part: usize) -> Noise {
        Noise::Seed(self.options.noise_seed.wrapping_add(2 * self.step + image + ((part as u64) << 40)))
    }

    fn one(&self) -> Result<Tensor> {
        Ok(Tensor::new(&self.gpu, &[], &[1.0])?)
    }

    fn finite(&self, loss: &'static str, value: f32) -> Result<()> {
        if value.is_finite() { Ok(()) } else { Err(Error::Diverged { step: self.step, loss, value }) }
    }
}

fn scalar(x: &Tensor) -> Result<f32> {
    Ok(x.to_vec()?[0])
}
