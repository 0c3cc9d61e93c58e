//! Which layers the generator has, as plain data: names, shapes, nothing of a device.

use crate::{Config, Error, Layers, Norm, Result};
use std::collections::BTreeMap;

/// Channels of the hidden layer from which every norm predicts its scale and shift.
pub(crate) const HIDDEN: usize = 128;
/// Channels of the input: agnostic image, pose and warped garment.
const INPUT: usize = 9;
/// Channels of each resized input's features, past the first.
const FEATURES: usize = 16;
/// Classes of the segmentation.
pub(crate) const LABELS: usize = 7;
/// No generator is wider; a file that claims more is damaged, and its sizes would overflow.
pub(crate) const WIDEST: usize = 4096;
/// Blocks that see the misalignment mask, as an eighth label and, unless plain, in their normalization.
const MASKED_BLOCKS: usize = 5;
const BLOCKS: [&str; 8] = ["head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3", "up_4"];

/// A convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Its name in the state dict.
    pub key: String,
    /// Channels in.
    pub cin: usize,
    /// Channels out.
    pub cout: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Distance of the pixels that it computes.
    pub stride: usize,
    /// Zeros around the image: half of the kernel keeps the size.
    pub padding: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// Whether its weight is divided by its spectral norm.
    pub spectral: bool,
}

/// How a norm standardizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Each plane by itself.
    Instance,
    /// Each channel by its running statistics.
    Batch,
    /// The misaligned region and the rest of each plane by themselves.
    Mask,
}

/// ALIAS normalization: noise, standardization, then scale and shift predicted from the segmentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasNorm {
    /// Its name in the state dict.
    pub key: String,
    /// Channels it normalizes.
    pub channels: usize,
    /// How it standardizes.
    pub kind: NormKind,
    /// Stream of its noise.
    pub stream: u32,
    /// Labels to the hidden layer.
    pub shared: Conv,
    /// Hidden layer to the scale, less 1.
    pub gamma: Conv,
    /// Hidden layer to the shift.
    pub beta: Conv,
}

/// An ALIAS residual block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResBlock {
    /// Its name in the state dict.
    pub key: &'static str,
    /// Whether its labels are the eight with the misaligned region, instead of seven.
    pub sees_mask: bool,
    /// Norm and convolution of the first half.
    pub first: (AliasNorm, Conv),
    /// Norm and convolution of the second half.
    pub second: (AliasNorm, Conv),
    /// Norm and convolution of the skip connection, where the channels change.
    pub skip: Option<(AliasNorm, Conv)>,
}

/// The whole generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// What it was made from.
    pub config: Config,
    /// One for each resolution of the input, the smallest first.
    pub features: Vec<Conv>,
    /// One for each resolution; each but the first takes the one before, doubled, and that resolution's features.
    pub blocks: Vec<ResBlock>,
    /// The last block's output to the image.
    pub image: Conv,
}

impl Architecture {
    /// The generator of this configuration.
    ///
    /// # Errors
    /// [`Error::Config`] where it is so narrow that its last block would have no channel, or absurdly wide.
    pub fn new(config: Config) -> Result<Architecture> {
        let ngf = config.ngf;
        let narrowest = if config.layers == Layers::Most { 2 } else { 1 };
        if !(narrowest..=WIDEST).contains(&ngf) {
            let layers = config.layers;
            return Err(Error::Config(format!("ngf is {ngf}; with layers {layers:?} it is {narrowest} to {WIDEST}")));
        }
        let mut widths = vec![16 * ngf, 16 * ngf, 16 * ngf, 8 * ngf, 4 * ngf, 2 * ngf, ngf];
        if config.layers == Layers::Most {
            widths.push(ngf / 2);
        }
        let plain_conv = |key: String, cin, cout| Conv::new(key, cin, cout, 3);
        // The checkpoint has eight of these even where the last one's resolution is not reached.
        let feature = |i| plain_conv(format!("conv_{i}"), INPUT, if i == 0 { 16 * ngf } else { FEATURES });
        let mut cin = 16 * ngf;
        let mut block = |(index, &cout): (usize, &usize)| {
            let block = ResBlock::new(config, index, cin, cout);
            cin = cout + FEATURES;
            block
        };
        Ok(Architecture {
            config,
            features: (0..BLOCKS.len()).map(feature).collect(),
            blocks: widths.iter().enumerate().map(&mut block).collect(),
            image: plain_conv("conv_img".into(), widths[widths.len() - 1], 3),
        })
    }

    /// Floating-point operations of one image of this size where every convolution is computed for every pixel, as PyTorch
    /// does.
    pub fn dense_flops(&self, height: usize, width: usize) -> u64 {
        let last = self.blocks.len() - 1;
        let at = |i: usize, conv: &Conv| conv.flops((height >> (last - i)) * (width >> (last - i)));
        let blocks = self.blocks.iter().zip(&self.features).enumerate().map(|(i, (block, features))| {
            let convs = block.halves().flat_map(|(norm, conv)| [conv, &norm.shared, &norm.gamma, &norm.beta]);
            at(i, features) + convs.map(|conv| at(i, conv)).sum::<u64>()
        });
        blocks.sum::<u64>() + at(last, &self.image)
    }

