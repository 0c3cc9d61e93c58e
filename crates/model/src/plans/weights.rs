//! A network's weights, packed as a device reads them.

mod cpu;
mod filter;
mod gpu;

pub(super) use cpu::CpuPack;
pub(super) use filter::Filter;
pub(super) use gpu::GpuPack;

use super::choice::{Target, methods};
use crate::network::{Conv, Layer, Linear, Modulation, Network, Norm, Spade};
use crate::{Checkpoint, Error, Processor, Result, StateDictError};
use alias_plan::{Method, ModulationTable, Statistics};
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

/// Packs weights for a kind of device.
pub(super) trait Pack: Debug + Sync {
    /// The packed weights of a convolution.
    type Convolution: Send + Sync + Debug;
    /// The packed weights of a linear layer.
    type Linear: Send + Sync + Debug;
    /// The packed weights of a modulation table.
    type Table: Send + Sync + Debug;
    /// The scale of the noise in each channel, (C).
    type Scale: Send + Sync + Debug;

    /// Packs a convolution. `operands` are the channels of each tensor that it reads.
    fn convolution(&self, filter: &Filter, operands: &[usize], method: Method) -> Result<Self::Convolution>;
    /// Packs a linear layer's weight (outputs, inputs) and bias (outputs).
    fn linear(&self, weight: &[f32], bias: &[f32], operands: &[usize]) -> Result<Self::Linear>;
    /// Packs SPADE's convolutions: shared, gamma and beta.
    fn table(&self, filters: [&Filter; 3], operands: &[usize]) -> Result<Self::Table>;
    fn scale(&self, values: Vec<f32>) -> Result<Self::Scale>;
    /// Number of threads that pack.
    fn threads(&self) -> usize;
}

/// The packed weights of a network.
#[derive(Debug)]
pub(super) struct Weights<P: Pack> {
    /// By name of the convolution.
    pub(super) convolutions: HashMap<String, P::Convolution>,
    /// By name of the linear layer.
    pub(super) linears: HashMap<String, P::Linear>,
    /// By name of the norm.
    pub(super) norms: HashMap<String, NormWeights<P>>,
}

#[derive(Debug)]
pub(super) struct NormWeights<P: Pack> {
    /// SPADE's convolutions.
    pub(super) table: Option<P::Table>,
    /// (C), zeros without noise.
    pub(super) noise_scale: P::Scale,
    /// (C, 8): a batch norm's coefficients, as in [`Statistics::output`].
    pub(super) coefficients: Option<Vec<f32>>,
}

impl<P: Pack> Weights<P> {
    /// Packs the weights of a verified checkpoint.
    pub(super) fn new(pack: &P, network: &Network, checkpoint: &Checkpoint, target: &Target) -> Result<Self> {
        let methods = methods(network, target);
        let layers: Vec<(&Layer, &Conv)> = network.convolutions().map(|(_, layer, conv)| (layer, conv)).collect();
        let convolutions = in_parallel(pack.threads(), &layers, |(layer, conv)| {
            let filter = Filter::new(conv, checkpoint)?;
            let operands = network.source_channels(layer);
            Ok((conv.key.clone(), pack.convolution(&filter, &operands, methods[&conv.key])?))
        });
        let linears = network.linears().map(|(layer, linear)| {
            let [weight, bias] = linear.keys().map(|key| values(checkpoint, &key));
            Ok((linear.key.clone(), pack.linear(&weight?, &bias?, &network.source_channels(layer))?))
        });
        let linears = linears.collect::<Result<_>>()?;
        let layers: Vec<(&Layer, &Norm)> = network.norms().collect();
        let norms = in_parallel(pack.threads(), &layers, |(layer, norm)| {
            let operands = network.source_channels(layer);
            Ok((norm.key.clone(), NormWeights::new(pack, norm, &operands, checkpoint)?))
        });
        let (convolutions, norms) = (convolutions?.into_iter().collect(), norms?.into_iter().collect());
        Ok(Weights { convolutions, linears, norms })
    }
}

