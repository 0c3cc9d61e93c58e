//! ALIAS, VITON-HD's image generator (Choi et al., "VITON-HD", CVPR 2021, section 3.4 and supplement).

use crate::network::{Activation, Builder, Conv, Modulation, Network, Norm, NormKind, Reading, Spade, Value};
use crate::{Checkpoint, ConfigError, Error, InputError, Result, StateDictError};
use std::borrow::Cow;
use std::str::FromStr;

const NAME: &str = "ALIAS generator";
/// Channels of the hidden layer from which SPADE predicts scale and shift.
const HIDDEN: usize = 128;
/// Channels of the pictures: agnostic image, pose and warped garment.
const PICTURES: usize = 9;
/// Channels of the features of each resized input, except the first.
const FEATURES: usize = 16;
/// Classes of the segmentation.
pub(crate) const LABELS: usize = crate::CLASSES as usize;
/// The largest ngf. A file that claims more is damaged, and sizes computed from it would overflow.
const WIDEST: usize = 4096;
/// Number of blocks, from the first, that see the misaligned region: as an eighth class and, unless plain, in mask
/// norm.
const MASKED_BLOCKS: usize = 5;
const BLOCKS: [&str; 8] = ["head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3", "up_4"];
/// Slope of the leaky ReLUs.
const SLOPE: f32 = 0.2;

/// Indices of the generator's inputs in its [`Network::inputs`].
pub(crate) struct Inputs;

impl Inputs {
    /// The segmentation, by class.
    pub(crate) const SEG: usize = 1;
    /// The segmentation with the misaligned part of the garment as an eighth class.
    pub(crate) const SEG_DIV: usize = 2;
    /// The misaligned part of the garment.
    pub(crate) const MASK: usize = 3;
}

/// How to load a generator's checkpoint.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::checkpoint::Array;
/// use alias_model::{CpuOptions, Device, LoadOptions, Painter, Precision, Target};
/// # use alias_model::{GeneratorConfig, Layers, fill};
/// # let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(1) };
/// # let mut checkpoint = fill(&config.network()?, 1);
///
/// checkpoint.insert("epoch", Array::from_f32(&[1], &[20.0])); // a tensor that the generator does not have
/// let device = Device::cores(CpuOptions::default())?;
/// assert!(Painter::load(&device, &checkpoint).is_err());
/// let options = LoadOptions { strict: false, ..Default::default() };
/// Painter::load_with(&device, &checkpoint, options, Target::of(&device, Precision::F32))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Whether to load the ablation without mask norm even if the checkpoint does not show that it is. With instance
    /// norm, only metadata shows it.
    pub plain: bool,
    /// Whether unexpected tensors are an error. Missing ones always are.
    pub strict: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions { plain: false, strict: true }
    }
}

impl LoadOptions {
    /// The configuration and network that a checkpoint shows, and the state dict in it. Errors if its tensors do not fit
    /// them.
    pub(crate) fn verified(self, checkpoint: &Checkpoint) -> Result<(GeneratorConfig, Network, Cow<'_, Checkpoint>)> {
        let checkpoint = GeneratorConfig::state_dict_in(checkpoint)?;
        let inferred = GeneratorConfig::infer(&checkpoint)?;
        let config = GeneratorConfig { plain: self.plain || inferred.plain, ..inferred };
        let network = config.network()?;
        network.verify(&checkpoint, self.strict).map_err(|mut error| {
            if let Error::StateDict(StateDictError::Mismatch(mismatch)) = &mut error {
                mismatch.config = Some(format!("{config:?}"));
            }
            error
        })?;
        Ok((config, network, checkpoint))
    }
}

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

    /// Its name in VITON-HD's options.
    pub fn name(self) -> &'static str {
        match self {
            Layers::More => "more",
            Layers::Most => "most",
        }
    }

    /// What height and width must be multiples of.
    pub fn multiple(self) -> usize {
        1 << self.doublings()
    }

    /// Whether an image of this size can be drawn.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::{Error, InputError, Layers};
    ///
    /// Layers::Most.check_size(1024, 768)?;
    /// let error = Layers::Most.check_size(1000, 750).unwrap_err();
    /// assert!(matches!(error, Error::Input(InputError::ImageSize { multiple: 128, .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Input`] if height or width is not a multiple of [`Layers::multiple`].
    pub fn check_size(self, height: usize, width: usize) -> Result<()> {
        let multiple = self.multiple();
        if height.is_multiple_of(multiple) && width.is_multiple_of(multiple) {
            return Ok(());
        }
        Err(InputError::ImageSize { height, width, layers: self.name(), multiple }.into())
    }
}

