//! A network's layers on the tape.

use super::activation::activate;
use super::conv::{Conv2d, State};
use super::feed::{Feed, LabelFeed};
use super::forward::{Forward, Scope, SharedConditions, SpadeMethod};
use super::norm::{Condition, Labels, Mode, TapeNorm};
use crate::network::{Activation, Dropout, Layer, Network, Norm, NormKind, Operation, Pool, PoolKind, Source, Value};
use crate::{Checkpoint, ConfigError, Error, InputError, Noise, Result, StateDictError};
use alias_kernels::{
    RunningStatistics, add, avg_pool, concat, correlation, dropout, l2_normalize, linear, max_pool, resize, slice,
};
use alias_tensor::{Device, Pass, Tensor, enable_grad};
use std::ops::Range;
use std::sync::Arc;

/// A network with its tensors on a device, for gradients: forward passes are recorded on the tape.
/// [`Session`](crate::Session) computes the same with a fraction of the operations and the memory.
///
/// Clones are cheap and share the tensors.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::network::{Builder, Conv, Reading};
/// use alias_model::{Feed, Module, Noise, fill};
/// use alias_tensor::{Device, Tensor};
///
/// let mut net = Builder::new("Edges");
/// let image = net.input("image", 3);
/// let edges = net.convolution(Reading::of(image), Conv::same("edges", 3, 1, 3));
/// net.output("edges", edges);
/// let network = net.finish();
///
/// let device = Device::auto()?;
/// let module = Module::load(&device, &network, &fill(&network, 1))?;
/// let image = Tensor::new(&device, &[1, 3, 4, 5], &[0.5; 60])?;
/// let outputs = module.forward(&[Feed::Tensor(image)], Noise::None)?;
/// assert_eq!(*outputs[0].shape(), [1, 1, 4, 5]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Module(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    network: Network,
    layers: Vec<TapeLayer>,
    /// Whether batch norm uses the batch's statistics and updates its running statistics.
    in_training: bool,
    /// Whether blocks are recomputed for the gradients, instead of keeping their intermediate results.
    recomputes: bool,
}

/// A layer's tensors.
#[derive(Debug)]
struct TapeLayer {
    norm: Option<TapeNorm>,
    operation: TapeOperation,
}

#[derive(Debug)]
enum TapeOperation {
    Convolution(Conv2d),
    Linear { weight: Tensor, bias: Tensor },
    Pool(Pool),
    Dropout(Dropout),
    L2Normalization,
    Correlation,
}

impl Module {
    /// Loads a checkpoint.
    ///
    /// # Errors
    /// [`Error::StateDict`] if it is not exactly the network's state dict, or an error of the device.
    pub fn load(device: impl Into<Device>, network: &Network, checkpoint: &Checkpoint) -> Result<Module> {
        let checkpoint = network.state_dict_in(checkpoint)?;
        network.verify(&checkpoint, true)?;
        Module::of_verified(&device.into(), network.clone(), &checkpoint)
    }

    /// Loads a checkpoint that [`Network::verify`] has accepted.
    ///
    /// # Errors
    /// [`Error::StateDict`] if a tensor is missing, or an error of the device.
    pub fn of_verified(device: &Device, network: Network, checkpoint: &Checkpoint) -> Result<Module> {
        Module::from_state(network, |key, shape| {
            let array = checkpoint.get(key).ok_or_else(|| StateDictError::Missing { key: key.to_owned() })?;
            Ok(Tensor::new(device, shape, &array.to_f32()?)?)
        })
    }

