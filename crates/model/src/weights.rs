//! A generator's weights as the steps of a plan read them.

mod cpu;
mod gpu;
mod kernel;

pub(crate) use cpu::CpuPack;
pub(crate) use gpu::{GpuPack, halves};
pub(crate) use kernel::Kernel;

use crate::architecture::{AliasNorm, Architecture, Conv, HIDDEN, NormKind, ResBlock};
use crate::choice::{Processor, Target, methods};
use crate::{Checkpoint, Error, Result};
use alias_plan::{Method, Statistics, Table};
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
    fn convolution(&self, kernel: &Kernel, sources: &[usize], method: Method) -> Result<Self::Convolution>;
    /// Weights of a norm's shared convolution, gamma's and beta's.
    fn table(&self, kernels: [&Kernel; 3], sources: &[usize]) -> Result<Self::Table>;
    fn scale(&self, values: Vec<f32>) -> Result<Self::Scale>;
    /// How many threads pack.
    fn threads(&self) -> usize;
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
        let convolutions = in_parallel(pack.threads(), &convolutions(architecture), |(conv, sources)| {
            let kernel = Kernel::new(conv, checkpoint)?;
            Ok((conv.key.clone(), pack.convolution(&kernel, sources, methods[&conv.key])?))
        });
        let norms = in_parallel(pack.threads(), &norms(architecture), |(norm, sources)| {
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

/// `work` of every item, on so many threads.
fn in_parallel<T: Sync, R: Send>(threads: usize, items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mine = std::iter::from_fn(|| items.get(next.fetch_add(1, Ordering::Relaxed)));
        mine.map(&work).collect::<Result<Vec<R>>>()
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(items.len())).map(|_| scope.spawn(run)).collect();
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

impl<P: Pack> NormWeights<P> {
    fn new(pack: &P, norm: &AliasNorm, sources: &[usize], checkpoint: &Checkpoint) -> Result<Self> {
        let kernel = |conv| Kernel::new(conv, checkpoint);
        let (shared, gamma, beta) = (kernel(&norm.shared)?, kernel(&norm.gamma)?, kernel(&norm.beta)?);
        let table = pack.table([&shared, &gamma, &beta], sources)?;
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
        Ok(NormWeights { table, noise_scale: pack.scale(noise_scale)?, coefficients })
    }
}

fn values(checkpoint: &Checkpoint, key: &str) -> Result<Vec<f32>> {
    let array = checkpoint.get(key).ok_or_else(|| Error::StateDict(format!("no tensor '{key}'")))?;
    Ok(array.to_f32()?)
}
