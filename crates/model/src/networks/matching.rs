//! VITON-HD's geometric matching module, GMM (Wang et al., "Toward Characteristic-Preserving Image-based Virtual Try-On
//! Network", ECCV 2018): predicts how to displace the control points of a garment's thin-plate spline.

use crate::network::{Activation, Builder, Conv, Linear, Network, Reading, Value};
use crate::plan::ThinPlate;
use crate::{Checkpoint, ConfigError, InputError, Result, StateDictError};
use std::borrow::Cow;

/// Channels of the person: the garment's class 1, pose 3, agnostic picture 3.
const PERSON_CHANNELS: usize = 7;
/// Channels of the garment.
const GARMENT_CHANNELS: usize = 3;
/// How often the extractors halve height and width.
const HALVINGS: usize = 4;
/// The widest that fits into memory. A file that claims more is damaged.
const WIDEST: usize = 4096;

/// The configuration of a geometric matching module.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::{MatchingConfig, fill};
///
/// let config = MatchingConfig::of_size(2, [128, 64]);
/// assert_eq!(MatchingConfig::infer(&fill(&config.network()?, 1))?, config);
/// assert!(config.network()?.sizes(128, 64).is_ok());
/// assert!(config.network()?.sizes(128, 128).is_err()); // the weights fix the number of pixels
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchingConfig {
    /// Channels of the first convolution. 64 in the published model.
    pub ngf: usize,
    /// Pixels of the features, H W / 256 of an input's: a multiple of 16. 192 in the published model.
    pub pixels: usize,
}

impl MatchingConfig {
    /// The published model, `gmm_final.pth`, for inputs of 256x192.
    pub const PUBLISHED: MatchingConfig = MatchingConfig::of_size(64, [256, 192]);
    /// Height and width must be multiples of this: the extractors halve them four times, the regression twice.
    pub const MULTIPLE: usize = 64;

    /// A module for inputs of this height and width.
    pub const fn of_size(ngf: usize, [height, width]: [usize; 2]) -> MatchingConfig {
        MatchingConfig { ngf, pixels: (height >> HALVINGS) * (width >> HALVINGS) }
    }

    /// Height and width of the inputs for pictures of `height` and `width`: of the sizes that the weights allow, the one
    /// whose aspect ratio is nearest.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::MatchingConfig;
    ///
    /// assert_eq!(MatchingConfig::PUBLISHED.low_size(1024, 768)?, [256, 192]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if the weights allow none.
    pub fn low_size(self, height: usize, width: usize) -> Result<[usize; 2]> {
        let MatchingConfig { pixels, .. } = self;
        let of_features = (1..=pixels).filter(|h| pixels.is_multiple_of(*h));
        let sizes = of_features.map(|h| [h << HALVINGS, (pixels / h) << HALVINGS]);
        let allowed = sizes.filter(|size| size.iter().all(|side| side.is_multiple_of(MatchingConfig::MULTIPLE)));
        let aspect = |[h, w]: [usize; 2]| (h as f64 / w as f64).ln();
        let distance = |size: &[usize; 2]| (aspect(*size) - aspect([height, width])).abs();
        let nearest = allowed.min_by(|a, b| distance(a).total_cmp(&distance(b)));
        nearest.ok_or_else(|| InputError::MatchingSize { pixels, multiple: MatchingConfig::MULTIPLE }.into())
    }

