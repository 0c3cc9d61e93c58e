//! The hyperparameters of a training.

use crate::Gan;
use alias_kernels::Adam;
use serde_json::{Value, json};

/// The hyperparameters of a training. The defaults are those of HR-VITON (Lee et al. 2022), by some of VITON-HD's
/// authors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainerOptions {
    /// The adversarial loss.
    pub gan: Gan,
    /// Weight of the feature matching loss.
    pub feature_matching: f32,
    /// Weight of the perceptual loss.
    pub perceptual: f32,
    /// The generator's learning rate.
    pub generator_rate: f32,
    /// The discriminator's learning rate.
    pub discriminator_rate: f32,
    /// Adam's epsilon, added to the root of the second moment.
    pub eps: f32,
    /// Steps at the full learning rates.
    pub constant_steps: u64,
    /// Steps after those, in which the rates fall linearly to zero.
    pub decay_steps: u64,
    /// Base seed of the noise; each image of each step gets its own.
    pub noise_seed: u64,
}

impl Default for TrainerOptions {
    fn default() -> TrainerOptions {
        TrainerOptions {
            gan: Gan::Hinge,
            feature_matching: 10.0,
            perceptual: 10.0,
            generator_rate: 1e-4,
            discriminator_rate: 4e-4,
            eps: 1e-8,
            constant_steps: 100_000,
            decay_steps: 100_000,
            noise_seed: 0,
        }
    }
}

impl TrainerOptions {
    /// The learning rates of generator and discriminator in step `step`, counted from 0.
    pub fn rates(&self, step: u64) -> [f32; 2] {
        let past = step.saturating_sub(self.constant_steps) as f64;
        let factor = (1.0 - past / self.decay_steps.max(1) as f64).max(0.0);
        [self.generator_rate, self.discriminator_rate].map(|rate| (f64::from(rate) * factor) as f32)
    }

    pub(super) fn to_json(self) -> Value {
        json!({
            "gan": self.gan.to_string(),
            "feature_matching": self.feature_matching,
            "perceptual": self.perceptual,
            "generator_rate": self.generator_rate,
            "discriminator_rate": self.discriminator_rate,
            "eps": self.eps,
            "constant_steps": self.constant_steps,
            "decay_steps": self.decay_steps,
            "noise_seed": self.noise_seed,
        })
    }

    pub(super) fn from_json(json: &Value) -> Option<TrainerOptions> {
        let number = |key: &str| json[key].as_f64().map(|value| value as f32);
        let count = |key: &str| json[key].as_u64();
        Some(TrainerOptions {
            gan: json["gan"].as_str()?.parse().ok()?,
            feature_matching: number("feature_matching")?,
            perceptual: number("perceptual")?,
            generator_rate: number("generator_rate")?,
            discriminator_rate: number("discriminator_rate")?,
            eps: number("eps")?,
            constant_steps: count("constant_steps")?,
            decay_steps: count("decay_steps")?,
            noise_seed: count("noise_seed")?,
        })
    }

    pub(super) fn adam(&self, rate: f32, step: u64) -> Adam {
        Adam { rate, beta_2: 0.9, eps: self.eps, step: step + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::TrainerOptions;

    #[test]
    fn options_come_back_from_json() {
        let options = TrainerOptions { eps: 1.1e-8, noise_seed: u64::MAX, decay_steps: 3, ..Default::default() };
        let text = options.to_json().to_string();
        assert_eq!(TrainerOptions::from_json(&serde_json::from_str(&text).unwrap()), Some(options));
    }

    #[test]
    fn rates_are_constant_and_then_fall_to_zero() {
        let options = TrainerOptions { constant_steps: 10, decay_steps: 4, ..Default::default() };
        let generator = |step| options.rates(step)[0];
        assert_eq!([0, 10, 12, 14, 99].map(generator), [1e-4, 1e-4, 5e-5, 0.0, 0.0]);
        assert_eq!(options.rates(12)[1], 2e-4);
    }
}
