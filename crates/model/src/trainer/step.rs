//! One step of training: an update of the discriminator, then one of the generator.

use super::network::Network;
use super::{Batch, Losses, Trainer, TrainerOptions};
use crate::losses::{feature_matching, perceptual};
use crate::{Error, Generator, MultiscaleDiscriminator, Noise, Result};
use alias_kernels::{add, l1, scale};
use alias_tensor::{Gradients, Tensor, no_grad};

/// A step in the making: copies of the trainer's networks, which share their tensors, and what has become of them.
pub(super) struct Step<'a> {
    trainer: &'a Trainer,
    parts: &'a [Batch],
    pub(super) generator: Network,
    pub(super) discriminator: Network,
    pub(super) losses: Losses,
}

impl<'a> Step<'a> {
    pub(super) fn new(trainer: &'a Trainer, parts: &'a [Batch]) -> Step<'a> {
        let (generator, discriminator) = (trainer.generator.clone(), trainer.discriminator.clone());
        Step { trainer, parts, generator, discriminator, losses: Losses::default() }
    }

    pub(super) fn update_discriminator(&mut self, tap: &mut impl FnMut(&str, &Tensor)) -> Result<()> {
        let Step { trainer, parts, generator, discriminator, losses } = self;
        generator.power_iteration()?;
        discriminator.power_iteration()?;
        let painter = Generator::from_state(trainer.architecture.clone(), generator.frozen())?.in_training();
        let [_, rate] = trainer.options.rates(trainer.step);
        let leaves = discriminator.leaves();
        let judge = MultiscaleDiscriminator::from_state(trainer.discriminator_config, discriminator.with(&leaves))?;
        let mut gradients = Gradients::default();
        for (k, Batch { inputs, real }) in parts.iter().enumerate() {
            let fake = painter.forward(inputs, trainer.noise(0, k))?;
            // One after the other: what the first was computed from is gone when the second is computed.
            for (image, is_real) in [(&fake, false), (real, true)] {
                let loss = trainer.options.gan.discriminator_loss(&judge.forward(&inputs.seg_div, image)?, is_real)?;
                let share = scale(&loss, 1.0 / parts.len() as f32)?;
                losses.discriminator += scalar(&share)?;
                gradients.accumulate(share.backward(&trainer.one()?)?)?;
            }
        }
        trainer.finite("discriminator", losses.discriminator)?;
        generator.move_statistics(painter.running_statistics(), parts.len());
        discriminator.update(&trainer.options.adam(rate, trainer.step), &leaves, &gradients, |name, gradient| {
            tap(&format!("grad.discriminator.{name}"), gradient);
        })
    }

    pub(super) fn update_generator(&mut self, tap: &mut impl FnMut(&str, &Tensor)) -> Result<()> {
        let Step { trainer, parts, generator, discriminator, losses } = self;
        generator.power_iteration()?;
        discriminator.power_iteration()?;
        let [rate, _] = trainer.options.rates(trainer.step);
        let leaves = generator.leaves();
        let painter = Generator::from_state(trainer.architecture.clone(), generator.with(&leaves))?.in_training();
        let judge = MultiscaleDiscriminator::from_state(trainer.discriminator_config, discriminator.frozen())?;
        let TrainerOptions { gan, .. } = trainer.options;
        let share = 1.0 / parts.len() as f32;
        let mut gradients = Gradients::default();
        for (k, Batch { inputs, real }) in parts.iter().enumerate() {
            let fake = painter.forward(inputs, trainer.noise(1, k))?;
            tap("fake", &fake);
            let on_fake = judge.forward(&inputs.seg_div, &fake)?;
            let on_real = no_grad(|| judge.forward(&inputs.seg_div, real))?;
            let terms = [
                (gan.generator_loss(&on_fake)?, 1.0, &mut losses.gan),
                (feature_matching(&on_fake, &on_real)?, trainer.options.feature_matching, &mut losses.feature_matching),
                (trainer.perceptual(&fake, real)?, trainer.options.perceptual, &mut losses.perceptual),
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
            gradients.accumulate(total.backward(&trainer.one()?)?)?;
        }
        for (name, loss) in [
            ("gan", losses.gan),
            ("feature matching", losses.feature_matching),
            ("perceptual", losses.perceptual),
            ("generator", losses.generator),
        ] {
            trainer.finite(name, loss)?;
        }
        generator.move_statistics(painter.running_statistics(), parts.len());
        generator.update(&trainer.options.adam(rate, trainer.step), &leaves, &gradients, |name, gradient| {
            tap(&format!("grad.generator.{name}"), gradient);
        })
    }
}

impl Trainer {
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