    /// Assembles a network from tensors. `state` returns each tensor of the state dict that layers use, by name and
    /// shape. The tensor may be [tracked](Tensor::requires_grad).
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::{Feed, Module, Noise, fill};
    /// use alias_tensor::{Device, Tensor};
    /// # use alias_model::network::{Builder, Conv, Reading};
    /// # let mut net = Builder::new("Edges");
    /// # let image = net.input("image", 3);
    /// # let edges = net.convolution(Reading::of(image), Conv::same("edges", 3, 1, 3));
    /// # net.output("edges", edges);
    /// # let network = net.finish();
    ///
    /// let device = Device::auto()?;
    /// let checkpoint = fill(&network, 1);
    /// let mut learned = Vec::new();
    /// let module = Module::from_state(network, |key, shape| {
    ///     let values = checkpoint.get(key).expect("it has every tensor").to_f32()?;
    ///     learned.push(Tensor::new(&device, shape, &values)?.requires_grad());
    ///     Ok(learned[learned.len() - 1].clone())
    /// })?;
    /// let image = Tensor::new(&device, &[1, 3, 4, 5], &[0.5; 60])?;
    /// let edges = module.forward(&[Feed::Tensor(image)], Noise::None)?.remove(0);
    /// let gradients = edges.backward(&Tensor::new(&device, &[1, 1, 4, 5], &[1.0; 20])?)?;
    /// assert!(learned.len() == 2 && learned.iter().all(|tensor| gradients.get(tensor).is_some())); // weight, bias
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] if the tape does not support a layer, or an error of `state` or the device.
    pub fn from_state(network: Network, state: impl FnMut(&str, &[usize]) -> Result<Tensor>) -> Result<Module> {
        Module::assemble(network, state, false)
    }

    /// Assembles a network [for training](Module::in_training). Weights with spectral norm are divided by it after one
    /// round of power iteration, as PyTorch does before each forward pass in training; [`Module::moved_state`] returns
    /// the new u and v. Else as [`Module::from_state`].
    ///
    /// # Errors
    /// As [`Module::from_state`].
    pub fn for_training(
        network: Network,
        recomputes: bool,
        state: impl FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<Module> {
        Ok(Module::assemble(network, state, true)?.in_training(recomputes))
    }

    fn assemble(
        network: Network,
        mut state: impl FnMut(&str, &[usize]) -> Result<Tensor>,
        iterates: bool,
    ) -> Result<Module> {
        let shapes = network.state_dict();
        let state = &mut State { take: &mut |key| state(key, &shapes[key]), iterates };
        let mut layer = |layer: &Layer| {
            check(&network, layer)?;
            let norm = layer.reading.norm.as_ref().map(|norm| TapeNorm::new(norm, state)).transpose()?;
            let operation = match &layer.operation {
                Operation::Convolution(conv) => TapeOperation::Convolution(Conv2d::new(conv, state)?),
                Operation::Linear(linear) => {
                    let [weight, bias] = linear.keys();
                    TapeOperation::Linear { weight: state.take(&weight)?, bias: state.take(&bias)? }
                }
                Operation::Pool(pool) => TapeOperation::Pool(*pool),
                Operation::Dropout(dropout) => TapeOperation::Dropout(*dropout),
                Operation::L2Normalization => TapeOperation::L2Normalization,
                Operation::Correlation(_) => TapeOperation::Correlation,
            };
            Ok::<_, Error>(TapeLayer { norm, operation })
        };
        let layers = network.layers.iter().map(&mut layer).collect::<Result<_>>()?;
        Ok(Module(Arc::new(Inner { network, layers, in_training: false, recomputes: false })))
    }

    /// Switches to training: batch norm uses the batch's statistics and updates its running statistics. With
    /// `recomputes`, only the inputs of blocks are kept, and blocks are recomputed for their gradients, which takes a
    /// fraction of the memory and a third more time.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::network::{Builder, Conv, Reading};
    /// use alias_model::{Feed, Module, Noise, fill};
    /// use alias_tensor::{Device, Tensor};
    ///
    /// let mut net = Builder::new("Normalized");
    /// let image = net.input("image", 1);
    /// let result = net.convolution(Reading::of(image).batch_norm("norm"), Conv::same("conv", 1, 1, 1));
    /// net.output("result", result);
    /// let network = net.finish();
    ///
    /// let device = Device::auto()?;
    /// let module = Module::load(&device, &network, &fill(&network, 1))?.in_training(false);
    /// module.forward(&[Feed::Tensor(Tensor::new(&device, &[1, 1, 1, 2], &[2.0, 4.0])?)], Noise::None)?;
    /// let (name, mean) = &module.moved_state()[0];
    /// assert_eq!(name, "norm.running_mean");
    /// assert!((mean.to_vec()?[0] - 0.3).abs() < 1e-6); // a tenth of the way from 0 to the batch's mean
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the module has clones.
    #[must_use]
    pub fn in_training(self, recomputes: bool) -> Module {
        let inner = Arc::into_inner(self.0).expect("the module has no clones");
        Module(Arc::new(Inner { in_training: true, recomputes, ..inner }))
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.0.network
    }

    /// Names and current values of what training moves without a gradient: the running statistics, which forward passes
    /// in training update, and u and v of a module assembled [for training](Module::for_training).
    pub fn moved_state(&self) -> Vec<(String, Tensor)> {
        let Inner { network, layers, .. } = &*self.0;
        let statistics = network.layers.iter().zip(layers).filter_map(|(layer, tensors)| {
            let keys = layer.reading.norm.as_ref()?.kind.running_statistics_keys()?;
            let RunningStatistics { mean, variance } = tensors.norm.as_ref()?.running()?;
            Some(keys.into_iter().zip([mean, variance]))
        });
        let vectors = layers.iter().filter_map(|layer| match &layer.operation {
            TapeOperation::Convolution(conv) => Some(conv.moved().iter().cloned()),
            _ => None,
        });
        statistics.flatten().chain(vectors.flatten()).collect()
    }

    /// The outputs (N, C, H, W) for the inputs `feeds`, both in the network's order.
    ///
    /// # Errors
    /// [`Error::Input`] if the number, the kinds or the size of the inputs do not fit the network; [`Error::Device`] if
    /// their shapes do not, or the device reports an error.
    pub fn forward(&self, feeds: &[Feed], noise: Noise) -> Result<Vec<Tensor>> {
        self.forward_with(feeds, noise, SpadeMethod::Table, |_, _| {})
    }

    /// [`Module::forward`] with what is in `shared`. What is missing there it computes, with its place in the graph
    /// even within [`no_grad`](alias_tensor::no_grad), and leaves it for other passes on the same `feeds`.
    ///
    /// # Errors
    /// As [`Module::forward`].
    pub fn forward_sharing(&self, feeds: &[Feed], noise: Noise, shared: &SharedConditions) -> Result<Vec<Tensor>> {
        let shared = Some(shared.clone());
        self.run(Forward { feeds: feeds.to_vec(), noise, spade: SpadeMethod::Table, shared }, |_, _| {})
    }

    /// [`Module::forward`] with SPADE computed by `spade`. Passes each block's name and output to `tap`.
    ///
    /// # Errors
    /// As [`Module::forward`].
    pub fn forward_with(
        &self,
        feeds: &[Feed],
        noise: Noise,
        spade: SpadeMethod,
        tap: impl FnMut(&str, &Tensor),
    ) -> Result<Vec<Tensor>> {
        self.run(Forward { feeds: feeds.to_vec(), noise, spade, shared: None }, tap)
    }

    fn run(&self, pass: Forward, mut tap: impl FnMut(&str, &Tensor)) -> Result<Vec<Tensor>> {
        let network = &self.0.network;
        self.check_feeds(&pass.feeds)?;
        let pass = Arc::new(pass);
        let mut scope = Scope::default();
        let mut outputs: Vec<Option<Tensor>> = vec![None; network.outputs.len()];
        let mut at = 0;
        while at < network.layers.len() {
            let block = network.blocks.iter().find(|block| block.layers.start == at);
            let layers = match block {
                Some(block) if self.0.recomputes => {
                    let (layers, last) = (block.layers.clone(), block.layers.end - 1);
                    let x = self.0.read(&pass, &mut scope, at)?;
                    let (inner, shared) = (self.0.clone(), pass.clone());
                    let again = layers.clone();
                    let result = x.checkpoint(move |x, which| inner.block(&shared, x, again.clone(), which))?;
                    scope.results.insert(last, result);
                    layers
                }
                _ => {
                    let result = self.0.layer(&pass, &mut scope, at, Pass::First)?;
                    scope.results.insert(at, result);
                    at..at + 1
                }
            };
            at = layers.end;
            if let Some(block) = network.blocks.iter().find(|block| block.layers.end == at) {
                tap(&block.name, &scope.results[&(at - 1)]);
            }
            for (output, place) in network.outputs.iter().zip(&mut outputs) {
                if layers.contains(&output.layer) {
                    *place = scope.results.get(&output.layer).cloned();
                }
            }
            scope.forget(network, at);
        }
        let outputs = outputs.into_iter().map(|output| output.expect("no output is inside a block"));
        Ok(outputs.collect())
    }

    fn check_feeds(&self, feeds: &[Feed]) -> Result<()> {
        let Network { name, inputs, .. } = &self.0.network;
        if feeds.len() != inputs.len() {
            let (network, expected, got) = (name.clone(), inputs.len(), feeds.len());
            return Err(InputError::Count { network, expected, got }.into());
        }
        let [n, _, h, w] = feeds[0].dense().shape().nchw("forward", "an input")?;
        for (input, feed) in inputs.iter().zip(feeds) {
            // Shape errors take static names, so the input's own name cannot be given.
            feed.dense().shape().check("forward", "an input", &[n, input.channels, h, w])?;
            let is_map = matches!(feed, Feed::Labels(_));
            if is_map != (input.kind == crate::network::InputKind::LabelMap) {
                let (network, kind) = (name.clone(), input.kind);
                return Err(InputError::Kind { network, input: input.name.clone(), kind }.into());
            }
        }
        self.0.network.sizes(h, w)?;
        Ok(())
    }
}

