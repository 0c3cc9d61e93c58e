//! The losses of generator and discriminator.

use crate::{Error, Result, Vgg19};
use alias_kernels::{add, affine, l1, mean, mul, relu, scale, softplus};
use alias_tensor::{Tensor, no_grad};

/// The adversarial loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gan {
    /// `max(0, 1 - D(real)) + max(0, 1 + D(fake))`, and `-D(fake)` for the generator (Lim & Ye 2017).
    Hinge,
    /// Binary cross-entropy with the scores as logits (Goodfellow et al. 2014), as in VITON-HD's paper; non-saturating
    /// for the generator.
    Vanilla,
    /// Least squares (Mao et al. 2017).
    LeastSquares,
}

impl std::fmt::Display for Gan {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Gan::Hinge => "hinge",
            Gan::Vanilla => "vanilla",
            Gan::LeastSquares => "lsgan",
        })
    }
}

impl std::str::FromStr for Gan {
    type Err = Error;

    fn from_str(name: &str) -> Result<Gan> {
        let all = [Gan::Hinge, Gan::Vanilla, Gan::LeastSquares];
        let found = all.into_iter().find(|gan| gan.to_string() == name);
        found.ok_or_else(|| Error::UnknownGan { name: name.into() })
    }
}

/// Weights of VGG-19's features, the finest first (pix2pixHD, Wang et al. 2018).
const PERCEPTUAL_WEIGHTS: [f32; 5] = [1.0 / 32.0, 1.0 / 16.0, 1.0 / 8.0, 1.0 / 4.0, 1.0];

impl Gan {
    /// The discriminator's loss on images that are all real or all generated; a scalar. `predictions` are its outputs
    /// ([`MultiscaleDiscriminator::forward`](crate::MultiscaleDiscriminator::forward)).
    ///
    /// # Errors
    /// What the device reports.
    pub fn discriminator_loss(self, predictions: &[Vec<Tensor>], real: bool) -> Result<Tensor> {
        mean_of_scores(predictions, |scores| match self {
            Gan::Hinge => Ok(mean(&relu(&line(scores, if real { -1.0 } else { 1.0 }, 1.0)?)?)?),
            Gan::Vanilla | Gan::LeastSquares => self.distance(scores, real),
        })
    }

    /// The generator's adversarial loss, from the discriminator's outputs on its images; a scalar.
    ///
    /// # Errors
    /// What the device reports.
    pub fn generator_loss(self, predictions: &[Vec<Tensor>]) -> Result<Tensor> {
        mean_of_scores(predictions, |scores| match self {
            Gan::Hinge => Ok(scale(&mean(scores)?, -1.0)?),
            Gan::Vanilla | Gan::LeastSquares => self.distance(scores, true),
        })
    }

    /// The vanilla or least-squares loss of scores whose target is real or generated.
    fn distance(self, scores: &Tensor, real: bool) -> Result<Tensor> {
        Ok(match self {
            // -log(sigmoid(x)) = softplus(-x), -log(1 - sigmoid(x)) = softplus(x)
            Gan::Vanilla => mean(&softplus(&scale(scores, if real { -1.0 } else { 1.0 })?)?)?,
            _ => {
                let difference = line(scores, 1.0, if real { -1.0 } else { 0.0 })?;
                mean(&mul(&difference, &difference)?)?
            }
        })
    }
}

/// The mean of `loss` over scales, on the scores, which are each scale's last output.
fn mean_of_scores(predictions: &[Vec<Tensor>], loss: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let losses = predictions.iter().filter_map(|outputs| outputs.last()).map(loss);
    Ok(scale(&sum(losses)?, 1.0 / predictions.len() as f32)?)
}

/// `factor * x + shift`
fn line(x: &Tensor, factor: f32, shift: f32) -> Result<Tensor> {
    let [_, c, _, _] = x.shape().nchw("loss", "scores")?;
    let of = |value| Tensor::new(x.device(), &[c], &vec![value; c]);
    Ok(affine(x, &of(factor)?, &of(shift)?)?)
}

/// Feature matching (Wang et al. 2018): the L1 distance between the discriminator's outputs on fake and on real images,
/// summed over all layers but the scores, mean over scales; a scalar. `real` gets no gradient.
///
/// # Errors
/// What the device reports.
pub fn feature_matching(fake: &[Vec<Tensor>], real: &[Vec<Tensor>]) -> Result<Tensor> {
    let layers = fake.iter().zip(real).flat_map(|(fake, real)| {
        let features = fake.len() - 1;
        fake.iter().zip(real).take(features)
    });
    let distances = layers.map(|(fake, real)| Ok(l1(fake, &real.detach())?));
    Ok(scale(&sum(distances)?, 1.0 / fake.len() as f32)?)
}

/// The perceptual loss (Johnson et al. 2016): the weighted sum of L1 distances between VGG-19's features of two images;
/// a scalar. `real` gets no gradient.
///
/// # Errors
/// What the device reports.
pub fn perceptual(vgg: &Vgg19, fake: &Tensor, real: &Tensor) -> Result<Tensor> {
    let real = no_grad(|| vgg.forward(real))?;
    let features = vgg.forward(fake)?.into_iter().zip(real).zip(PERCEPTUAL_WEIGHTS);
    sum(features.map(|((fake, real), weight)| Ok(scale(&l1(&fake, &real)?, weight)?)))
}

/// The sum of one or more scalars.
fn sum(mut terms: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let first = terms.next().expect("a loss has terms")?;
    terms.try_fold(first, |sum, term| Ok(add(&sum, &term?)?))
}
