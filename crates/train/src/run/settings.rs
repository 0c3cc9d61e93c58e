//! The settings of a run.

use crate::{Error, TrainerOptions};
use alias_model::plan::philox::philox4x32_10;
use alias_model::{DiscriminatorConfig, GeneratorConfig, SPADE_GAIN};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The settings of a run, named as the options of `tryon train`. In JSON, absent ones have their defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[expect(missing_docs, reason = "`tryon train --help` documents them")]
pub struct Settings {
    pub data: PathBuf,
    /// Height and width; None for those of the files.
    pub size: Option<[usize; 2]>,
    pub batch: usize,
    pub at_once: usize,
    pub steps: u64,
    pub decay_steps: u64,
    pub seed: u64,
    pub ngf: usize,
    pub layers: String,
    pub norm: String,
    pub plain: bool,
    pub ndf: usize,
    /// Gain of the initial weights' Xavier initialization.
    pub gain: f64,
    pub weights: Option<PathBuf>,
    pub discriminator: Option<PathBuf>,
    pub gan: String,
    pub vgg: Option<PathBuf>,
    pub feature_matching: f64,
    pub perceptual: f64,
    pub generator_rate: f64,
    pub discriminator_rate: f64,
    pub eps: f64,
    pub checkpoint_every: u64,
    pub keep: usize,
    pub sample_every: u64,
    pub recompute: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        let options = TrainerOptions::default();
        let config = GeneratorConfig::PUBLISHED;
        // The shortest decimals: 0.0001 instead of the float32's 0.0000999999974...
        let decimal = |value: f32| value.to_string().parse().unwrap_or(f64::from(value));
        Settings {
            data: PathBuf::new(),
            size: None,
            batch: 1,
            at_once: 1,
            steps: options.constant_steps,
            decay_steps: options.decay_steps,
            seed: 0,
            ngf: config.ngf,
            layers: config.layers.to_string(),
            norm: config.norm.to_string(),
            plain: false,
            ndf: DiscriminatorConfig::VITON_HD.ndf,
            gain: SPADE_GAIN,
            weights: None,
            discriminator: None,
            gan: options.gan.to_string(),
            vgg: None,
            feature_matching: decimal(options.feature_matching),
            perceptual: decimal(options.perceptual),
            generator_rate: decimal(options.generator_rate),
            discriminator_rate: decimal(options.discriminator_rate),
            eps: decimal(options.eps),
            checkpoint_every: 500,
            keep: 3,
            sample_every: 500,
            recompute: false,
        }
    }
}

/// Settings that may change when a run is resumed, since they do not influence its result. (Checksums guard the
/// contents of the files that two of them name.)
const FREE: [&str; 6] = ["data", "vgg", "checkpoint-every", "keep", "sample-every", "recompute"];

/// Settings that are read from weights where those are given.
const OF_WEIGHTS: [&str; 5] = ["ngf", "layers", "norm", "plain", "ndf"];

/// Options that contradict the settings of the run to be resumed.
#[derive(Debug, thiserror::Error)]
#[error(
    "this run has other settings: {}. Leave these options out to resume it; for other settings start another run, in \
     another folder, with --weights and --discriminator from this one",
    .0.join(", ")
)]
pub struct Conflict(Vec<String>);

impl Settings {
    /// The given settings, and defaults for the rest.
    ///
    /// # Errors
    /// If a value has the wrong type.
    pub fn new(given: Map<String, Value>) -> serde_json::Result<Settings> {
        serde_json::from_value(Value::Object(given))
    }

    /// These settings, with the given ones in their place where they may change.
    ///
    /// # Errors
    /// [`Conflict`], which lists every other given setting that differs.
    pub fn resumed_with(&self, given: Map<String, Value>) -> Result<Settings, Conflict> {
        let Ok(Value::Object(mut own)) = serde_json::to_value(self) else { return Ok(self.clone()) };
        let mut conflicts = Vec::new();
        for (key, value) in given {
            let before = own.get(&key).unwrap_or(&Value::Null);
            if FREE.contains(&key.as_str()) {
                own.insert(key, value);
            } else if *before != value {
                conflicts.push(format!("--{key} {}, not {}", shown(before), shown(&value)));
            }
        }
        if conflicts.is_empty() {
            Ok(Settings::new(own).unwrap_or_else(|_| self.clone()))
        } else {
            Err(Conflict(conflicts))
        }
    }

    /// These settings with file names instead of paths, to be published with the weights.
    #[must_use]
    pub fn without_folders(&self) -> Settings {
        let bare = |path: &PathBuf| path.file_name().map(PathBuf::from).unwrap_or_default();
        Settings {
            data: bare(&self.data),
            weights: self.weights.as_ref().map(bare),
            discriminator: self.discriminator.as_ref().map(bare),
            vgg: self.vgg.as_ref().map(bare),
            ..self.clone()
        }
    }