impl Inner {
    /// The result of a block whose first layer reads `x`.
    fn block(&self, forward: &Forward, x: &Tensor, layers: Range<usize>, pass: Pass) -> alias_tensor::Result<Tensor> {
        let outside = &self.network.layers[layers.start].reading.sources;
        let mut scope = Scope::default();
        scope.joined.insert(outside.clone(), x.clone());
        if let [Source { value: Value::Layer(at), zoom: 0 }] = outside[..] {
            scope.results.insert(at, x.clone());
        }
        let last = layers.end - 1;
        for at in layers.start..last {
            let result = self.layer(forward, &mut scope, at, pass)?;
            scope.results.insert(at, result);
            scope.forget(&self.network, at + 1);
        }
        self.layer(forward, &mut scope, last, pass)
    }

    /// The result of a layer.
    fn layer(&self, forward: &Forward, scope: &mut Scope, at: usize, pass: Pass) -> alias_tensor::Result<Tensor> {
        let (layer, tensors) = (&self.network.layers[at], &self.layers[at]);
        let reading = &layer.reading;
        let mut x = activate(self.read(forward, scope, at)?, reading.before)?;
        x = match (&reading.norm, &tensors.norm) {
            (Some(norm), Some(own)) => {
                let condition = self.condition(forward, scope, at, (norm, own), &x)?;
                let mode = Mode { noise: forward.noise, in_training: self.in_training, pass };
                own.forward(norm, &x, &condition, mode, reading.after)?
            }
            _ => activate(x, reading.after)?,
        };
        let y = match &tensors.operation {
            TapeOperation::Convolution(conv) => match (layer.add, layer.activation) {
                (None, Activation::LeakyRelu { slope }) => return conv.forward(&x, slope),
                _ => conv.forward(&x, 1.0)?,
            },
            TapeOperation::Linear { weight, bias } => linear(&x, weight, bias)?,
            TapeOperation::Pool(Pool { window: 1, .. }) => x,
            TapeOperation::Pool(Pool { kind: PoolKind::Max, .. }) => max_pool(&x)?,
            TapeOperation::Pool(_) => avg_pool(&x)?,
            TapeOperation::Dropout(Dropout { stream }) => match forward.noise {
                Noise::Seed(seed) if self.in_training => dropout(&x, seed, *stream)?,
                _ => x,
            },
            TapeOperation::L2Normalization => l2_normalize(&x)?,
            TapeOperation::Correlation => {
                let [_, c, _, _] = x.shape().nchw("correlation", "x")?;
                correlation(&slice(&x, 0..c / 2)?, &slice(&x, c / 2..c)?)?
            }
        };
        let y = match layer.add {
            Some(Value::Layer(skip)) => add(&scope.results[&skip], &y)?,
            Some(Value::Input(skip)) => add(forward.feeds[skip].dense(), &y)?,
            None => y,
        };
        activate(y, layer.activation)
    }

