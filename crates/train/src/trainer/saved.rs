//! Saves a trainer to a checkpoint and resumes it, bit for bit.

use super::weights::TrainedWeights;
use super::{Trainer, TrainerOptions, Vgg19};
use crate::{Error, Result};
use alias_checkpoint::Checkpoint;
use alias_model::network::Network;
use alias_model::{DiscriminatorConfig, GeneratorConfig, Layers, ParameterFreeNorm};
use alias_tensor::Device;
use serde_json::{Value, json};
use std::sync::Mutex;

/// Key in the metadata of everything that is not a tensor.
const SETTINGS: &str = "trainer";
/// Prefix of the names of Adam's second moments.
const SECOND_MOMENT: &str = "second_moment.";

impl Trainer {
    /// The whole state except VGG-19: weights, spectral norm's vectors, running statistics, Adam's moments, options and
    /// the number of steps.
    ///
    /// # Errors
    /// [`Error::HalfAStep`]; what the device reports.
    pub fn save(&self) -> Result<Checkpoint> {
        self.verify_whole()?;
        let mut saved = Checkpoint::new();
        for (name, network) in [("generator", &self.generator), ("discriminator", &self.discriminator)] {
            for (key, array) in network.state_dict()?.iter() {
                saved.insert(format!("{name}.{key}"), array.clone());
            }
            for (key, array) in network.second_moments()?.iter() {
                saved.insert(format!("{SECOND_MOMENT}{name}.{key}"), array.clone());
            }
        }
        let GeneratorConfig { ngf, layers, norm, spectral, plain } = self.config;
        let DiscriminatorConfig { scales, layers: depth, ndf, last_stride, .. } = self.discriminator_config;
        let settings = json!({
            "step": self.step,
            "generator": {
                "ngf": ngf, "layers": layers.to_string(), "norm": norm.to_string(), "spectral": spectral, "plain": plain
            },
            "discriminator": { "scales": scales, "layers": depth, "ndf": ndf, "last_stride": last_stride },
            "options": self.options.to_json(),
        });
        saved.metadata_mut().insert(SETTINGS.into(), settings.to_string());
        Ok(saved)
    }

    /// Resumes the trainer that [`Trainer::save`] saved, given the same VGG-19. [`Trainer::set_recomputes`] is not part
    /// of the state.
    ///
    /// # Errors
    /// [`Error::OnlyWeights`] or [`Error::DamagedTraining`] if `saved` is not what a trainer saved; what the device
    /// reports.
    pub fn resume(device: impl Into<Device>, saved: &Checkpoint, vgg: Option<Vgg19>) -> Result<Trainer> {
        let device = device.into();
        let text = saved.metadata().get(SETTINGS).ok_or(Error::OnlyWeights)?;
        let settings: Value = serde_json::from_str(text).map_err(|e| damaged(&e))?;
        let integer = |value: &Value| value.as_u64().ok_or_else(|| damaged(value));
        let flag = |value: &Value| value.as_bool().ok_or_else(|| damaged(value));
        let word = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| damaged(value));
        let (g, d) = (&settings["generator"], &settings["discriminator"]);
        let config = GeneratorConfig {
            ngf: integer(&g["ngf"])? as usize,
            layers: word(&g["layers"])?.parse::<Layers>()?,
            norm: word(&g["norm"])?.parse::<ParameterFreeNorm>()?,
            spectral: flag(&g["spectral"])?,
            plain: flag(&g["plain"])?,
        };
        let discriminator_config = DiscriminatorConfig {
            scales: integer(&d["scales"])? as usize,
            layers: integer(&d["layers"])? as usize,
            ndf: integer(&d["ndf"])? as usize,
            last_stride: integer(&d["last_stride"])? as usize,
            ..DiscriminatorConfig::SPADE
        };
        let weights = |name: &str, network: &Network| {
            let [state, moments] =
                [format!("{name}."), format!("{SECOND_MOMENT}{name}.")].map(|prefix| saved.part(&prefix));
            TrainedWeights::new(&device, network, &state, Some(&moments))
        };
        Ok(Trainer {
            generator: weights("generator", &config.network()?)?,
            discriminator: weights("discriminator", &discriminator_config.network()?)?,
            device,
            config,
            discriminator_config,
            options: TrainerOptions::from_json(&settings["options"]).ok_or_else(|| damaged(&settings["options"]))?,
            vgg,
            recomputes: false,
            constants: Mutex::default(),
            step: integer(&settings["step"])?,
            torn: false,
        })
    }
}

fn damaged(what: &dyn std::fmt::Display) -> Error {
    Error::DamagedTraining { what: what.to_string() }
}