/// The results of `work` on every item, in any order, from `threads` threads, or fewer where the system refuses some.
fn in_parallel<T: Sync, R: Send>(threads: usize, items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mine = std::iter::from_fn(|| items.get(next.fetch_add(1, Ordering::Relaxed)));
        mine.map(&work).collect::<Result<Vec<R>>>()
    };
    std::thread::scope(|scope| {
        let spawn = |_| Builder::new().spawn_scoped(scope, run).ok();
        let others: Vec<_> = (1..threads.min(items.len())).map_while(spawn).collect();
        let mut done = run()?;
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(done)
    })
}

/// Bytes on the device of each tensor that [`Weights::new`] packs.
pub(super) fn bytes(network: &Network, target: &Target) -> Vec<u64> {
    let methods = methods(network, target);
    let stored = target.precision.bytes();
    let for_cores = target.processor == Processor::Cores;
    let convolutions = network.convolutions().map(|(_, layer, conv)| {
        let (Conv { kernel, cin, cout, .. }, method) = (conv, methods[&conv.key]);
        if for_cores {
            return alias_cpu::ConvolutionWeights::bytes(&network.source_channels(layer), *kernel, *cout, method);
        }
        stored * ((cin * method.taps(*kernel) + 1) * cout.next_multiple_of(4)) as u64
    });
    let linears = network.linears().map(|(layer, Linear { inputs, outputs, .. })| {
        if for_cores {
            return alias_cpu::LinearWeights::bytes(&network.source_channels(layer), *inputs, *outputs);
        }
        stored * ((inputs + 1) * outputs) as u64
    });
    let norms = network.norms().flat_map(|(layer, norm)| {
        let operands = network.source_channels(layer);
        let channels: usize = operands.iter().sum();
        let mut bytes = vec![4 * channels as u64];
        if let Some(Spade { shared, .. }) = norm.spade() {
            let (labels, hidden, columns) = (shared.cin, shared.cout, ModulationTable::columns(channels));
            if for_cores {
                bytes.push(alias_cpu::TableWeights::bytes(labels, hidden, &operands));
            } else {
                let weights = [ModulationTable::patch_width(labels) * hidden, hidden * 9 * columns];
                bytes.extend(weights.map(|elements| stored * elements as u64));
                // Biases are float32.
                bytes.extend([hidden, columns].map(|elements| 4 * elements as u64));
            }
        }
        bytes
    });
    convolutions.chain(linears).chain(norms).collect()
}

impl<P: Pack> NormWeights<P> {
    fn new(pack: &P, norm: &Norm, operands: &[usize], checkpoint: &Checkpoint) -> Result<Self> {
        let channels = operands.iter().sum();
        let table = norm.spade().map(|spade| {
            let [shared, gamma, beta] = [&spade.shared, &spade.gamma, &spade.beta].map(|c| Filter::new(c, checkpoint));
            pack.table([&shared?, &gamma?, &beta?], operands)
        });
        let noise_scale = match norm.noise_stream {
            Some(_) => values(checkpoint, &norm.noise_scale_key())?,
            None => vec![0.0; channels],
        };
        let coefficients = norm.kind.running_statistics_keys().map(|[mean, variance]| {
            let (mean, variance) = (values(checkpoint, &mean)?, values(checkpoint, &variance)?);
            let [weight, bias] = match norm.modulation {
                Modulation::Affine => norm.affine_keys().map(|key| values(checkpoint, &key)),
                Modulation::None | Modulation::Spade(_) => [Ok(vec![1.0; channels]), Ok(vec![0.0; channels])],
            };
            let (weight, bias) = (weight?, bias?);
            let of = |c: usize| {
                let scale = 1.0 / (f64::from(variance[c]) + f64::from(Statistics::EPS)).sqrt();
                [mean[c], 0.0, scale as f32, noise_scale[c], 0.0, 0.0, weight[c], bias[c]]
            };
            Ok::<_, Error>((0..channels).flat_map(of).collect())
        });
        Ok(NormWeights {
            table: table.transpose()?,
            coefficients: coefficients.transpose()?,
            noise_scale: pack.scale(noise_scale)?,
        })
    }
}

fn values(checkpoint: &Checkpoint, key: &str) -> Result<Vec<f32>> {
    let array = checkpoint.get(key).ok_or_else(|| StateDictError::Missing { key: key.to_owned() })?;
    Ok(array.to_f32()?)
}