    /// What a layer reads, resized and concatenated.
    fn read(&self, forward: &Forward, scope: &mut Scope, at: usize) -> alias_tensor::Result<Tensor> {
        let sources = &self.network.layers[at].reading.sources;
        if let Some(joined) = scope.joined.get(sources) {
            return Ok(joined.clone());
        }
        let mut read = Vec::new();
        for source in sources {
            let x = match source.value {
                Value::Input(input) => forward.feeds[input].dense(),
                Value::Layer(layer) => &scope.results[&layer],
            };
            let [_, _, h, w] = x.shape().nchw("read", "a tensor")?;
            // Sizes that are not divisible were refused before the first layer.
            let [h, w] = source.size([h, w]).unwrap_or([h, w]);
            read.push(match source.value {
                _ if source.zoom == 0 => x.clone(),
                Value::Input(input) => forward.resized(scope, input, [h, w])?,
                Value::Layer(_) => resize(x, h, w)?,
            });
        }
        if let ([x], 0) = (&read[..], sources[0].zoom) {
            return Ok(x.clone());
        }
        let joined = if let [x] = &read[..] { x.clone() } else { concat(&read.iter().collect::<Vec<_>>())? };
        if self.network.layers[at + 1..].iter().any(|later| later.reading.sources == *sources) {
            scope.joined.insert(sources.clone(), joined.clone());
        }
        Ok(joined)
    }

