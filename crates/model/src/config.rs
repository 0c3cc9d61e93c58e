//! Which generator it is: read from the weights, or said.

use crate::architecture::WIDEST;
use crate::{Checkpoint, Error, Result};
use std::str::FromStr;

/// How many resolutions the generator goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// Seven blocks, six doublings; height and width are multiples of 64.
    More,
    /// Eight blocks, seven doublings; height and width are multiples of 128. The published model.
    Most,
}

impl Layers {
    /// How often the resolution doubles from the first block to the image.
    pub fn doublings(self) -> u32 {
        match self {
            Layers::More => 6,
            Layers::Most => 7,
        }
    }

    /// What height and width must be multiples of.
    pub fn multiple(self) -> usize {
        1 << self.doublings()
    }

    /// Whether an image of this size can be drawn.
    ///
    /// # Errors
    /// [`Error::Input`] where height or width is not a [multiple](Layers::multiple).
    pub fn check_size(self, height: usize, width: usize) -> Result<()> {
        let multiple = self.multiple();
        if height.is_multiple_of(multiple) && width.is_multiple_of(multiple) {
            return Ok(());
        }
        Err(Error::Input(format!(
            "the image is {height}x{width}; with layers {self:?} height and width are multiples of {multiple}: pad or \
             resize it"
        )))
    }
}

impl std::fmt::Display for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Layers::More => "more",
            Layers::Most => "most",
        })
    }
}

impl FromStr for Layers {
    type Err = Error;

    fn from_str(name: &str) -> Result<Layers> {
        match name {
            "more" => Ok(Layers::More),
            "most" => Ok(Layers::Most),
            "normal" => Err(Error::Config(
                "layers 'normal' does not run in the authors' code either: it concatenates an image of one size with \
                 features of another; use 'more' or 'most'"
                    .into(),
            )),
            other => Err(Error::Config(format!("layers '{other}' do not exist; use 'more' or 'most'"))),
        }
    }
}

/// The normalization of the blocks that do not see the misalignment mask; the others use mask norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Instance norm. The published model.
    Instance,
    /// Batch norm, with running statistics in the checkpoint.
    Batch,
}

impl std::fmt::Display for Norm {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Norm::Instance => "instance",
            Norm::Batch => "batch",
        })
    }
}

impl FromStr for Norm {
    type Err = Error;

    fn from_str(name: &str) -> Result<Norm> {
        match name {
            "instance" => Ok(Norm::Instance),
            "batch" => Ok(Norm::Batch),
            other => Err(Error::Config(format!("norm '{other}' does not exist; use 'instance' or 'batch'"))),
        }
    }
}

/// The configuration of a generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Width: the last block but one has this many channels, the first 16 times as many. 64 in the published model.
    pub ngf: usize,
    /// How many resolutions.
    pub layers: Layers,
    /// The normalization away from the mask.
    pub norm: Norm,
    /// Whether the blocks' convolutions have spectral norm.
    pub spectral: bool,
    /// The ablation of the paper's figure 8: `norm` everywhere, mask norm nowhere.
    pub plain: bool,
}

impl Config {
    /// The published model's.
    pub const PUBLISHED: Config =
        Config { ngf: 64, layers: Layers::Most, norm: Norm::Instance, spectral: true, plain: false };

    /// In a checkpoint's metadata: "true" where the generator is `plain`.
    pub const PLAIN: &str = "plain";

    /// The same at another width.
    #[must_use]
    pub const fn with_ngf(self, ngf: usize) -> Config {
        Config { ngf, ..self }
    }

    /// Reads the configuration from the names and shapes of a checkpoint. Whether the generator is `plain` shows there only
    /// with batch norm, which then has statistics in the first block, too. Instance norm leaves no trace: then the metadata's
    /// [`Config::PLAIN`] tells, which trained weights have.
    ///
    /// # Errors
    /// [`Error::StateDict`] where nothing tells the width: this is no ALIAS generator.
    pub fn infer(checkpoint: &Checkpoint) -> Result<Config> {
        let has = |part: &str| checkpoint.keys().any(|key| key.contains(part));
        let channels = ["head_0.norm_0.noise_scale", "conv_0.bias", "conv_0.weight"]
            .into_iter()
            .find_map(|key| checkpoint.get(key)?.shape().first().copied());
        let Some(ngf) = channels.map(|channels| channels / 16).filter(|ngf| (1..=WIDEST).contains(ngf)) else {
            let found: Vec<_> = checkpoint.keys().take(3).collect();
            return Err(Error::StateDict(format!(
                "this is no ALIAS generator: it has {} tensors, but neither conv_0 nor head_0.norm_0 of 16 to {} \
                 channels; its first names are {found:?}",
                checkpoint.len(),
                16 * WIDEST
            )));
        };
        let batch = |block: &str| has(&format!("{block}.norm_0.param_free_norm."));
        Ok(Config {
            ngf,
            layers: if checkpoint.keys().any(|key| key.starts_with("up_4.")) { Layers::Most } else { Layers::More },
            norm: if batch("up_2") || batch("head_0") { Norm::Batch } else { Norm::Instance },
            spectral: checkpoint.keys().any(|key| key.ends_with(".weight_orig")),
            plain: batch("head_0") || checkpoint.metadata().get(Config::PLAIN).is_some_and(|plain| plain == "true"),
        })
    }
}
