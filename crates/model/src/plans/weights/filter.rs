//! A convolution's weight and bias, as in a checkpoint.

use super::values;
use crate::network::Conv;
use crate::{Checkpoint, Result};

/// A convolution's weight and bias, as in a checkpoint.
pub(in crate::plans) struct Filter {
    /// (Cout, Cin, K, K).
    pub(in crate::plans) weight: Vec<f32>,
    /// Factor of the weight: 1 over its spectral norm, or 1.
    pub(in crate::plans) scale: f64,
    /// (Cout), zeros if there is none.
    pub(in crate::plans) bias: Vec<f32>,
}

impl Filter {
    pub(in crate::plans) fn new(conv: &Conv, checkpoint: &Checkpoint) -> Result<Filter> {
        let [orig, u, v] = conv.spectral_keys();
        let weight = values(checkpoint, &if conv.spectral { orig } else { conv.weight_key() })?;
        let scale = if conv.spectral {
            1.0 / spectral_norm(&weight, &values(checkpoint, &u)?, &values(checkpoint, &v)?)
        } else {
            1.0
        };
        let bias = if conv.bias { values(checkpoint, &conv.bias_key())? } else { vec![0.0; conv.cout] };
        Ok(Filter { weight, scale, bias })
    }

    /// The same for `alias-cpu`, which packs it.
    pub(in crate::plans) fn view(&self) -> alias_cpu::Filter<'_> {
        alias_cpu::Filter { weight: &self.weight, scale: self.scale, bias: &self.bias }
    }

    /// Output channels, and weights of each.
    pub(in crate::plans) fn shape(&self) -> [usize; 2] {
        [self.bias.len(), self.weight.len() / self.bias.len()]
    }

    /// The scaled weight, transposed and padded with zeros: (Cin K K, `width`).
    pub(in crate::plans) fn transposed(&self, width: usize) -> Vec<f32> {
        let [_, rows] = self.shape();
        let mut transposed = vec![0.0; rows * width];
        // In blocks that fit the cache, since a transposition reads or writes with a large stride.
        for block in 0..rows.div_ceil(32) {
            for (co, weight) in self.weight.chunks(rows).enumerate() {
                for (k, &w) in weight.iter().enumerate().skip(32 * block).take(32) {
                    transposed[k * width + co] = (f64::from(w) * self.scale) as f32;
                }
            }
        }
        transposed
    }
}

/// `u^T W v` (Miyato et al. 2018), W as (Cout, Cin K K).
fn spectral_norm(weight: &[f32], u: &[f32], v: &[f32]) -> f64 {
    weight.chunks(v.len()).zip(u).map(|(row, &u)| f64::from(u) * dot(row, v)).sum()
}

/// Eight independent sums, so that no addition waits for the one before.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for k in 0..8 {
            sums[k] += f64::from(a[k]) * f64::from(b[k]);
        }
    }
    let rest = rest_a.iter().zip(rest_b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    sums.into_iter().chain(rest).sum()
}
