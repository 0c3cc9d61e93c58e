//! The forward and backward passes of a step: those of the discriminator's update, then those of the generator's.

use super::observer::{Observer, Phase};
use super::weights::{Tensors, TrainedWeights};
use super::{Batch, Losses, MultiscaleDiscriminator, Trainer, TrainerOptions};
use crate::losses::{feature_matching, perceptual};
use crate::{Error, Result};
use alias_kernels::{l1, weighted_sum};
use alias_model::{Generator, Inputs, Noise, SharedConditions};
use alias_tensor::{Gradients, Tensor, no_grad};
use std::sync::PoisonError;

/// A step under way: clones of the trainer's networks, which are updated while the trainer stays as it is.
pub(super) struct Update<'a> {
    trainer: &'a Trainer,
    parts: &'a [Batch],
    pub(super) generator: TrainedWeights,
    pub(super) discriminator: TrainedWeights,
    /// The generator's learned parameters, which both of its forward passes have in common.
    leaves: Tensors,
    /// What they have in common, where keeping it in between costs little: that of one part only, and not where memory is to
    /// be saved.
    shared: Option<SharedConditions>,
    /// On the device, until [`Update::losses`] reads all at once.
    terms: Terms,
}

/// The losses of each part of the batch, scalars on the device.
#[derive(Default)]
struct Terms {
    /// On generated and true pictures together.
    discriminator: Vec<Tensor>,
    gan: Vec<Tensor>,
    feature_matching: Vec<Tensor>,
    perceptual: Vec<Tensor>,
}

