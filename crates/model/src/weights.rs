//! A generator's weights as the steps of a plan read them.

use crate::architecture::{AliasNorm, Architecture, Conv, HIDDEN, NormKind, ResBlock};
use crate::choice::{Processor, Target, methods};
use crate::{Checkpoint, Error, Result};
use alias_kernels::winograd_weight;
use alias_plan::{Method, Precision, Statistics, Table};
use alias_tensor::{Gpu, Tensor};
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a device makes of weights.
pub(crate) trait Pack: Debug + Sync {
    /// A convolution's.
    type Convolution: Send + Sync + Debug;
    /// A table's.
    type Table: Send + Sync + Debug;
    /// (C), each channel's scale of the noise.
    type Scale: Send + Sync + Debug;

    /// Weights of a convolution whose input's channels are those of `sources`, one after the other.
    fn convolution(
        &self,
        weights: &Matrix,
        cout: usize,
        sources: &[usize],
        method: Method,
    ) -> Result<Self::Convolution>;
    fn table(&self, weights: &TableMatrices, sources: &[usize]) -> Result<Self::Table>;
    fn scale(&self, values: Vec<f32>) -> Result<Self::Scale>;
}

/// Weights for a GPU.
#[derive(Debug)]
pub(crate) struct GpuPack {
    pub(crate) gpu: Gpu,
    pub(crate) precision: Precision,
}

impl Pack for GpuPack {
    /// (Cin K K + 1, Cout filled up to a multiple of 4), or for Winograd's algorithm (16 Cin + 1, ...); the last row is the bias.
    type Convolution = Tensor;
    type Table = alias_kernels::TableWeights;
    type Scale = Tensor;

    fn convolution(&self, weights: &Matrix, _: usize, _: &[usize], method: Method) -> Result<Tensor> {
        let Matrix { width, kernel, bias } = weights;
        let mut rows = if method == Method::Winograd(2) { transformed(kernel, *width) } else { kernel.clone() };
        rows.extend(bias);
        upload(&self.gpu, self.precision, &rows)
    }

    fn table(&self, weights: &TableMatrices, _: &[usize]) -> Result<alias_kernels::TableWeights> {
        let TableMatrices { shared, shared_bias, taps, bias } = weights;
        Ok(alias_kernels::TableWeights {
            shared: upload(&self.gpu, self.precision, shared)?,
            shared_bias: Tensor::new(&self.gpu, &[HIDDEN], shared_bias)?,
            taps: upload(&self.gpu, self.precision, taps)?,
            bias: Tensor::new(&self.gpu, &[bias.len()], bias)?,
        })
    }

    fn scale(&self, values: Vec<f32>) -> Result<Tensor> {
        Ok(Tensor::new(&self.gpu, &[values.len()], &values)?)
    }
}

/// Weights for processor cores.
#[derive(Debug)]
pub(crate) struct CpuPack;

impl Pack for CpuPack {
    type Convolution = alias_cpu::ConvolutionWeights;
    type Table = alias_cpu::TableWeights;
    type Scale = Vec<f32>;

    fn convolution(
        &self,
        weights: &Matrix,
        cout: usize,
        sources: &[usize],
        method: Method,
    ) -> Result<alias_cpu::ConvolutionWeights> {
        let Matrix { width, kernel, bias } = weights;
        Ok(alias_cpu::ConvolutionWeights::new(kernel, *width, bias, sources, cout, method))
    }

    fn table(&self, weights: &TableMatrices, sources: &[usize]) -> Result<alias_cpu::TableWeights> {
        let TableMatrices { shared, shared_bias, taps, bias } = weights;
        Ok(alias_cpu::TableWeights::new(shared, shared_bias, taps, bias, sources))
    }

    fn scale(&self, values: Vec<f32>) -> Result<Vec<f32>> {
        Ok(values)
    }
}

/// Everything that is the same for all images.
#[derive(Debug)]
pub(crate) struct Weights<P: Pack> {
    /// By name of the convolution.
    pub(crate) convolutions: HashMap<String, P::Convolution>,
    /// By name of the norm.
    pub(crate) norms: HashMap<String, NormWeights<P>>,
}

#[derive(Debug)]
pub(crate) struct NormWeights<P: Pack> {
    pub(crate) table: P::Table,
    pub(crate) noise_scale: P::Scale,
    /// (C, 8), as a plan's statistics: those of a batch norm, which are the same for all images.
    pub(crate) coefficients: Option<Vec<f32>>,
}