    /// The geometric matching module's state dict in a checkpoint that may hold other tensors beside it, or names with a prefix,
    /// as [`Checkpoint::state_dict`] finds it.
    ///
    /// # Errors
    /// If there are several.
    pub fn state_dict_in(checkpoint: &Checkpoint) -> Result<Cow<'_, Checkpoint>> {
        // The names do not depend on the width.
        MatchingConfig::PUBLISHED.network()?.state_dict_in(checkpoint)
    }

    /// Reads the configuration from a checkpoint.
    ///
    /// # Errors
    /// [`Error::StateDict`](crate::Error::StateDict) if the checkpoint is not a geometric matching module's.
    pub fn infer(checkpoint: &Checkpoint) -> Result<MatchingConfig> {
        let checkpoint = &*MatchingConfig::state_dict_in(checkpoint)?;
        let shape = |key: &str| checkpoint.get(key).map(|tensor| tensor.shape());
        let (first, regression) = (shape("extractionA.model.0.weight"), shape("regression.conv.0.weight"));
        let (Some(&[ngf, PERSON_CHANNELS, 4, 4]), Some(&[_, pixels, 4, 4])) = (first, regression) else {
            let found: Vec<_> = checkpoint.keys().take(3).collect();
            let reason = match (first, regression) {
                (Some(first), Some(regression)) => format!(
                    "extractionA.model.0.weight and regression.conv.0.weight have the shapes {first:?} and {regression:?}, \
                     not [ngf, {PERSON_CHANNELS}, 4, 4] and [8 ngf, pixels, 4, 4]"
                ),
                _ => format!(
                    "it lacks extractionA.model.0.weight or regression.conv.0.weight; it has {} tensors, such as {found:?}",
                    checkpoint.len()
                ),
            };
            return Err(StateDictError::Unrecognized { network: "geometric matching module", reason }.into());
        };
        Ok(MatchingConfig { ngf, pixels })
    }

    /// The network. Inputs: `person` (7) and `cloth` (3), of a height and width that are multiples of 64. Outputs:
    /// `features_person` and `features_cloth` (8 ngf), of unit length in each pixel, `correlation`, and `theta` (50, 1, 1), the
    /// displacements of the spline's 25 control points, first in x, then in y. Parameters have the names of the authors'
    /// state dict.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] if `ngf` or `pixels` is out of range.
    pub fn network(self) -> Result<Network> {
        let MatchingConfig { ngf, pixels } = self;
        for (name, value, most) in [("ngf", ngf, WIDEST), ("pixels", pixels, WIDEST)] {
            if !(1..=most).contains(&value) {
                return Err(ConfigError::Setting { name, value, least: 1, most }.into());
            }
        }
        let mut net = Builder::new("GMM");
        let (person, cloth) = (net.input("person", PERSON_CHANNELS), net.input("cloth", GARMENT_CHANNELS));
        let a = extraction(&mut net, "extractionA", person, ngf);
        let b = extraction(&mut net, "extractionB", cloth, ngf);
        let (a, b) = (net.l2_normalize("features_person", a), net.l2_normalize("features_cloth", b));
        let correlation = net.correlation("correlation", a, b, pixels);

        let mut x = Reading::of(correlation);
        let mut channels = pixels;
        for (i, (width, kernel, stride)) in [(8, 4, 2), (4, 4, 2), (2, 3, 1), (1, 3, 1)].into_iter().enumerate() {
            let conv = Conv::same(format!("regression.conv.{}", 3 * i), channels, width * ngf, kernel);
            let y = net.convolution(x, Conv { stride, padding: 1, ..conv });
            x = Reading::of(y).batch_norm(format!("regression.conv.{}", 3 * i + 1)).relu();
            channels = width * ngf;
        }
        // The regression halves height and width twice.
        let linear = Linear::new("regression.linear", ngf * pixels / 16, 2 * ThinPlate::POINTS);
        let theta = net.linear(x, Linear { fill_gain: 1.0, ..linear });
        let theta = net.activate(theta, Activation::Tanh);
        for (name, value) in
            [("features_person", a), ("features_cloth", b), ("correlation", correlation), ("theta", theta)]
        {
            net.output(name, value);
        }
        Ok(net.finish())
    }
}

/// The features of a picture. Unlike in most networks, ReLU comes before batch norm here.
fn extraction(net: &mut Builder, name: &str, picture: Value, ngf: usize) -> Reading {
    let mut x = Reading::of(picture);
    let mut channels = net.channels(picture);
    let mut place = 0;
    let strided = (0..HALVINGS).map(|i| (ngf << i, 4, 2));
    for (width, kernel, stride) in strided.chain([(8 * ngf, 3, 1)]) {
        let conv = Conv::same(format!("{name}.model.{place}"), channels, width, kernel);
        let y = net.convolution(x, Conv { stride, padding: 1, ..conv });
        let y = net.activate(y, Activation::LeakyRelu { slope: 0.0 });
        x = Reading::of(y).batch_norm(format!("{name}.model.{}", place + 2));
        (channels, place) = (width, place + 3);
    }
    let last = net.convolution(x, Conv::same(format!("{name}.model.{place}"), channels, channels, 3));
    Reading::of(net.activate(last, Activation::LeakyRelu { slope: 0.0 }))
}
