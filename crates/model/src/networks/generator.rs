//! ALIAS, VITON-HD's image generator (Choi et al., "VITON-HD", CVPR 2021, section 3.4 and supplement).

use crate::network::{Activation, Builder, Conv, Modulation, Network, Norm, NormKind, Reading, Spade, Value};
use crate::{Checkpoint, ConfigError, Error, InputError, Result, StateDictError};
use std::str::FromStr;

/// Channels of the hidden layer from which SPADE predicts scale and shift.
const HIDDEN: usize = 128;
/// Channels of the pictures: agnostic image, pose and warped garment.
const PICTURES: usize = 9;
/// Channels of each resized input's features, past the first.
const FEATURES: usize = 16;
/// Classes of the segmentation.
pub(crate) const LABELS: usize = 7;
/// No generator is wider; a file that claims more is damaged, and its sizes would overflow.
const WIDEST: usize = 4096;
/// Blocks that see the misaligned region, as an eighth label and, unless plain, in their normalization.
const MASKED_BLOCKS: usize = 5;
const BLOCKS: [&str; 8] = ["head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3", "up_4"];
/// Slope of the leaky ReLUs.
const SLOPE: f32 = 0.2;

/// The generator's inputs, by their places in its [`Network::inputs`].
pub(crate) struct Inputs;

impl Inputs {
    /// The segmentation: its classes.
    pub(crate) const SEG: usize = 1;
    /// The same with the misaligned part of the garment as one more class.
    pub(crate) const SEG_DIV: usize = 2;
    /// The misaligned part of the garment.
    pub(crate) const MASK: usize = 3;
}

/// How to load a generator's checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Whether the generator is the ablation without mask norm, which the checkpoint cannot tell with instance norm.
    pub plain: bool,
    /// Whether a tensor that does not belong to the generator is an error. One that is missing always is.
    pub strict: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions { plain: false, strict: true }
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
    /// # Errors
    /// [`Error::Input`] where height or width is not a [multiple](Layers::multiple).
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

/// The normalization of the blocks that do not see the misalignment mask; the others use mask norm.
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
    /// Width: the last block but one has this many channels, the first 16 times as many. 64 in the published model.
    pub ngf: usize,
    /// How many resolutions.
    pub layers: Layers,
    /// The normalization away from the mask.
    pub norm: ParameterFreeNorm,
    /// Whether the blocks' convolutions have spectral norm.
    pub spectral: bool,
    /// The ablation of the paper's figure 8: `norm` everywhere, mask norm nowhere.
    pub plain: bool,
}

impl GeneratorConfig {
    /// The published model's.
    pub const PUBLISHED: GeneratorConfig = GeneratorConfig {
        ngf: 64,
        layers: Layers::Most,
        norm: ParameterFreeNorm::Instance,
        spectral: true,
        plain: false,
    };

    /// In a checkpoint's metadata: "true" where the generator is `plain`.
    pub const PLAIN: &str = "plain";

    /// The same at another width.
    #[must_use]
    pub const fn with_ngf(self, ngf: usize) -> GeneratorConfig {
        GeneratorConfig { ngf, ..self }
    }

    /// Reads the configuration from the names and shapes of a checkpoint. Whether the generator is `plain` shows there only
    /// with batch norm, which then has statistics in the first block, too. Instance norm leaves no trace: then the metadata's
    /// [`GeneratorConfig::PLAIN`] tells, which trained weights have.
    ///
    /// # Errors
    /// [`Error::StateDict`] where nothing tells the width: this is no ALIAS generator.
    pub fn infer(checkpoint: &Checkpoint) -> Result<GeneratorConfig> {
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
            return Err(StateDictError::Unrecognized { network: "ALIAS generator", reason }.into());
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

impl GeneratorConfig {
    /// The generator of this configuration. Inputs: `pictures` (9), `seg` (7 classes), `seg_div` (8 classes) and `mask`;
    /// output: `image` (3) in [-1, 1].
    ///
    /// # Errors
    /// [`Error::Config`] where it is so narrow that its last block would have no channel, or absurdly wide.
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
        // The checkpoint has eight of these even where the last one's resolution is not reached.
        (widths.len()..BLOCKS.len()).for_each(|i| net.unused(features(i)));
        let y = y.expect("there are blocks");
        let last = Conv { fill_gain: 0.05, ..Conv::same("conv_img", widths[widths.len() - 1], 3, 3) };
        let image = net.convolution(Reading::of(y).leaky_relu(SLOPE), last);
        let image = net.activate(image, Activation::Tanh);
        net.output("image", image);
        Ok(net.finish())
    }

    /// An ALIAS residual block: `conv_1(leaky(norm_1(conv_0(leaky(norm_0(x))))))` plus x, or plus `conv_s(norm_s(x))` where the
    /// channels change.
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
            // The 0 is the convolution's place in a Sequential; a ReLU is at 1.
            shared: conv("conv_shared.0", LABELS + usize::from(sees_mask), HIDDEN, 2.0),
            gamma: conv("conv_gamma", HIDDEN, channels, 0.25),
            beta: conv("conv_beta", HIDDEN, channels, 0.25),
        };
        let modulation = Modulation::Spade(Box::new(spade));
        Norm { key, kind, noise_stream: Some((3 * block + slot) as u32), modulation }
    }
}