impl std::fmt::Display for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Layers {
    type Err = Error;

    fn from_str(name: &str) -> Result<Layers> {
        match name {
            "more" => Ok(Layers::More),
            "most" => Ok(Layers::Most),
            "normal" => Err(ConfigError::LayersNormal.into()),
            other => {
                let (setting, value, known) = ("layers", other.into(), "'more' or 'most'");
                Err(ConfigError::Unknown { setting, value, known }.into())
            }
        }
    }
}

/// The normalization of the blocks that do not see the misaligned region. The others use mask norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterFreeNorm {
    /// Instance norm. The published model.
    Instance,
    /// Batch norm, with running statistics in the checkpoint.
    Batch,
}

impl std::fmt::Display for ParameterFreeNorm {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            ParameterFreeNorm::Instance => "instance",
            ParameterFreeNorm::Batch => "batch",
        })
    }
}

impl FromStr for ParameterFreeNorm {
    type Err = Error;

    fn from_str(name: &str) -> Result<ParameterFreeNorm> {
        match name {
            "instance" => Ok(ParameterFreeNorm::Instance),
            "batch" => Ok(ParameterFreeNorm::Batch),
            other => {
                let (setting, value, known) = ("norm", other.into(), "'instance' or 'batch'");
                Err(ConfigError::Unknown { setting, value, known }.into())
            }
        }
    }
}

/// The configuration of a generator.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::{GeneratorConfig, Layers, fill};
///
/// let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(4) };
/// assert_eq!(GeneratorConfig::infer(&fill(&config.network()?, 1))?, config);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratorConfig {
    /// Width: the first block has 16 times as many channels. 64 in the published model.
    pub ngf: usize,
    /// How many resolutions.
    pub layers: Layers,
    /// The normalization of the blocks without mask norm.
    pub norm: ParameterFreeNorm,
    /// Whether the blocks' convolutions have spectral norm.
    pub spectral: bool,
    /// The ablation of the paper's figure 8: `norm` in all blocks, without mask norm.
    pub plain: bool,
}

impl GeneratorConfig {
    /// The published model.
    pub const PUBLISHED: GeneratorConfig = GeneratorConfig {
        ngf: 64,
        layers: Layers::Most,
        norm: ParameterFreeNorm::Instance,
        spectral: true,
        plain: false,
    };

    /// The key in a checkpoint's metadata that has the value "true" if the generator is `plain`.
    pub const PLAIN: &str = "plain";

    /// The same at another width.
    #[must_use]
    pub const fn with_ngf(self, ngf: usize) -> GeneratorConfig {
        GeneratorConfig { ngf, ..self }
    }

