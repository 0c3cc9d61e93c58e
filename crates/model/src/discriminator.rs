//! SPADE's multi-scale discriminator (Park et al. 2019), which VITON-HD trains against.

use crate::architecture::LABELS;
use crate::conv::{Conv2d, Take};
use crate::{Checkpoint, Conv, Error, Result};
use alias_kernels::{avg_pool, concat, instance_norm, leaky_relu};
use alias_plan::Statistics;
use alias_tensor::Tensor;
use std::collections::BTreeMap;

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
    /// [`Error::StateDict`] where this is no discriminator.
    pub fn infer(checkpoint: &Checkpoint) -> Result<DiscriminatorConfig> {
        let count = |name: &dyn Fn(usize) -> String| {
            (0..).take_while(|&k| checkpoint.keys().any(|key| key.starts_with(&name(k)))).count()
        };
        let scales = count(&|scale| format!("discriminator_{scale}."));
        let layers = count(&|layer| format!("discriminator_0.model{layer}."));
        let ndf = checkpoint.get("discriminator_0.model0.0.weight").and_then(|weight| weight.shape().first().copied());
        let (Some(ndf), Some(layers)) = (ndf, layers.checked_sub(1)) else {
            return Err(Error::StateDict(
                "this is no multi-scale discriminator: discriminator_0.model0.0.weight is not there".into(),
            ));
        };
        Ok(DiscriminatorConfig { scales, layers, ndf, ..DiscriminatorConfig::VITON_HD })
    }

    /// The convolutions of each scale.
    fn convs(&self) -> Vec<Vec<Conv>> {
        (0..self.scales).map(|scale| self.patch_convs(&format!("discriminator_{scale}"))).collect()
    }

    fn patch_convs(&self, key: &str) -> Vec<Conv> {
        let conv = |name: String, cin, cout| Conv { padding: 2, ..Conv::new(format!("{key}.{name}"), cin, cout, 4) };
        let width = |layer: usize| (self.ndf << layer.min(9)).min(WIDEST.max(self.ndf));
        let mut convs = vec![Conv { stride: 2, ..conv("model0.0".into(), INPUT, self.ndf) }];
        for layer in 1..self.layers {
            let stride = if layer == self.layers - 1 { self.last_stride } else { 2 };
            // The first 0 is the inner Sequential of convolution and instance norm.
            let middle = conv(format!("model{layer}.0.0"), width(layer - 1), width(layer));
            convs.push(Conv { stride, bias: false, spectral: true, ..middle });
        }
        convs.push(conv(format!("model{}.0", self.layers), width(self.layers - 1), 1));
        convs
    }

    /// Name and shape of everything in the state dict, in the order of the names.
    pub fn state_dict(&self) -> BTreeMap<String, Vec<usize>> {
        let mut state = BTreeMap::new();
        self.convs().iter().flatten().for_each(|conv| conv.add_to(&mut state));
        state
    }

    /// Errors unless there is such a discriminator.
    pub(crate) fn verify(&self) -> Result<()> {
        let DiscriminatorConfig { scales, layers, ndf, last_stride } = *self;
        if [scales, layers, ndf].contains(&0)
            || scales > 8
            || layers > 8
            || ndf > WIDEST
            || ![1, 2].contains(&last_stride)
        {
            return Err(Error::Config(format!(
                "{self:?}: a discriminator has 1 to 8 scales of 1 to 8 layers, ndf of 1 to {WIDEST} and last_stride 1 or 2"
            )));
        }
        Ok(())
    }
}

/// The discriminator, its weights on a device.
#[derive(Debug)]
pub struct MultiscaleDiscriminator {
    scales: Vec<Vec<Conv2d>>,
}

impl MultiscaleDiscriminator {
    /// Assembles a discriminator from tensors, as [`Generator::from_state`](crate::Generator::from_state).
    ///
    /// # Errors
    /// [`Error::Config`] where there is no such discriminator; what `state` or the device reports.
    pub fn from_state(
        config: DiscriminatorConfig,
        mut state: impl FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<MultiscaleDiscriminator> {
        config.verify()?;
        let shapes = config.state_dict();
        let take: Take = &mut |key| state(key, &shapes[key]);
        let mut patch = |convs: Vec<Conv>| convs.iter().map(|conv| Conv2d::new(conv, take)).collect();
        Ok(MultiscaleDiscriminator { scales: config.convs().into_iter().map(&mut patch).collect::<Result<_>>()? })
    }

    /// What every layer of every scale makes of `image` (N, 3, H, W) with the segmentation `seg_div` (N, 8, H, W); of each
    /// scale the last are the scores, one for each patch.
    ///
    /// # Errors
    /// Where the shapes do not fit; what the device reports.
    pub fn forward(&self, seg_div: &Tensor, image: &Tensor) -> Result<Vec<Vec<Tensor>>> {
        let mut x = concat(&[seg_div, image])?;
        let mut results = Vec::with_capacity(self.scales.len());
        for (scale, convs) in self.scales.iter().enumerate() {
            if scale > 0 {
                x = avg_pool(&x)?;
            }
            let mut outputs: Vec<Tensor> = Vec::with_capacity(convs.len());
            for (layer, conv) in convs.iter().enumerate() {
                let mut y = conv.forward(outputs.last().unwrap_or(&x))?;
                let (first, last) = (layer == 0, layer == convs.len() - 1);
                if !first && !last {
                    y = instance_norm(&y, Statistics::EPS)?;
                }
                if !last {
                    y = leaky_relu(&y, SLOPE)?;
                }
                outputs.push(y);
            }
            results.push(outputs);
        }
        Ok(results)
    }
}