impl<P: Pack> Weights<P> {
    /// Packs the weights of `checkpoint`, which was verified.
    pub(crate) fn new(pack: &P, architecture: &Architecture, checkpoint: &Checkpoint, target: &Target) -> Result<Self> {
        let methods = methods(architecture, target);
        let convolutions = in_parallel(&convolutions(architecture), |(conv, sources)| {
            let matrix = matrix(conv, checkpoint)?;
            Ok((conv.key.clone(), pack.convolution(&matrix, conv.cout, sources, methods[&conv.key])?))
        });
        let norms = in_parallel(&norms(architecture), |(norm, sources)| {
            Ok((norm.key.clone(), NormWeights::new(pack, norm, sources, checkpoint)?))
        });
        Ok(Weights { convolutions: convolutions?.into_iter().collect(), norms: norms?.into_iter().collect() })
    }
}

/// All convolutions of images, and the channels of the tensors that each of them reads one after the other.
fn convolutions(architecture: &Architecture) -> Vec<(&Conv, Vec<usize>)> {
    let alone = |conv: &'_ Conv| vec![conv.cin];
    let features = architecture.features.iter().take(architecture.blocks.len()).chain([&architecture.image]);
    features
        .map(|conv| (conv, alone(conv)))
        .chain(of_blocks(architecture).map(|((_, conv), read)| (conv, read)))
        .collect()
}

/// All norms, likewise.
fn norms(architecture: &Architecture) -> Vec<(&AliasNorm, Vec<usize>)> {
    of_blocks(architecture).map(|((norm, _), read)| (norm, read)).collect()
}

fn of_blocks(architecture: &Architecture) -> impl Iterator<Item = (&(AliasNorm, Conv), Vec<usize>)> {
    let of = |block: &'_ ResBlock| [block.sources(false), block.sources(true), block.sources(false)];
    architecture.blocks.iter().flat_map(move |block| block.halves().zip(of(block)))
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

/// Bytes on the device of each of a generator's tensors, as [`Weights::new`] packs them.
pub(crate) fn bytes(architecture: &Architecture, target: &Target) -> Vec<u64> {
    let methods = methods(architecture, target);
    let stored = target.precision.bytes();
    let (convolutions, norms) = (convolutions(architecture), norms(architecture));
    if target.processor == Processor::Cores {
        let of_conv = |(conv, read): (&Conv, Vec<usize>)| {
            alias_cpu::ConvolutionWeights::bytes(&read, conv.kernel, conv.cout, methods[&conv.key])
        };
        let of_norm = |(norm, read): (&AliasNorm, Vec<usize>)| {
            [alias_cpu::TableWeights::bytes(norm.shared.cin, HIDDEN, &read), 4 * norm.channels as u64]
        };
        return convolutions.into_iter().map(of_conv).chain(norms.into_iter().flat_map(of_norm)).collect();
    }
    let convs = convolutions.iter().map(|(conv, _)| {
        let taps = methods[&conv.key].taps(conv.kernel);
        stored * ((conv.cin * taps + 1) * conv.cout.next_multiple_of(4)) as u64
    });
    let norms = norms.iter().flat_map(|(norm, _)| {
        let shared = Table::patch_width(norm.shared.cin) * HIDDEN;
        let taps = HIDDEN * 9 * Table::columns(norm.channels);
        // The biases and the scale of the noise are float32.
        let [hidden_bias, bias, noise] =
            [HIDDEN, Table::columns(norm.channels), norm.channels].map(|elements| 4 * elements as u64);
        [stored * shared as u64, hidden_bias, stored * taps as u64, bias, noise]
    });
    convs.chain(norms).collect()
}

/// A norm's weights as matrices.
pub(crate) struct TableMatrices {
    /// (9 labels filled up to a multiple of 4, hidden): taps outside and labels inside, as patches have them.
    shared: Vec<f32>,
    /// (hidden).
    shared_bias: Vec<f32>,
    /// (hidden, 9, [`Table::columns`]): gamma and beta of a channel side by side.
    taps: Vec<f32>,
    /// (columns): 1 + gamma's, beta's.
    bias: Vec<f32>,
}

impl<P: Pack> NormWeights<P> {
    fn new(pack: &P, norm: &AliasNorm, sources: &[usize], checkpoint: &Checkpoint) -> Result<Self> {
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
        let matrices = TableMatrices { shared: rows, shared_bias: shared.bias, taps, bias };
        Ok(NormWeights { table: pack.table(&matrices, sources)?, noise_scale: pack.scale(noise_scale)?, coefficients })
    }
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
pub(crate) struct Matrix {
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