    /// The generator's state dict in a checkpoint that may hold other tensors beside it, or names with a prefix, as
    /// [`Checkpoint::state_dict`] finds it.
    ///
    /// # Errors
    /// If there are several.
    pub fn state_dict_in(checkpoint: &Checkpoint) -> Result<Cow<'_, Checkpoint>> {
        // The names do not depend on the width, and hardly on other settings.
        let published = GeneratorConfig::PUBLISHED;
        let batch = GeneratorConfig { norm: ParameterFreeNorm::Batch, spectral: false, plain: true, ..published };
        let networks = [published.network()?, batch.network()?];
        let parameters: Vec<_> = networks.iter().flat_map(Network::parameters).collect();
        Ok(checkpoint.state_dict(parameters.iter().map(|parameter| parameter.key.as_str()))?)
    }

    /// Reads the configuration from the names, shapes and metadata of a checkpoint. With batch norm, names show whether
    /// the generator is `plain`: its first block then has running statistics as well. With instance norm only the
    /// metadata shows it, under [`GeneratorConfig::PLAIN`], which `alias-train` writes.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::{GeneratorConfig, fill};
    ///
    /// let plain = GeneratorConfig { plain: true, ..GeneratorConfig::PUBLISHED.with_ngf(2) };
    /// let mut checkpoint = fill(&plain.network()?, 1);
    /// assert!(!GeneratorConfig::infer(&checkpoint)?.plain); // its tensors are those of a generator with mask norm
    /// checkpoint.metadata_mut().insert(GeneratorConfig::PLAIN.into(), "true".into());
    /// assert_eq!(GeneratorConfig::infer(&checkpoint)?, plain);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StateDict`] if no tensor shows the width: the checkpoint is not an ALIAS generator's.
    pub fn infer(checkpoint: &Checkpoint) -> Result<GeneratorConfig> {
        let checkpoint = &*GeneratorConfig::state_dict_in(checkpoint)?;
        if let Some(reason) = other_network(checkpoint) {
            return Err(StateDictError::Unrecognized { network: NAME, reason }.into());
        }
        let has = |part: &str| checkpoint.keys().any(|key| key.contains(part));
        let channels = ["head_0.norm_0.noise_scale", "conv_0.bias", "conv_0.weight"]
            .into_iter()
            .find_map(|key| checkpoint.get(key)?.shape().first().copied());
        let Some(ngf) = channels.map(|channels| channels / 16).filter(|ngf| (1..=WIDEST).contains(ngf)) else {
            let found: Vec<_> = checkpoint.keys().take(3).collect();
            let reason = format!(
                "it has {} tensors, but neither conv_0 nor head_0.norm_0 of 16 to {} channels; its first names are {found:?}",
                checkpoint.len(),
                16 * WIDEST
            );
            return Err(StateDictError::Unrecognized { network: NAME, reason }.into());
        };
        let batch = |block: &str| has(&format!("{block}.norm_0.param_free_norm."));
        Ok(GeneratorConfig {
            ngf,
            layers: if checkpoint.keys().any(|key| key.starts_with("up_4.")) { Layers::Most } else { Layers::More },
            norm: if batch("up_2") || batch("head_0") { ParameterFreeNorm::Batch } else { ParameterFreeNorm::Instance },
            spectral: checkpoint.keys().any(|key| key.ends_with(".weight_orig")),
            plain: batch("head_0")
                || checkpoint.metadata().get(GeneratorConfig::PLAIN).is_some_and(|plain| plain == "true"),
        })
    }
}

/// What a checkpoint is, if it is one that people have taken for an ALIAS generator's.
fn other_network(checkpoint: &Checkpoint) -> Option<String> {
    let classes = checkpoint.get("head_0.norm_0.conv_shared.0.weight").and_then(|weight| weight.shape().get(1));
    if classes == Some(&LABELS) {
        return Some(
            "it is HR-VITON's image generator, whose first blocks have no class for the misaligned part of the garment and \
             no mask norm; use VITON-HD's alias_final.pth"
                .into(),
        );
    }
    let has = |part: &str| checkpoint.keys().any(|key| key.contains(part));
    let what = if has("ClothEncoder.") && has("SegDecoder.") {
        "HR-VITON's condition generator"
    } else if has("extractionA.model.") && has("regression.") {
        "VITON-HD's geometric matching (gmm_final.pth)"
    } else if has("conv1.0.weight") && has("conv9.") && has("up6.") {
        "VITON-HD's segmentation generator (seg_final.pth)"
    } else {
        return None;
    };
    Some(format!("it is {what}; use alias_final.pth, or a training's generator.safetensors"))
}

