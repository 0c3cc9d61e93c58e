//! A normalization on the tape.

use super::conv::{Conv2d, Take};
use super::windows::WindowTable;
use crate::network::{Modulation, Norm, NormKind, Spade};
use crate::{Noise, Result};
use alias_kernels::{
    RunningStatistics, add_noise, affine, batch_norm, batch_norm_train, instance_norm, mask_norm, modulate,
    modulate_by_table, relu,
};
use alias_plan::Statistics;
use alias_tensor::{Pass, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

/// Added to every variance.
const EPS: f32 = Statistics::EPS;
/// Momentum of batch norm's running statistics, PyTorch's default.
const MOMENTUM: f32 = 0.1;

/// A normalization's tensors.
#[derive(Debug)]
pub(super) struct TapeNorm {
    noise: Option<(u32, Tensor)>,
    /// Batch norm's running statistics.
    running: Option<Mutex<RunningStatistics>>,
    modulation: TapeModulation,
}

#[derive(Debug)]
enum TapeModulation {
    None,
    Affine { weight: Tensor, bias: Tensor },
    Spade(Box<TapeSpade>),
}

#[derive(Debug)]
struct TapeSpade {
    shared: Conv2d,
    gamma: Conv2d,
    beta: Conv2d,
}

/// What a norm is conditioned on, at the size of the normalized tensor.
pub(super) struct Condition {
    /// SPADE's labels.
    pub(super) labels: Option<Labels>,
    /// Mask norm's mask (N, 1, H, W).
    pub(super) mask: Option<Tensor>,
}

/// The form in which SPADE reads its label map.
pub(super) enum Labels {
    /// Every pixel: (N, classes, H, W).
    Dense(Tensor),
    /// The distinct windows.
    Table(Arc<WindowTable>),
}

impl TapeNorm {
    pub(super) fn new(norm: &Norm, take: Take) -> Result<TapeNorm> {
        let running = norm.kind.running_statistics_keys().map(|[mean, variance]| {
            Ok::<_, crate::Error>(Mutex::new(RunningStatistics { mean: take(&mean)?, variance: take(&variance)? }))
        });
        let running = running.transpose()?;
        let noise = norm.noise_stream.map(|stream| Ok::<_, crate::Error>((stream, take(&norm.noise_scale_key())?)));
        let noise = noise.transpose()?;
        let modulation = match &norm.modulation {
            Modulation::None => TapeModulation::None,
            Modulation::Affine => {
                let [weight, bias] = norm.affine_keys();
                TapeModulation::Affine { weight: take(&weight)?, bias: take(&bias)? }
            }
            Modulation::Spade(spade) => {
                let Spade { shared, gamma, beta, .. } = &**spade;
                let shared = Conv2d::new(shared, take)?;
                let (gamma, beta) = (Conv2d::with_taps(gamma, take)?, Conv2d::with_taps(beta, take)?);
                TapeModulation::Spade(Box::new(TapeSpade { shared, gamma, beta }))
            }
        };
        Ok(TapeNorm { noise, running, modulation })
    }

    /// The running statistics of a batch norm.
    pub(super) fn running(&self) -> Option<RunningStatistics> {
        Some(self.running.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// In training, batch norm uses the batch's statistics. It updates its running statistics in the first pass only,
    /// so that recomputation does not update them twice.
    pub(super) fn forward(
        &self,
        norm: &Norm,
        x: &Tensor,
        condition: &Condition,
        noise: Noise,
        in_training: bool,
        pass: Pass,
    ) -> alias_tensor::Result<Tensor> {
        let x = match (&self.noise, noise) {
            (Some((stream, scale)), Noise::Seed(seed)) => add_noise(x, scale, seed, *stream)?,
            _ => x.clone(),
        };
        let standardized = match (&norm.kind, &self.running, &condition.mask) {
            (NormKind::Mask { .. }, _, Some(mask)) => mask_norm(&x, mask, EPS)?,
            (_, Some(running), _) => {
                let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
                if in_training {
                    let (y, moved) = batch_norm_train(&x, &running, MOMENTUM, EPS)?;
                    if pass == Pass::First {
                        *running = moved;
                    }
                    y
                } else {
                    batch_norm(&x, &running, EPS)?
                }
            }
            _ => instance_norm(&x, EPS)?,
        };
        match (&self.modulation, &condition.labels) {
            (TapeModulation::Affine { weight, bias }, _) => affine(&standardized, weight, bias),
            (TapeModulation::Spade(spade), Some(labels)) => spade.forward(&standardized, labels),
            _ => Ok(standardized),
        }
    }
}

impl TapeSpade {
    fn forward(&self, standardized: &Tensor, labels: &Labels) -> alias_tensor::Result<Tensor> {
        match labels {
            Labels::Dense(labels) => {
                let hidden = relu(&self.shared.forward(labels)?)?;
                modulate(standardized, &self.gamma.forward(&hidden)?, &self.beta.forward(&hidden)?)
            }
            Labels::Table(table) => {
                let hidden = relu(&self.shared.forward_unfolded(&table.patches)?)?;
                let (gamma, beta) = (table.convolve(&self.gamma, &hidden)?, table.convolve(&self.beta, &hidden)?);
                modulate_by_table(standardized, &gamma, &beta, &table.entries)
            }
        }
    }
}
