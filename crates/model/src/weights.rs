//! A generator's weights as the steps of a plan read them.

use crate::architecture::{AliasNorm, Architecture, Conv, HIDDEN, NormKind};
use crate::choice::{Target, methods};
use crate::{Checkpoint, Error, Result};
use alias_kernels::{TableWeights, winograd_weight};
use alias_plan::{Method, Precision, Statistics, Table};
use alias_tensor::{Gpu, Tensor};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Everything that is the same for all images.
#[derive(Debug)]
pub(crate) struct Weights {
    /// By name of the convolution: (Cin K K + 1, Cout filled up to a multiple of 4), or for Winograd's algorithm (16 Cin + 1,
    /// ...); the last row is the bias.
    pub(crate) convolutions: HashMap<String, Tensor>,
    /// By name of the norm.
    pub(crate) norms: HashMap<String, NormWeights>,
}

#[derive(Debug)]
pub(crate) struct NormWeights {
    pub(crate) table: TableWeights,
    /// (C).
    pub(crate) noise_scale: Tensor,
    /// (C, 8), as a plan's statistics: those of a batch norm, which are the same for all images.
    pub(crate) coefficients: Option<Vec<f32>>,
}

impl Weights {
    /// Packs and uploads the weights of `checkpoint`, which was verified.
    pub(crate) fn new(
        gpu: &Gpu,
        architecture: &Architecture,
        checkpoint: &Checkpoint,
        target: &Target,
    ) -> Result<Weights> {
        let (precision, methods) = (target.precision, methods(architecture, target));
        let halves = || architecture.blocks.iter().flat_map(|block| block.halves());
        let convs = architecture.features.iter().take(architecture.blocks.len());
        let convs = convs.chain(halves().map(|(_, conv)| conv)).chain([&architecture.image]);
        let convs: Vec<_> = convs.collect();
        let norms: Vec<_> = halves().map(|(norm, _)| norm).collect();
        let convolutions = in_parallel(&convs, |conv| {
            Ok((conv.key.clone(), packed(gpu, conv, methods[&conv.key], checkpoint, precision)?))
        });
        let norms =
            in_parallel(&norms, |norm| Ok((norm.key.clone(), NormWeights::new(gpu, norm, checkpoint, precision)?)));
        Ok(Weights { convolutions: convolutions?.into_iter().collect(), norms: norms?.into_iter().collect() })
    }
}

/// `work` of every item, on all processor cores.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mine = std::iter::from_fn(|| items.get(next.fetch_add(1, Ordering::Relaxed)));
        mine.map(&work).collect::<Result<Vec<R>>>()
    };
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers.min(items.len())).map(|_| scope.spawn(run)).collect();
        let mut done = run()?;
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(done)
    })
}

/// Bytes on the device of each of a generator's tensors, as [`Weights::new`] uploads them.
pub(crate) fn bytes(architecture: &Architecture, target: &Target) -> Vec<u64> {
    let methods = methods(architecture, target);
    let stored = target.precision.bytes();
    let halves = || architecture.blocks.iter().flat_map(|block| block.halves());
    let convs = architecture.features.iter().take(architecture.blocks.len());
    let convs = convs.chain(halves().map(|(_, conv)| conv)).chain([&architecture.image]).map(|conv| {
        let taps = if methods[&conv.key] == Method::Winograd { 16 } else { conv.kernel * conv.kernel };
        stored * ((conv.cin * taps + 1) * conv.cout.next_multiple_of(4)) as u64
    });
    let norms = halves().flat_map(|(norm, _)| {
        let shared = Table::patch_width(norm.shared.cin) * HIDDEN;
        let taps = HIDDEN * 9 * Table::columns(norm.channels);
        // The biases and the scale of the noise are float32.
        let [hidden_bias, bias, noise] =
            [HIDDEN, Table::columns(norm.channels), norm.channels].map(|elements| 4 * elements as u64);
        [stored * shared as u64, hidden_bias, stored * taps as u64, bias, noise]
    });
    convs.chain(norms).collect()
}