impl GeneratorConfig {
    /// The generator of this configuration. Inputs: `pictures` (9), `seg` (7 classes), `seg_div` (8 classes) and `mask`;
    /// output: `image` (3) in [-1, 1].
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::GeneratorConfig;
    ///
    /// let network = GeneratorConfig::PUBLISHED.network()?;
    /// let names: Vec<_> = network.inputs().iter().map(|input| input.name.as_str()).collect();
    /// assert_eq!(names, ["pictures", "seg", "seg_div", "mask"]);
    /// assert_eq!(network.sizes(1024, 768)?[0], [8, 6]); // its first layer
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] if `ngf` is so small that the last block would have no channel, or larger than 4096.
    pub fn network(self) -> Result<Network> {
        let GeneratorConfig { ngf, layers, .. } = self;
        let narrowest = if layers == Layers::Most { 2 } else { 1 };
        if !(narrowest..=WIDEST).contains(&ngf) {
            return Err(ConfigError::Width { ngf, layers: layers.name(), narrowest, widest: WIDEST }.into());
        }
        let mut widths = vec![16 * ngf, 16 * ngf, 16 * ngf, 8 * ngf, 4 * ngf, 2 * ngf, ngf];
        if layers == Layers::Most {
            widths.push(ngf / 2);
        }
        let features =
            |i: usize| Conv::same(format!("conv_{i}"), PICTURES, if i == 0 { 16 * ngf } else { FEATURES }, 3);

        let mut net = Builder::new("AliasGenerator");
        let pictures = net.input("pictures", PICTURES);
        net.label_map("seg", LABELS);
        net.label_map("seg_div", LABELS + 1);
        net.mask("mask");
        let mut y: Option<Value> = None;
        for (i, &cout) in widths.iter().enumerate() {
            let doublings = widths.len() - 1 - i;
            let features = net.convolution(Reading::of(pictures.resized(-(doublings as i32))), features(i));
            let x = match y {
                None => Reading::of(features),
                Some(y) => Reading::of(y.resized(1)).and(features),
            };
            y = Some(net.block(BLOCKS[i], |net| self.res_block(net, i, x, cout)));
        }
        // Checkpoints have eight of these convolutions even for layers 'more', which use seven.
        (widths.len()..BLOCKS.len()).for_each(|i| net.unused(features(i)));
        let y = y.expect("there are blocks");
        let last = Conv { fill_gain: 0.05, ..Conv::same("conv_img", widths[widths.len() - 1], 3, 3) };
        let image = net.convolution(Reading::of(y).leaky_relu(SLOPE), last);
        let image = net.activate(image, Activation::Tanh);
        net.output("image", image);
        Ok(net.finish())
    }

    /// An ALIAS residual block: `conv_1(leaky(norm_1(conv_0(leaky(norm_0(x))))))` plus x, or plus `conv_s(norm_s(x))`
    /// if the number of channels changes.
    fn res_block(self, net: &mut Builder, index: usize, x: Reading, cout: usize) -> Value {
        let key = BLOCKS[index];
        let channels: Vec<usize> = x.sources.iter().map(|source| net.channels(source.value)).collect();
        let cin = channels.iter().sum();
        let middle = usize::min(cin, cout);
        let norm = |name: &str, slot: usize, channels| self.norm(format!("{key}.{name}"), index, slot, channels);
        let conv = |name: &str, cin, cout, kernel| {
            let spectral = self.spectral;
            Conv { spectral, ..Conv::same(format!("{key}.{name}"), cin, cout, kernel) }
        };
        let skip = if cin == cout {
            x.sources[0].value
        } else {
            let conv_s = Conv { bias: false, ..conv("conv_s", cin, cout, 1) };
            net.convolution(x.clone().norm(norm("norm_s", 2, cin)), conv_s)
        };
        let y = x.norm(norm("norm_0", 0, cin)).leaky_relu(SLOPE);
        let y = net.convolution(y, conv("conv_0", cin, middle, 3));
        let y = Reading::of(y).norm(norm("norm_1", 1, middle)).leaky_relu(SLOPE);
        let y = net.convolution(y, conv("conv_1", middle, cout, 3));
        net.add(y, skip)
    }

    /// ALIAS normalization: noise, standardization, then scale and shift predicted from the segmentation.
    fn norm(self, key: String, block: usize, slot: usize, channels: usize) -> Norm {
        let sees_mask = block < MASKED_BLOCKS;
        let kind = match self.norm {
            _ if sees_mask && !self.plain => NormKind::Mask { mask: Inputs::MASK },
            ParameterFreeNorm::Instance => NormKind::Instance,
            ParameterFreeNorm::Batch => NormKind::Batch { key: format!("{key}.param_free_norm") },
        };
        let conv =
            |name: &str, cin, cout, fill_gain| Conv { fill_gain, ..Conv::same(format!("{key}.{name}"), cin, cout, 3) };
        let spade = Spade {
            labels: if sees_mask { Inputs::SEG_DIV } else { Inputs::SEG },
            // The 0 is the convolution's index in a Sequential; a ReLU has index 1.
            shared: conv("conv_shared.0", LABELS + usize::from(sees_mask), HIDDEN, 2.0),
            gamma: conv("conv_gamma", HIDDEN, channels, 0.25),
            beta: conv("conv_beta", HIDDEN, channels, 0.25),
        };
        let modulation = Modulation::Spade(Box::new(spade));
        Norm { key, kind, noise_stream: Some((3 * block + slot) as u32), modulation }
    }
}