    /// Name and shape of everything in the state dict, in the order of the names.
    pub fn state_dict(&self) -> BTreeMap<String, Vec<usize>> {
        let mut state = BTreeMap::new();
        for conv in self.features.iter().chain([&self.image]) {
            conv.add_to(&mut state);
        }
        for (norm, conv) in self.blocks.iter().flat_map(ResBlock::halves) {
            norm.add_to(&mut state);
            conv.add_to(&mut state);
        }
        state
    }
}

impl ResBlock {
    fn new(config: Config, index: usize, cin: usize, cout: usize) -> ResBlock {
        let key = BLOCKS[index];
        let sees_mask = index < MASKED_BLOCKS;
        let middle = cin.min(cout);
        let kind = match config.norm {
            _ if sees_mask && !config.plain => NormKind::Mask,
            Norm::Instance => NormKind::Instance,
            Norm::Batch => NormKind::Batch,
        };
        let norm = |name: &str, slot: usize, channels: usize| {
            let labels = LABELS + usize::from(sees_mask);
            AliasNorm::new(format!("{key}.{name}"), channels, labels, kind, (3 * index + slot) as u32)
        };
        let conv = |name: &str, cin, cout, kernel, bias| {
            let key = format!("{key}.{name}");
            Conv { bias, spectral: config.spectral, ..Conv::new(key, cin, cout, kernel) }
        };
        ResBlock {
            key,
            sees_mask,
            first: (norm("norm_0", 0, cin), conv("conv_0", cin, middle, 3, true)),
            second: (norm("norm_1", 1, middle), conv("conv_1", middle, cout, 3, true)),
            skip: (cin != cout).then(|| (norm("norm_s", 2, cin), conv("conv_s", cin, cout, 1, false))),
        }
    }

    /// Channels of each of the tensors that its second half (or else the first, and the skip connection) reads one after the
    /// other. All blocks but the first read features besides the block before.
    pub(crate) fn sources(&self, second: bool) -> Vec<usize> {
        if second {
            return vec![self.second.1.cin];
        }
        let channels = self.first.1.cin;
        if self.key == BLOCKS[0] { vec![channels] } else { vec![channels - FEATURES, FEATURES] }
    }

    /// Its pairs of norm and convolution.
    pub fn halves(&self) -> impl Iterator<Item = &(AliasNorm, Conv)> {
        [&self.first, &self.second].into_iter().chain(&self.skip)
    }
}

impl AliasNorm {
    fn new(key: String, channels: usize, labels: usize, kind: NormKind, stream: u32) -> AliasNorm {
        let conv = |name: &str, cin, cout| Conv::new(format!("{key}.{name}"), cin, cout, 3);
        AliasNorm {
            channels,
            kind,
            stream,
            // The 0 is the convolution's place in a Sequential; a ReLU is at 1.
            shared: conv("conv_shared.0", labels, HIDDEN),
            gamma: conv("conv_gamma", HIDDEN, channels),
            beta: conv("conv_beta", HIDDEN, channels),
            key,
        }
    }

    /// Name of the noise's scale per channel.
    pub fn noise_scale_key(&self) -> String {
        format!("{}.noise_scale", self.key)
    }

    /// Names of batch norm's running mean and variance.
    pub fn running_statistics_keys(&self) -> [String; 2] {
        ["running_mean", "running_var"].map(|name| format!("{}.param_free_norm.{name}", self.key))
    }

    fn add_to(&self, state: &mut BTreeMap<String, Vec<usize>>) {
        state.insert(self.noise_scale_key(), vec![self.channels]);
        if self.kind == NormKind::Batch {
            state.extend(self.running_statistics_keys().map(|key| (key, vec![self.channels])));
            state.insert(format!("{}.param_free_norm.num_batches_tracked", self.key), vec![]);
        }
        for conv in [&self.shared, &self.gamma, &self.beta] {
            conv.add_to(state);
        }
    }
}

impl Conv {
    /// One that keeps the size, with a bias and without spectral norm.
    pub(crate) fn new(key: String, cin: usize, cout: usize, kernel: usize) -> Conv {
        Conv { key, cin, cout, kernel, stride: 1, padding: kernel / 2, bias: true, spectral: false }
    }

    /// Floating-point operations for so many pixels.
    fn flops(&self, pixels: usize) -> u64 {
        2 * (self.cin * self.cout * self.kernel * self.kernel) as u64 * pixels as u64
    }

    /// Name of the weight, as it is applied.
    pub fn weight_key(&self) -> String {
        format!("{}.weight", self.key)
    }

    /// Names of spectral norm's raw weight and of its vectors u and v.
    pub fn spectral_keys(&self) -> [String; 3] {
        ["weight_orig", "weight_u", "weight_v"].map(|name| format!("{}.{name}", self.key))
    }

    /// Name of the bias.
    pub fn bias_key(&self) -> String {
        format!("{}.bias", self.key)
    }

    pub(crate) fn add_to(&self, state: &mut BTreeMap<String, Vec<usize>>) {
        let shape = vec![self.cout, self.cin, self.kernel, self.kernel];
        if self.spectral {
            let [orig, u, v] = self.spectral_keys();
            state.extend([(orig, shape), (u, vec![self.cout]), (v, vec![self.cin * self.kernel * self.kernel])]);
        } else {
            state.insert(self.weight_key(), shape);
        }
        if self.bias {
            state.insert(self.bias_key(), vec![self.cout]);
        }
    }
}