impl<'a> Update<'a> {
    pub(super) fn new(trainer: &'a Trainer, parts: &'a [Batch]) -> Update<'a> {
        let (generator, discriminator) = (trainer.generator.clone(), trainer.discriminator.clone());
        let leaves = generator.leaves();
        let shared = (parts.len() == 1 && !trainer.recomputes).then(SharedConditions::default);
        Update { trainer, parts, generator, discriminator, leaves, shared, terms: Terms::default() }
    }

    pub(super) fn update_discriminator(&mut self, observer: &mut impl Observer) -> Result<()> {
        let fakes = self.fakes()?;
        observer.launched(Phase::Images);
        let Update { trainer, parts, discriminator, terms, .. } = self;
        let [_, rate] = trainer.options.rates(trainer.step);
        let leaves = discriminator.leaves();
        let judge = MultiscaleDiscriminator::for_training(trainer.discriminator_config, discriminator.with(&leaves))?;
        let moved = judge.moved_state();
        let mut gradients = Gradients::default();
        for (Batch { inputs, real }, fake) in parts.iter().zip(fakes) {
            // Generated and true pictures in one batch: half the launches, of twice the work.
            let (seg_div, images) = (twice(inputs.seg_div(), inputs.seg_div())?, twice(&fake, real)?);
            drop(fake);
            let loss = trainer.options.gan.discriminator_loss(&judge.forward(&seg_div, &images)?)?;
            terms.discriminator.push(loss.detach());
            gradients.accumulate(trainer.pull(loss, 1.0 / parts.len() as f32)?)?;
        }
        drop(judge);
        discriminator.take_moved(moved);
        discriminator.update(&trainer.options.adam(rate, trainer.step), leaves, gradients, |name, gradient| {
            observer.tensor(&format!("grad.discriminator.{name}"), gradient);
        })?;
        observer.launched(Phase::Discriminator);
        Ok(())
    }

    /// The generated images for the discriminator's update.
    fn fakes(&mut self) -> Result<Vec<Tensor>> {
        let Update { trainer, parts, generator, leaves, shared, .. } = self;
        // Of leaves, although nothing is learned here: a network without any would keep packed copies of its weights.
        let painter = Generator::for_training(trainer.config, false, generator.with(leaves))?;
        let draw = |(k, part): (usize, &Batch)| {
            no_grad(|| forward(&painter, &part.inputs, trainer.noise(0, k), shared.as_ref()))
        };
        let fakes = parts.iter().enumerate().map(draw).collect::<alias_model::Result<_>>()?;
        generator.take_moved(painter.moved_state());
        generator.count_forwards(parts.len());
        Ok(fakes)
    }

    /// The generator's leaves and their gradients.
    pub(super) fn generator_gradients(&mut self, observer: &mut impl Observer) -> Result<(Tensors, Gradients)> {
        let Update { trainer, parts, generator, discriminator, leaves, shared, terms } = self;
        let leaves = std::mem::take(leaves);
        let painter = Generator::for_training(trainer.config, trainer.recomputes, generator.with(&leaves))?;
        let judge = MultiscaleDiscriminator::for_training(trainer.discriminator_config, discriminator.frozen())?;
        discriminator.take_moved(judge.moved_state());
        let TrainerOptions { gan, feature_matching: matching_weight, perceptual: perceptual_weight, .. } =
            trainer.options;
        let share = 1.0 / parts.len() as f32;
        let mut gradients = Gradients::default();
        for (k, Batch { inputs, real }) in parts.iter().enumerate() {
            let fake = forward(&painter, inputs, trainer.noise(1, k), shared.take().as_ref())?;
            observer.tensor("fake", &fake);
            observer.launched(Phase::Forward);
            // Each loss is differentiated by the image on its own, so that only one network's activations are held at a
            // time.
            let image = fake.detach().requires_grad();
            let (adversarial, matching) = {
                let on_fake = judge.forward(inputs.seg_div(), &image)?;
                let on_real = no_grad(|| judge.forward(inputs.seg_div(), real))?;
                (gan.generator_loss(&on_fake)?, feature_matching(&on_fake, &on_real)?)
            };
            let judged = weighted_sum(&[(&adversarial, 1.0), (&matching, matching_weight)])?;
            terms.gan.push(adversarial.detach());
            terms.feature_matching.push(matching.detach());
            drop((adversarial, matching));
            let mut pulled = trainer.pull(judged, share)?;
            let distance = trainer.perceptual(&image, real)?;
            terms.perceptual.push(distance.detach());
            pulled.accumulate(trainer.pull(distance, share * perceptual_weight)?)?;
            let by_image = pulled.take(&image).expect("every loss depends on the image");
            observer.launched(Phase::Losses);
            gradients.accumulate(fake.backward(&by_image)?)?;
            observer.launched(Phase::Backward);
        }
        generator.take_moved(painter.moved_state());
        generator.count_forwards(parts.len());
        Ok((leaves, gradients))
    }

    /// The losses. The only place of a step that waits for the device: everything but the generator's update is submitted,
    /// and that is kept back so that a step that has diverged changes nothing.
    ///
    /// # Errors
    /// [`Error::Diverged`] if one is NaN or infinite; what the device reports.
    pub(super) fn losses(&self) -> Result<Losses> {
        let Update { trainer, parts, terms, .. } = self;
        let Terms { discriminator, gan, feature_matching, perceptual } = terms;
        let all: Vec<&Tensor> = [discriminator, gan, feature_matching, perceptual].into_iter().flatten().collect();
        let values: Vec<f32> = Tensor::read_all(&all)?.concat();
        let share = 1.0 / parts.len() as f32;
        let mut rest = values.as_slice();
        let mut next = |terms: &[Tensor]| rest.split_off(..terms.len()).unwrap_or_default();
        let [discriminator, gan, feature_matching, perceptual] =
            [discriminator, gan, feature_matching, perceptual].map(|terms| next(terms));
        let mean = |values: &[f32]| values.iter().map(|value| share * value).sum::<f32>();
        let options = &trainer.options;
        let of_part = |((gan, matching), perceptual): ((&f32, &f32), &f32)| {
            share * (gan + options.feature_matching * matching) + (share * options.perceptual) * perceptual
        };
        let losses = Losses {
            discriminator: mean(discriminator),
            gan: mean(gan),
            feature_matching: mean(feature_matching),
            perceptual: mean(perceptual),
            generator: gan.iter().zip(feature_matching).zip(perceptual).map(of_part).sum(),
        };
        for (loss, value) in [
            ("discriminator", losses.discriminator),
            ("gan", losses.gan),
            ("feature matching", losses.feature_matching),
            ("perceptual", losses.perceptual),
            ("generator", losses.generator),
        ] {
            if !value.is_finite() {
                return Err(Error::Diverged { step: trainer.step, loss, value });
            }
        }
        Ok(losses)
    }
}

/// Two tensors (N, C, H, W) of one shape as a batch: (2 N, C, H, W).
fn twice(first: &Tensor, second: &Tensor) -> alias_tensor::Result<Tensor> {
    let [n, c, h, w] = first.shape().nchw("train", "pictures")?;
    let half = first.numel();
    Tensor::gather(first.device(), 2 * half, &[(0, first), (half, second)])?.reshape(&[2 * n, c, h, w])
}

/// The image, with what it shares with another forward pass, if that was kept.
fn forward(
    painter: &Generator,
    inputs: &Inputs,
    noise: Noise,
    shared: Option<&SharedConditions>,
) -> alias_model::Result<Tensor> {
    match shared {
        Some(shared) => painter.forward_sharing(inputs, noise, shared),
        None => painter.forward(inputs, noise),
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

    /// The gradients of `weight` times a loss.
    fn pull(&self, loss: Tensor, weight: f32) -> Result<Gradients> {
        Ok(loss.backward(&self.constant(weight)?)?)
    }

    /// A scalar on the device, uploaded once.
    fn constant(&self, value: f32) -> Result<Tensor> {
        let mut constants = self.constants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = constants.get(&value.to_bits()) {
            return Ok(known.clone());
        }
        let made = Tensor::new(&self.device, &[], &[value])?;
        constants.insert(value.to_bits(), made.clone());
        Ok(made)
    }
}