    /// What the norm of `x` in layer `at` is conditioned on.
    fn condition(
        &self,
        forward: &Forward,
        scope: &mut Scope,
        at: usize,
        (norm, own): (&Norm, &TapeNorm),
        x: &Tensor,
    ) -> alias_tensor::Result<Condition> {
        let size @ [_, _, h, w] = x.shape().nchw("norm", "x")?;
        let mask = match norm.kind {
            NormKind::Mask { mask } => Some(forward.resized(scope, mask, [h, w])?),
            _ => None,
        };
        let Some(spade) = norm.spade() else { return Ok(Condition { modulation: None, mask }) };
        let known = forward.shared.as_ref().and_then(|shared| shared.lock().modulations.get(&at).cloned());
        if known.is_some() {
            return Ok(Condition { modulation: known, mask });
        }
        let table = match (&forward.feeds[spade.labels], forward.spade) {
            (Feed::Labels(LabelFeed { windows, .. }), SpadeMethod::Table) => windows.get(x.device(), size)?,
            _ => None,
        };
        let labels = match table {
            Some(table) => Labels::Table(table),
            None => Labels::Dense(forward.resized(scope, spade.labels, [h, w])?),
        };
        let modulation = match &forward.shared {
            Some(shared) => {
                let made = enable_grad(|| own.scale_and_shift(labels))?;
                shared.lock().modulations.extend(made.clone().map(|made| (at, made)));
                made
            }
            None => own.scale_and_shift(labels)?,
        };
        Ok(Condition { modulation, mask })
    }
}

/// Errors if the tape does not support the operation of a layer.
fn check(network: &Network, layer: &Layer) -> Result<()> {
    let problem = match &layer.operation {
        Operation::Linear(_)
        | Operation::Dropout(_)
        | Operation::L2Normalization
        | Operation::Correlation(_)
        | Operation::Pool(Pool { window: 1, stride: 1, .. })
        | Operation::Pool(Pool { kind: PoolKind::Max, window: 2, stride: 2, padding: 0 })
        | Operation::Pool(Pool { kind: PoolKind::Average, window: 3, stride: 2, padding: 1 }) => return Ok(()),
        Operation::Pool(pool) => format!("{pool:?}; the tape has max pooling 2x2 and average pooling 3x3, of stride 2"),
        Operation::Convolution(conv) if [1, 3, 4].contains(&conv.kernel) && [1, 2].contains(&conv.stride) => {
            return Ok(());
        }
        Operation::Convolution(conv) => {
            format!("{0}x{0} of stride {1}; the tape has 1x1, 3x3 and 4x4, of stride 1 or 2", conv.kernel, conv.stride)
        }
    };
    Err(ConfigError::Layer { network: network.name.clone(), layer: layer.name.clone(), problem }.into())
}
