//! A normalization on the tape.

use super::activation::activate;
use super::conv::{Conv2d, State, once};
use super::windows::WindowTable;
use crate::network::{Activation, Modulation, Norm, NormKind, Spade};
use crate::{Noise, Result};
use alias_kernels::{
    PackedWeight, RunningStatistics, add_noise, affine, batch_norm, batch_norm_train, conv2d, conv2d_packed,
    instance_norm, instance_norm_leaky_relu, mask_norm, modulate, modulate_by_table, sum_windows, taps,
};
use alias_plan::Statistics;
use alias_tensor::{Pass, Tensor};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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
    /// The [`taps`] of gamma and beta, if they get no gradient. Packed when they are first needed.
    taps: OnceLock<PackedWeight>,
}

/// What a norm is conditioned on, at the size of the normalized tensor.
pub(super) struct Condition {
    /// SPADE's scale and shift.
    pub(super) modulation: Option<ScaleAndShift>,
    /// Mask norm's mask (N, 1, H, W).
    pub(super) mask: Option<Tensor>,
}

/// SPADE's gamma and beta.
#[derive(Clone, Debug)]
pub(super) enum ScaleAndShift {
    /// Of every pixel: (N, C, H, W) each.
    Dense { gamma: Tensor, beta: Tensor },
    /// Of each distinct 5x5 window: (1, 2 C, 1, E), as [`modulate_by_table`] takes it.
    Table { values: Tensor, windows: Arc<WindowTable> },
}

impl ScaleAndShift {
    /// Modulation and then leaky ReLU; a `slope` of 1 is none.
    fn apply(&self, standardized: &Tensor, slope: f32) -> alias_tensor::Result<Tensor> {
        match self {
            ScaleAndShift::Dense { gamma, beta } => modulate(standardized, gamma, beta, slope),
            ScaleAndShift::Table { values, windows } => {
                modulate_by_table(standardized, values, &windows.entries, slope)
            }
        }
    }
}

/// How a forward pass computes norms.
#[derive(Clone, Copy)]
pub(super) struct Mode {
    pub(super) noise: Noise,
    /// Whether batch norm uses the batch's statistics.
    pub(super) in_training: bool,
    pub(super) pass: Pass,
}

/// The form in which SPADE reads its label map.
pub(super) enum Labels {
    /// Every pixel: (N, classes, H, W).
    Dense(Tensor),
    /// The distinct windows.
    Table(Arc<WindowTable>),
}

impl TapeNorm {
    pub(super) fn new(norm: &Norm, state: &mut State) -> Result<TapeNorm> {
        let running = norm.kind.running_statistics_keys().map(|[mean, variance]| {
            Ok::<_, crate::Error>(Mutex::new(RunningStatistics {
                mean: state.take(&mean)?,
                variance: state.take(&variance)?,
            }))
        });
        let running = running.transpose()?;
        let noise =
            norm.noise_stream.map(|stream| Ok::<_, crate::Error>((stream, state.take(&norm.noise_scale_key())?)));
        let noise = noise.transpose()?;
        let modulation = match &norm.modulation {
            Modulation::None => TapeModulation::None,
            Modulation::Affine => {
                let [weight, bias] = norm.affine_keys();
                TapeModulation::Affine { weight: state.take(&weight)?, bias: state.take(&bias)? }
            }
            Modulation::Spade(spade) => {
                let Spade { shared, gamma, beta, .. } = &**spade;
                let shared = Conv2d::new(shared, state)?;
                let (gamma, beta) = (Conv2d::with_weight(gamma, state)?, Conv2d::with_weight(beta, state)?);
                TapeModulation::Spade(Box::new(TapeSpade { shared, gamma, beta, taps: OnceLock::new() }))
            }
        };
        Ok(TapeNorm { noise, running, modulation })
    }

    /// The running statistics of a batch norm.
    pub(super) fn running(&self) -> Option<RunningStatistics> {
        Some(self.running.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// SPADE's scale and shift for these labels, `None` for other norms.
    pub(super) fn scale_and_shift(&self, labels: Labels) -> alias_tensor::Result<Option<ScaleAndShift>> {
        match &self.modulation {
            TapeModulation::Spade(spade) => spade.scale_and_shift(labels).map(Some),
            TapeModulation::None | TapeModulation::Affine { .. } => Ok(None),
        }
    }

    /// The norm of `x` and then `activation`. In training, batch norm uses the batch's statistics. It updates its running
    /// statistics in the first pass only, so that recomputation does not update them twice.
    pub(super) fn forward(
        &self,
        norm: &Norm,
        x: &Tensor,
        condition: &Condition,
        mode: Mode,
        activation: Activation,
    ) -> alias_tensor::Result<Tensor> {
        let Mode { noise, in_training, pass } = mode;
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
            _ => match (&self.modulation, activation) {
                (TapeModulation::None, Activation::LeakyRelu { slope }) if slope > 0.0 => {
                    return instance_norm_leaky_relu(&x, EPS, slope);
                }
                _ => instance_norm(&x, EPS)?,
            },
        };
        match (&self.modulation, &condition.modulation) {
            (TapeModulation::Affine { weight, bias }, _) => activate(affine(&standardized, weight, bias)?, activation),
            (TapeModulation::Spade(_), Some(modulation)) => match activation {
                Activation::LeakyRelu { slope } if slope > 0.0 => modulation.apply(&standardized, slope),
                other => activate(modulation.apply(&standardized, 1.0)?, other),
            },
            _ => activate(standardized, activation),
        }
    }
}

impl TapeSpade {
    fn scale_and_shift(&self, labels: Labels) -> alias_tensor::Result<ScaleAndShift> {
        Ok(match labels {
            Labels::Dense(labels) => {
                let hidden = self.shared.forward(&labels, 0.0)?;
                ScaleAndShift::Dense {
                    gamma: self.gamma.forward(&hidden, 1.0)?,
                    beta: self.beta.forward(&hidden, 1.0)?,
                }
            }
            Labels::Table(windows) => {
                let hidden = self.shared.forward_unfolded(&windows.patches, 0.0)?;
                ScaleAndShift::Table { values: self.table(&hidden, &windows)?, windows }
            }
        })
    }

    /// Gamma and beta at the centre of each 5x5 window: (1, 2 C, 1, E). `hidden` (1, hidden, U / 8, 8) are their inputs
    /// for the 3x3 windows.
    fn table(&self, hidden: &Tensor, table: &WindowTable) -> alias_tensor::Result<Tensor> {
        let weights = [&self.gamma, &self.beta].map(Conv2d::weight);
        let biases = [&self.gamma, &self.beta].map(|conv| conv.bias().expect("gamma and beta have a bias"));
        let products = if weights.iter().any(|weight| weight.is_tracked()) {
            conv2d(hidden, &taps(weights)?, None, 1, 0)?
        } else {
            conv2d_packed(hidden, once(&self.taps, || PackedWeight::new(&taps(weights)?))?, None, 1, 0)?
        };
        let [_, c, h, w] = products.shape().nchw("table", "products")?;
        sum_windows(&products.reshape(&[1, c, 1, h * w])?, &table.windows, biases)
    }
}