impl NormWeights {
    fn new(gpu: &Gpu, norm: &AliasNorm, checkpoint: &Checkpoint, precision: Precision) -> Result<NormWeights> {
        let channels = norm.channels;
        let shared = matrix(&norm.shared, checkpoint)?;
        // A patch has its taps outside and its labels inside, as the weight has them, but the weight the other way round.
        let labels = norm.shared.cin;
        let mut rows = vec![0.0; Table::patch_width(labels) * HIDDEN];
        for (k, row) in shared.kernel.chunks(HIDDEN).enumerate() {
            rows[(k % 9 * labels + k / 9) * HIDDEN..][..HIDDEN].copy_from_slice(row);
        }

        let [gamma, beta] = [&norm.gamma, &norm.beta].map(|conv| matrix(conv, checkpoint));
        let (gamma, beta) = (gamma?, beta?);
        let columns = Table::columns(channels);
        let mut taps = vec![0.0; 9 * HIDDEN * columns];
        for (k, (gamma, beta)) in gamma.kernel.chunks(gamma.width).zip(beta.kernel.chunks(beta.width)).enumerate() {
            let row = &mut taps[k * columns..][..2 * channels];
            for (pair, (&gamma, &beta)) in row.chunks_mut(2).zip(gamma.iter().zip(beta)) {
                pair.copy_from_slice(&[gamma, beta]);
            }
        }
        let mut bias: Vec<f32> =
            gamma.bias.iter().zip(&beta.bias).flat_map(|(gamma, beta)| [1.0 + gamma, *beta]).collect();
        bias.truncate(2 * channels);
        bias.resize(columns, 0.0);
        let noise_scale = values(checkpoint, &norm.noise_scale_key())?;
        let coefficients = if norm.kind == NormKind::Batch {
            let [mean, variance] = norm.running_statistics_keys();
            let (mean, variance) = (values(checkpoint, &mean)?, values(checkpoint, &variance)?);
            let all = mean.iter().zip(&variance).zip(&noise_scale);
            let of = |((&mean, &variance), &noise): ((&f32, &f32), &f32)| {
                let scale = 1.0 / (f64::from(variance) + f64::from(Statistics::EPS)).sqrt();
                [mean, 0.0, scale as f32, noise, 0.0, 0.0, 0.0, 0.0]
            };
            Some(all.flat_map(of).collect())
        } else {
            None
        };
        Ok(NormWeights {
            table: TableWeights {
                shared: upload(gpu, precision, &rows)?,
                shared_bias: Tensor::new(gpu, &[HIDDEN], &shared.bias)?,
                taps: upload(gpu, precision, &taps)?,
                bias: Tensor::new(gpu, &[columns], &bias)?,
            },
            noise_scale: Tensor::new(gpu, &[channels], &noise_scale)?,
            coefficients,
        })
    }
}

fn packed(gpu: &Gpu, conv: &Conv, method: Method, checkpoint: &Checkpoint, precision: Precision) -> Result<Tensor> {
    let Matrix { width, mut kernel, bias } = matrix(conv, checkpoint)?;
    if method == Method::Winograd {
        kernel = transformed(&kernel, width);
    }
    kernel.extend(bias);
    upload(gpu, precision, &kernel)
}

/// From (Cin, 9, width) to (Cin, 16, width).
fn transformed(kernel: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; kernel.len() / 9 * 16];
    for (from, to) in kernel.chunks(9 * width).zip(out.chunks_mut(16 * width)) {
        for co in 0..width {
            let weight = winograd_weight(std::array::from_fn(|k| from[k * width + co].into()));
            weight.iter().enumerate().for_each(|(k, &w)| to[k * width + co] = w as f32);
        }
    }
    out
}

/// A convolution's weight, transposed.
struct Matrix {
    /// Output channels, filled up to a multiple of 4.
    width: usize,
    /// (Cin K K, width), divided by the spectral norm.
    kernel: Vec<f32>,
    /// (width), zeros where there is none.
    bias: Vec<f32>,
}

fn matrix(conv: &Conv, checkpoint: &Checkpoint) -> Result<Matrix> {
    let (rows, width) = (conv.cin * conv.kernel * conv.kernel, conv.cout.next_multiple_of(4));
    let weight;
    let mut sigma = 1.0;
    if conv.spectral {
        let [orig, u, v] = conv.spectral_keys().map(|key| values(checkpoint, &key));
        weight = orig?;
        sigma = spectral_norm(&weight, &u?, &v?);
    } else {
        weight = values(checkpoint, &conv.weight_key())?;
    }
    let mut kernel = vec![0.0; rows * width];
    // In blocks: a transposition jumps, on one side or the other.
    for block in 0..rows.div_ceil(32) {
        for (co, weight) in weight.chunks(rows).enumerate() {
            for (k, &w) in weight.iter().enumerate().skip(32 * block).take(32) {
                kernel[k * width + co] = (f64::from(w) / sigma) as f32;
            }
        }
    }
    let mut bias = if conv.bias { values(checkpoint, &conv.bias_key())? } else { Vec::new() };
    bias.resize(width, 0.0);
    Ok(Matrix { width, kernel, bias })
}

/// `u^T W v` (Miyato et al. 2018), W as (Cout, Cin K K).
fn spectral_norm(weight: &[f32], u: &[f32], v: &[f32]) -> f64 {
    let row = |w: &[f32]| w.iter().zip(v).map(|(&w, &v)| f64::from(w) * f64::from(v)).sum::<f64>();
    weight.chunks(v.len()).zip(u).map(|(w, &u)| f64::from(u) * row(w)).sum()
}

fn values(checkpoint: &Checkpoint, key: &str) -> Result<Vec<f32>> {
    let array = checkpoint.get(key).ok_or_else(|| Error::StateDict(format!("no tensor '{key}'")))?;
    Ok(array.to_f32())
}

/// A tensor of stored weights or activations. In half precision it has half as many elements, each a pair.
pub(crate) fn upload(gpu: &Gpu, precision: Precision, values: &[f32]) -> Result<Tensor> {
    match precision {
        Precision::F32 => Ok(Tensor::new(gpu, &[values.len()], values)?),
        Precision::F16 => {
            let halves = halves(values);
            Ok(Tensor::indices(gpu, &[halves.len() / 2], bytemuck::cast_slice(&halves))?)
        }
    }
}

/// Values in half precision, filled up to an even number of them.
pub(crate) fn halves(values: &[f32]) -> Vec<half::f16> {
    let mut halves: Vec<_> = values.iter().map(|&v| half::f16::from_f32(v)).collect();
    halves.resize(halves.len().next_multiple_of(2), half::f16::ZERO);
    halves
}
