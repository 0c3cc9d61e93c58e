//! The forward and backward passes of a step: those of the discriminator's update, then those of the generator's.

use super::weights::{Tensors, TrainedWeights};
use super::{Batch, Losses, MultiscaleDiscriminator, Trainer, TrainerOptions};
use crate::losses::{feature_matching, perceptual};
use crate::{Error, Result};
use alias_kernels::{add, l1, scale};
use alias_model::{Generator, Noise};
use alias_tensor::{Gradients, Tensor, no_grad};

/// A step under way: clones of the trainer's networks, which are updated while the trainer stays as it is.
pub(super) struct Update<'a> {
    trainer: &'a Trainer,
    parts: &'a [Batch],
    pub(super) generator: TrainedWeights,
    pub(super) discriminator: TrainedWeights,
    pub(super) losses: Losses,
}

impl<'a> Update<'a> {
    pub(super) fn new(trainer: &'a Trainer, parts: &'a [Batch]) -> Update<'a> {
        let (generator, discriminator) = (trainer.generator.clone(), trainer.discriminator.clone());
        Update { trainer, parts, generator, discriminator, losses: Losses::default() }
    }

    pub(super) fn update_discriminator(&mut self, tap: &mut impl FnMut(&str, &Tensor)) -> Result<()> {
        self.generator.power_iteration()?;
        self.discriminator.power_iteration()?;
        let fakes = self.fakes()?;
        let Update { trainer, parts, discriminator, losses, .. } = self;
        let [_, rate] = trainer.options.rates(trainer.step);
        let leaves = discriminator.leaves();
        let judge = MultiscaleDiscriminator::from_state(trainer.discriminator_config, discriminator.with(&leaves))?;
        let mut gradients = Gradients::default();
        for (Batch { inputs, real }, fake) in parts.iter().zip(fakes) {
            // One after the other, so that the first pass's activations are freed before the second.
            for (image, is_real) in [(&fake, false), (real, true)] {
                let loss = trainer.options.gan.discriminator_loss(&judge.forward(inputs.seg_div(), image)?, is_real)?;
                let (value, pulled) = trainer.pull(loss, 1.0 / parts.len() as f32)?;
                losses.discriminator += value;
                gradients.accumulate(pulled)?;
            }
        }
        trainer.finite("discriminator", losses.discriminator)?;
        drop(judge);
        discriminator.update(&trainer.options.adam(rate, trainer.step), leaves, gradients, |name, gradient| {
            tap(&format!("grad.discriminator.{name}"), gradient);
        })
    }

    /// The generated images for the discriminator's update.
    fn fakes(&mut self) -> Result<Vec<Tensor>> {
        let Update { trainer, parts, generator, .. } = self;
        // Leaves, although nothing is learned here: a network without any would keep packed copies of its weights.
        let leaves = generator.leaves();
        let painter = Generator::from_state(trainer.config, generator.with(&leaves))?.in_training(false);
        let draw = |(k, part): (usize, &Batch)| no_grad(|| painter.forward(&part.inputs, trainer.noise(0, k)));
        let fakes = parts.iter().enumerate().map(draw).collect::<alias_model::Result<_>>()?;
        generator.move_statistics(painter.running_statistics(), parts.len());
        Ok(fakes)
    }

    /// The generator's leaves and their gradients.
    pub(super) fn generator_gradients(&mut self, tap: &mut impl FnMut(&str, &Tensor)) -> Result<(Tensors, Gradients)> {
        let Update { trainer, parts, generator, discriminator, losses } = self;
        generator.power_iteration()?;
        discriminator.power_iteration()?;
        let leaves = generator.leaves();
        let painter = Generator::from_state(trainer.config, generator.with(&leaves))?.in_training(trainer.recomputes);
        let judge = MultiscaleDiscriminator::from_state(trainer.discriminator_config, discriminator.frozen())?;
        let TrainerOptions { gan, feature_matching: matching_weight, perceptual: perceptual_weight, .. } =
            trainer.options;
        let share = 1.0 / parts.len() as f32;
        let mut gradients = Gradients::default();
        for (k, Batch { inputs, real }) in parts.iter().enumerate() {
            let fake = painter.forward(inputs, trainer.noise(1, k))?;
            tap("fake", &fake);
            // Each loss is differentiated by the image on its own, so that only one network's activations are held at a
            // time.
            let image = fake.detach().requires_grad();
            let (adversarial, matching) = {
                let on_fake = judge.forward(inputs.seg_div(), &image)?;
                let on_real = no_grad(|| judge.forward(inputs.seg_div(), real))?;
                (gan.generator_loss(&on_fake)?, feature_matching(&on_fake, &on_real)?)
            };
            losses.gan += share * scalar(&adversarial)?;
            losses.feature_matching += share * scalar(&matching)?;
            let judged = add(&adversarial, &scale(&matching, matching_weight)?)?;
            drop((adversarial, matching));
            let (judged, mut pulled) = trainer.pull(judged, share)?;
            let distance = trainer.perceptual(&image, real)?;
            losses.perceptual += share * scalar(&distance)?;
            let (distance, by_distance) = trainer.pull(distance, share * perceptual_weight)?;
            pulled.accumulate(by_distance)?;
            losses.generator += judged + distance;
            let by_image = pulled.take(&image).expect("every loss depends on the image");
            gradients.accumulate(fake.backward(&by_image)?)?;
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
        Ok((leaves, gradients))
    }
}

impl Trainer {
    fn perceptual(&self, fake: &Tensor, real: &Tensor) -> Result<Tensor> {
        match &self.vgg {
            Some(vgg) => perceptual(vgg, fake, real),
            None => Ok(l1(fake, real)?),
        }
    }

    /// The noise of part `part` in the discriminator's update (`image` 0) or in the generator's (1).
    fn noise(&self, image: u64, part: usize) -> Noise {
        Noise::Seed(self.options.noise_seed.wrapping_add(2 * self.step + image + ((part as u64) << 40)))
    }

    /// The value and the gradients of `weight` times a loss.
    fn pull(&self, loss: Tensor, weight: f32) -> Result<(f32, Gradients)> {
        let weighted = scale(&loss, weight)?;
        drop(loss);
        let value = scalar(&weighted)?;
        Ok((value, weighted.backward(&Tensor::new(&self.device, &[], &[1.0])?)?))
    }

    fn finite(&self, loss: &'static str, value: f32) -> Result<()> {
        if value.is_finite() { Ok(()) } else { Err(Error::Diverged { step: self.step, loss, value }) }
    }
}

fn scalar(x: &Tensor) -> Result<f32> {
    Ok(x.to_vec()?[0])
}
