//! The losses of generator and discriminator.

use crate::{Error, Result, Vgg19};
use alias_kernels::{Line, ScoreFunction, l1, score_loss, weighted_sum};
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
    /// The discriminator's loss on generated and true images, a scalar. `predictions` are its outputs
    /// ([`MultiscaleDiscriminator::forward`](crate::MultiscaleDiscriminator::forward)) on a batch whose first half is
    /// generated, whose second half is true.
    ///
    /// # Errors
    /// What the device reports.
    pub fn discriminator_loss(self, predictions: &[Vec<Tensor>]) -> Result<Tensor> {
        let (function, [generated, real]) = match self {
            Gan::Hinge => (ScoreFunction::Relu, [line(1.0, 1.0), line(-1.0, 1.0)]),
            // -log(1 - sigmoid(x)) = softplus(x), -log(sigmoid(x)) = softplus(-x)
            Gan::Vanilla => (ScoreFunction::Softplus, [line(1.0, 0.0), line(-1.0, 0.0)]),
            Gan::LeastSquares => (ScoreFunction::Square, [line(1.0, 0.0), line(1.0, -1.0)]),
        };
        // The sum of the means of both halves is twice the mean of all.
        mean_of_scores(predictions, 2.0, |scores| score_loss(scores, function, [generated, real]))
    }

    /// The generator's adversarial loss, from the discriminator's outputs on its images; a scalar.
    ///
    /// # Errors
    /// What the device reports.
    pub fn generator_loss(self, predictions: &[Vec<Tensor>]) -> Result<Tensor> {
        let (function, real) = match self {
            Gan::Hinge => (ScoreFunction::Identity, line(-1.0, 0.0)),
            Gan::Vanilla => (ScoreFunction::Softplus, line(-1.0, 0.0)),
            Gan::LeastSquares => (ScoreFunction::Square, line(1.0, -1.0)),
        };
        mean_of_scores(predictions, 1.0, |scores| score_loss(scores, function, [real; 2]))
    }
}

fn line(scale: f32, shift: f32) -> Line {
    Line { scale, shift }
}

/// `factor` times the mean of `loss` over scales, on the scores, which are each scale's last output.
fn mean_of_scores(
    predictions: &[Vec<Tensor>],
    factor: f32,
    loss: impl Fn(&Tensor) -> alias_tensor::Result<Tensor>,
) -> Result<Tensor> {
    let losses = predictions.iter().filter_map(|outputs| outputs.last()).map(loss);
    let losses = losses.collect::<alias_tensor::Result<Vec<_>>>()?;
    Ok(weighted_sum(&weighted(&losses, factor / predictions.len() as f32))?)
}

/// All terms with the same weight.
fn weighted(terms: &[Tensor], weight: f32) -> Vec<(&Tensor, f32)> {
    terms.iter().map(|term| (term, weight)).collect()
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
    let distances = layers.map(|(fake, real)| l1(fake, &real.detach()));
    Ok(weighted_sum(&weighted(&distances.collect::<alias_tensor::Result<Vec<_>>>()?, 1.0 / fake.len() as f32))?)
}

/// The perceptual loss (Johnson et al. 2016): the weighted sum of L1 distances between VGG-19's features of two images;
/// a scalar. `real` gets no gradient.
///
/// # Errors
/// What the device reports.
pub fn perceptual(vgg: &Vgg19, fake: &Tensor, real: &Tensor) -> Result<Tensor> {
    let real = no_grad(|| vgg.forward(real))?;
    let features = vgg.forward(fake)?.into_iter().zip(real);
    let distances = features.map(|(fake, real)| l1(&fake, &real)).collect::<alias_tensor::Result<Vec<_>>>()?;
    Ok(weighted_sum(&distances.iter().zip(PERCEPTUAL_WEIGHTS).collect::<Vec<_>>())?)
}
