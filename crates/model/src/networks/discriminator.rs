//! SPADE's multi-scale discriminator (Park et al. 2019), with which VITON-HD is trained.

use super::generator::LABELS;
use crate::network::{Activation, Builder, Conv, Network, Pool, PoolKind, Reading};
use crate::{Checkpoint, ConfigError, Result, StateDictError};

/// Channels of the widest layers.
const WIDEST: usize = 512;
/// Slope of the leaky ReLUs.
const SLOPE: f32 = 0.2;

/// The configuration of a discriminator.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::DiscriminatorConfig;
///
/// let network = DiscriminatorConfig { ndf: 8, ..DiscriminatorConfig::VITON_HD }.network()?;
/// let names: Vec<_> = network.outputs().iter().map(|output| output.name.as_str()).collect();
/// assert_eq!(names, ["0.0", "0.1", "0.2", "0.3", "1.0", "1.1", "1.2", "1.3"]);
/// let scores = &network.outputs()[3]; // one per patch of the full-size image
/// assert_eq!(network.sizes(64, 48)?[scores.layer], [10, 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiscriminatorConfig {
    /// Channels of its two inputs: of what an image belongs to, and of the image. The image generator's is given the segmentation
    /// with the misaligned region, 8, and a picture, 3.
    pub inputs: [usize; 2],
    /// Number of patch discriminators, each at half the resolution of the one before.
    pub scales: usize,
    /// Number of convolutions in each, not counting the last one, which computes the scores.
    pub layers: usize,
    /// Channels of the first layer. They double from layer to layer, up to 512.
    pub ndf: usize,
    /// Stride of the last convolution before the scores: 1 or 2. Those before it have stride 2.
    pub last_stride: usize,
}

impl DiscriminatorConfig {
    /// SPADE's.
    pub const SPADE: DiscriminatorConfig =
        DiscriminatorConfig { inputs: [LABELS + 1, 3], scales: 2, layers: 4, ndf: 64, last_stride: 1 };
    /// VITON-HD's.
    pub const VITON_HD: DiscriminatorConfig =
        DiscriminatorConfig { scales: 2, layers: 3, last_stride: 2, ..DiscriminatorConfig::SPADE };

    /// Reads the configuration from the names and shapes of a state dict. They do not show the last stride, nor which input has
    /// how many channels; those of VITON-HD's image generator are assumed.
    ///
    /// # Errors
    /// [`Error::StateDict`](crate::Error::StateDict) if the checkpoint is not a discriminator's.
    pub fn infer(checkpoint: &Checkpoint) -> Result<DiscriminatorConfig> {
        let checkpoint = &*DiscriminatorConfig::VITON_HD.network()?.state_dict_in(checkpoint)?;
        let count = |name: &dyn Fn(usize) -> String| {
            (0..).take_while(|&k| checkpoint.keys().any(|key| key.starts_with(&name(k)))).count()
        };
        let scales = count(&|scale| format!("discriminator_{scale}."));
        let layers = count(&|layer| format!("discriminator_0.model{layer}."));
        let ndf = checkpoint.get("discriminator_0.model0.0.weight").and_then(|weight| weight.shape().first().copied());
        let (Some(ndf), Some(layers)) = (ndf, layers.checked_sub(1)) else {
            let (network, reason) = ("multi-scale discriminator", "it has no discriminator_0.model0.0.weight".into());
            return Err(StateDictError::Unrecognized { network, reason }.into());
        };
        Ok(DiscriminatorConfig { scales, layers, ndf, ..DiscriminatorConfig::VITON_HD })
    }

    /// The network. Inputs: `seg_div`, the segmentation with the misaligned region as an eighth class, and `image`, with as
    /// many channels as `inputs` says. Outputs: the result of each layer at each scale, named `SCALE.LAYER`; the last one of a scale holds the
    /// scores, one per patch.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if a setting is out of range.
    pub fn network(&self) -> Result<Network> {
        self.verify()?;
        let mut net = Builder::new("MultiscaleDiscriminator");
        let seg_div = net.input("seg_div", self.inputs[0]);
        let image = net.input("image", self.inputs[1]);
        let mut x = Reading::of(seg_div).and(image);
        for scale in 0..self.scales {
            if scale > 0 {
                let halve = Pool { kind: PoolKind::Average, window: 3, stride: 2, padding: 1 };
                x = Reading::of(net.pool(format!("downsample_{}", scale - 1), x, halve));
            }
            self.patch(&mut net, scale, x.clone());
        }
        Ok(net.finish())
    }

    /// The patch discriminator of one scale (Isola et al. 2017).
    fn patch(&self, net: &mut Builder, scale: usize, x: Reading) {
        let key = |name: String| format!("discriminator_{scale}.{name}");
        let width = |layer: usize| (self.ndf << layer.min(9)).min(WIDEST.max(self.ndf));
        let conv = |name, cin, cout, stride| Conv { stride, padding: 2, ..Conv::same(key(name), cin, cout, 4) };
        let leaky = Activation::LeakyRelu { slope: SLOPE };

        let y = net.convolution(x, conv("model0.0".into(), self.inputs.iter().sum(), self.ndf, 2));
        let mut y = net.activate(y, leaky);
        net.output(format!("{scale}.0"), y);
        for layer in 1..self.layers {
            let stride = if layer == self.layers - 1 { self.last_stride } else { 2 };
            // The first 0 is the Sequential that holds the convolution and its instance norm.
            let plain = conv(format!("model{layer}.0.0"), width(layer - 1), width(layer), stride);
            let z = net.convolution(Reading::of(y), Conv { bias: false, spectral: true, ..plain });
            // A layer of its own, so that its result is stored: it is an output as well as the next layer's input.
            let norm = key(format!("model{layer}.0.1"));
            let store = Pool { kind: PoolKind::Max, window: 1, stride: 1, padding: 0 };
            y = net.pool(norm.clone(), Reading::of(z).instance_norm(norm).activation(leaky), store);
            net.output(format!("{scale}.{layer}"), y);
        }
        let scores = conv(format!("model{}.0", self.layers), width(self.layers - 1), 1, 1);
        let scores = net.convolution(Reading::of(y), scores);
        net.output(format!("{scale}.{}", self.layers), scores);
    }

    /// Errors if a setting is out of range.
    fn verify(&self) -> Result<()> {
        let DiscriminatorConfig { inputs: [condition, image], scales, layers, ndf, last_stride } = *self;
        if [condition, image, scales, layers, ndf].contains(&0)
            || condition.max(image) > WIDEST
            || scales > 8
            || layers > 8
            || ndf > WIDEST
            || ![1, 2].contains(&last_stride)
        {
            return Err(ConfigError::Discriminator { config: format!("{self:?}") }.into());
        }
        Ok(())
    }
}
