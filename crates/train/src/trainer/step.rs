//! A step of training.

use super::observer::{Observer, Phase};
use super::update::Update;
use super::{Batch, Losses, Trainer};
use crate::{Error, Result};
use alias_tensor::Tensor;

impl Trainer {
    /// Updates the discriminator, then the generator, by the mean of the losses of all `parts` of a batch. Parts are
    /// computed one after the other, so a batch that does not fit the device as a whole can be split into parts that
    /// do.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a loss is NaN or infinite; what the device reports. On error the state is unchanged,
    /// except after a device failure during the generator's update, the last part of a step: every later call then
    /// returns [`Error::HalfAStep`].
    pub fn step(&mut self, parts: &[Batch]) -> Result<Losses> {
        self.step_with(parts, |_: &str, _: &Tensor| {})
    }

    /// The same, watched by `observer`.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn step_with(&mut self, parts: &[Batch], mut observer: impl Observer) -> Result<Losses> {
        self.verify_whole()?;
        if parts.is_empty() {
            return Err(Error::NoBatch);
        }
        let mut update = Update::new(self, parts);
        update.update_discriminator(&mut observer)?;
        let (leaves, gradients) = update.generator_gradients(&mut observer)?;
        let losses = update.losses()?;
        let Update { generator, discriminator, .. } = update;
        let [rate, _] = self.options.rates(self.step);
        // Up to here an error leaves the old state. From here on each old weight is freed as soon as there is a new
        // one, since two generators may not fit the device.
        (self.generator, self.discriminator, self.torn) = (generator, discriminator, true);
        self.generator.update(&self.options.adam(rate, self.step), leaves, gradients, |name, gradient| {
            observer.tensor(&format!("grad.generator.{name}"), gradient);
        })?;
        observer.launched(Phase::Update);
        self.torn = false;
        self.step += 1;
        Ok(losses)
    }
}
