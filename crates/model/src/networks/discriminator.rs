//! SPADE's multi-scale discriminator (Park et al. 2019), which VITON-HD trains against.

use super::generator::LABELS;
use crate::network::{Activation, Builder, Conv, Network, Pool, PoolKind, Reading};
use crate::{Checkpoint, ConfigError, Result, StateDictError};

/// Channels in: the segmentation with the misaligned region, and an image.
const INPUT: usize = LABELS + 1 + 3;
/// No layer is wider.
const WIDEST: usize = 512;
/// Slope of the leaky ReLUs.
const SLOPE: f32 = 0.2;

/// Which discriminator it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiscriminatorConfig {
    /// How many patch discriminators, each on half the size of the one before.
    pub scales: usize,
    /// Convolutions of each but the last one, which gives the scores.
    pub layers: usize,
    /// Channels of the first layer; each other one has twice as many as the one before, at most 512.
    pub ndf: usize,
    /// Stride of the last convolution before the scores: 1 or 2; that of the others is 2.
    pub last_stride: usize,
}

impl DiscriminatorConfig {
    /// SPADE's.
    pub const SPADE: DiscriminatorConfig = DiscriminatorConfig { scales: 2, layers: 4, ndf: 64, last_stride: 1 };
    /// That of VITON-HD's authors.
    pub const VITON_HD: DiscriminatorConfig =
        DiscriminatorConfig { scales: 2, layers: 3, last_stride: 2, ..DiscriminatorConfig::SPADE };

    /// Reads the configuration from the names and shapes of a state dict. The last stride leaves no trace there: it is taken to
    /// be that of VITON-HD's authors.
    ///
    /// # Errors
    /// [`Error::StateDict`](crate::Error::StateDict) where this is no discriminator.
    pub fn infer(checkpoint: &Checkpoint) -> Result<DiscriminatorConfig> {
        let count = |name: &dyn Fn(usize) -> String| {
            (0..).take_while(|&k| checkpoint.keys().any(|key| key.starts_with(&name(k)))).count()
        };
        let scales = count(&|scale| format!("discriminator_{scale}."));
        let layers = count(&|layer| format!("discriminator_0.model{layer}."));
        let ndf = checkpoint.get("discriminator_0.model0.0.weight").and_then(|weight| weight.shape().first().copied());
        let (Some(ndf), Some(layers)) = (ndf, layers.checked_sub(1)) else {
            let (network, reason) =
                ("multi-scale discriminator", "discriminator_0.model0.0.weight is not there".into());
            return Err(StateDictError::Unrecognized { network, reason }.into());
        };
        Ok(DiscriminatorConfig { scales, layers, ndf, ..DiscriminatorConfig::VITON_HD })
    }

    /// The discriminator. Inputs: `seg_div` (8), the segmentation with the misaligned region as an eighth class, and `image`
    /// (3); outputs: for each scale what each of its layers gives, named `SCALE.LAYER`, the last of a scale being the scores,
    /// one for each patch.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) where there is no such discriminator.
    pub fn network(&self) -> Result<Network> {
        self.verify()?;
        let mut net = Builder::new("MultiscaleDiscriminator");
        let seg_div = net.input("seg_div", LABELS + 1);
        let image = net.input("image", 3);
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

        let y = net.convolution(x, conv("model0.0".into(), INPUT, self.ndf, 2));
        let mut y = net.activate(y, leaky);
        net.output(format!("{scale}.0"), y);
        for layer in 1..self.layers {
            let stride = if layer == self.layers - 1 { self.last_stride } else { 2 };
            // The first 0 is the inner Sequential of convolution and instance norm.
            let plain = conv(format!("model{layer}.0.0"), width(layer - 1), width(layer), stride);
            let z = net.convolution(Reading::of(y), Conv { bias: false, spectral: true, ..plain });
            // Stored, since it is an output as well as what the next layer reads.
            let norm = key(format!("model{layer}.0.1"));
            let store = Pool { kind: PoolKind::Max, window: 1, stride: 1, padding: 0 };
            y = net.pool(norm.clone(), Reading::of(z).instance_norm(norm).activation(leaky), store);
            net.output(format!("{scale}.{layer}"), y);
        }
        let scores = conv(format!("model{}.0", self.layers), width(self.layers - 1), 1, 1);
        let scores = net.convolution(Reading::of(y), scores);
        net.output(format!("{scale}.{}", self.layers), scores);
    }

    /// Errors unless there is such a discriminator.
    fn verify(&self) -> Result<()> {
        let DiscriminatorConfig { scales, layers, ndf, last_stride } = *self;
        if [scales, layers, ndf].contains(&0)
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