    /// The command-line options of a new run with these settings that starts from the networks in `checkpoint`, with
    /// other learning rates for generator and discriminator.
    #[must_use]
    pub fn restart_options(&self, checkpoint: &Path, [generator_rate, discriminator_rate]: [f64; 2]) -> String {
        let settings = Settings {
            weights: Some(checkpoint.into()),
            discriminator: Some(checkpoint.into()),
            generator_rate,
            discriminator_rate,
            ..self.clone()
        };
        let options = |settings: &Settings| match serde_json::to_value(settings) {
            Ok(Value::Object(options)) => options,
            _ => Map::new(),
        };
        let (mut options, defaults) = (options(&settings), options(&Settings::default()));
        options.retain(|key, value| !OF_WEIGHTS.contains(&key.as_str()) && *value != defaults[key]);
        let words = options.iter().map(|(key, value)| match shown(value) {
            _ if *value == Value::Bool(true) => format!("--{key}"),
            text if text.contains(|c: char| c.is_whitespace() || "'\"\\$&;()*?".contains(c)) => {
                format!("--{key} '{}'", text.replace('\'', "'\\''"))
            }
            text => format!("--{key} {text}"),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// The number of steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.steps.saturating_add(self.decay_steps)
    }

    /// The generator's configuration.
    ///
    /// # Errors
    /// If `layers` or `norm` names none.
    pub fn config(&self) -> Result<GeneratorConfig, Error> {
        let Settings { ngf, plain, .. } = *self;
        Ok(GeneratorConfig { ngf, layers: self.layers.parse()?, norm: self.norm.parse()?, spectral: true, plain })
    }

    /// The trainer's options.
    ///
    /// # Errors
    /// If `gan` names no adversarial loss.
    pub fn trainer_options(&self) -> Result<TrainerOptions, Error> {
        Ok(TrainerOptions {
            gan: self.gan.parse()?,
            feature_matching: self.feature_matching as f32,
            perceptual: self.perceptual as f32,
            generator_rate: self.generator_rate as f32,
            discriminator_rate: self.discriminator_rate as f32,
            eps: self.eps as f32,
            constant_steps: self.steps,
            decay_steps: self.decay_steps,
            noise_seed: self.seed_of(Purpose::Noise),
        })
    }

    /// The seed for one purpose, derived from the run's.
    pub fn seed_of(&self, purpose: Purpose) -> u64 {
        let words = philox4x32_10([purpose as u32, 0, 0, 0], [self.seed as u32, (self.seed >> 32) as u32]);
        u64::from(words[0]) | u64::from(words[1]) << 32
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Array(size) => size.iter().map(Value::to_string).collect::<Vec<_>>().join("x"),
        Value::String(text) => text.clone(),
        Value::Null => "none".into(),
        other => other.to_string(),
    }
}

/// What a seed is for.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Purpose {
    Generator,
    Discriminator,
    Noise,
    Order,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn given(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn settings_come_back() {
        let settings = Settings::new(given(json!({ "steps": 7, "size": [64, 128], "eps": 1e-7 }))).unwrap();
        assert_eq!((settings.steps, settings.size, settings.generator_rate), (7, Some([64, 128]), 1e-4));
        assert_eq!(settings.trainer_options().unwrap().eps, 1e-7);
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
        let default = TrainerOptions { noise_seed: Settings::default().seed_of(Purpose::Noise), ..Default::default() };
        assert_eq!(Settings::default().trainer_options().unwrap(), default);
    }

    #[test]
    fn a_run_restarts_by_its_own_options() {
        let given = given(json!({ "data": "/a set", "size": [64, 128], "ngf": 8, "plain": true, "recompute": true }));
        let settings = Settings::new(given).unwrap();
        assert_eq!(
            settings.restart_options(Path::new("c"), [1e-3, 4e-4]),
            "--data '/a set' --discriminator c --generator-rate 0.001 --recompute --size 64x128 --weights c"
        );
    }

    #[test]
    fn settings_that_influence_the_result_stay() {
        let settings = Settings::new(given(json!({ "steps": 7, "keep": 2 }))).unwrap();
        let same = settings.resumed_with(given(json!({ "steps": 7, "keep": 5 }))).unwrap();
        assert_eq!((same.steps, same.keep), (7, 5));
        let conflict = settings.resumed_with(given(json!({ "steps": 8, "size": [64, 64], "batch": 1 }))).unwrap_err();
        let text = conflict.to_string();
        assert!(text.contains("--steps 7, not 8") && text.contains("--size none, not 64x64"), "{text}");
        assert!(!text.contains("batch"), "{text}");
    }
}
