//! How a network is put together, layer by layer.

use super::{
    Activation, Block, Conv, Correlation, Dropout, Input, InputKind, Layer, Linear, Modulation, Network, NormKind,
    Operation, Output, Pool, Reading, Value,
};

/// Puts a network together. Methods panic if an argument does not fit the network so far: an inconsistent description
/// is a bug in the program.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::network::{Builder, Conv, Pool, PoolKind, Reading};
/// use alias_model::{Conditioning, Device, Noise, PlanOptions, Session, fill};
///
/// let mut net = Builder::new("Residual");
/// let image = net.input("image", 3);
/// let x = net.convolution(Reading::of(image), Conv::same("first", 3, 8, 3));
/// let x = net.pool("pool", Reading::of(x), Pool { kind: PoolKind::Max, window: 2, stride: 2, padding: 0 });
/// let y = net.convolution(Reading::of(x).instance_norm("norm_0").relu(), Conv::same("conv_0", 8, 8, 3));
/// let y = net.convolution(Reading::of(y).instance_norm("norm_1").relu(), Conv::same("conv_1", 8, 8, 3));
/// let y = net.add(y, x); // the skip connection
/// net.output("features", y);
/// let network = net.finish();
///
/// let session = Session::load(Device::cores(Default::default())?, &network, &fill(&network, 1))?;
/// let prepared = session.plan_and_prepare(&Conditioning::size(1, 16, 24), PlanOptions::default())?;
/// let features = prepared.run(&[("image", &[0.5; 3 * 16 * 24])], Noise::None)?.remove(0);
/// assert_eq!(features.len(), 8 * 8 * 12);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    network: Network,
}

impl From<Network> for Builder {
    /// Continues a finished network, for instance to make inner results outputs.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::network::{Builder, Pool, Reading};
    /// use alias_model::Vgg19Config;
    ///
    /// let mut net = Builder::from(Vgg19Config { divisor: 64 }.network()?);
    /// let inner = net.find("features.2").expect("its second convolution");
    /// let pooled = net.pool("pooled", Reading::of(inner), Pool::MAX_2X2);
    /// net.output("pooled", pooled);
    /// assert_eq!(net.finish().outputs().len(), 6);
    /// # Ok(())
    /// # }
    /// ```
    fn from(network: Network) -> Builder {
        Builder { network }
    }
}

impl Builder {
    /// A network without layers, called `name` in error messages.
    pub fn new(name: impl Into<String>) -> Builder {
        let network = Network {
            name: name.into(),
            inputs: Vec::new(),
            layers: Vec::new(),
            outputs: Vec::new(),
            blocks: Vec::new(),
            unused: Vec::new(),
            direct_levels: 2,
        };
        Builder { network }
    }

    /// Channels of a tensor.
    pub fn channels(&self, value: Value) -> usize {
        self.network.channels(value)
    }

    /// Sets the number of coarsest resolutions whose convolutions plans compute directly; at the others they use
    /// Winograd's algorithm where they can. Default: 2, for networks such as ALIAS whose coarsest images have some fifty
    /// pixels.
    pub fn direct_levels(&mut self, levels: u32) {
        self.network.direct_levels = levels;
    }

    /// The result of the layer called `name`.
    pub fn find(&self, name: &str) -> Option<Value> {
        self.network.layers.iter().position(|layer| layer.name == name).map(Value::Layer)
    }

    /// Adds an input (N, channels, H, W) for layers to read.
    pub fn input(&mut self, name: impl Into<String>, channels: usize) -> Value {
        Value::Input(self.add_input(name.into(), channels, InputKind::Activations))
    }

    /// Adds a label map (N, classes, H, W). Returns its index in [`Network::inputs`].
    ///
    /// ```
    /// use alias_model::network::{Builder, Conv, Modulation, Norm, NormKind, Reading, Spade};
    ///
    /// let mut net = Builder::new("Painted by labels");
    /// let image = net.input("image", 3);
    /// let labels = net.label_map("labels", 4);
    /// let conv = |key: &str, cin, cout| Conv::same(key, cin, cout, 3);
    /// let (shared, gamma, beta) = (conv("shared", 4, 8), conv("gamma", 8, 3), conv("beta", 8, 3));
    /// let modulation = Modulation::Spade(Box::new(Spade { labels, shared, gamma, beta }));
    /// let norm = Norm { key: "norm".into(), kind: NormKind::Instance, noise_stream: None, modulation };
    /// let result = net.convolution(Reading::of(image).norm(norm), conv("result", 3, 3));
    /// net.output("result", result);
    /// let network = net.finish();
    /// assert_eq!(network.state_dict()["shared.weight"], [8, 4, 3, 3]); // one input channel per class
    /// ```
    pub fn label_map(&mut self, name: impl Into<String>, classes: usize) -> usize {
        self.add_input(name.into(), classes, InputKind::LabelMap)
    }

    /// Adds a mask (N, 1, H, W) in [0, 1]. Returns its index in [`Network::inputs`].
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::network::{Builder, Conv, Modulation, Norm, NormKind, Reading};
    /// use alias_model::{Feed, Module, Noise, fill};
    /// use alias_tensor::{Device, Tensor};
    ///
    /// let mut net = Builder::new("By region");
    /// let image = net.input("image", 1);
    /// let kind = NormKind::Mask { mask: net.mask("mask") };
    /// let norm = Norm { key: "norm".into(), kind, noise_stream: None, modulation: Modulation::None };
    /// let result = net.convolution(Reading::of(image).norm(norm), Conv::same("conv", 1, 1, 1));
    /// net.output("result", result);
    /// let network = net.finish();
    ///
    /// let device = Device::auto()?;
    /// let row = |values: &[f32]| Ok::<_, alias_model::Error>(Feed::Tensor(Tensor::new(&device, &[1, 1, 1, 4], values)?));
    /// let feeds = [row(&[1.0, 2.0, 10.0, 30.0])?, row(&[1.0, 1.0, 0.0, 0.0])?];
    /// let y = Module::load(&device, &network, &fill(&network, 1))?.forward(&feeds, Noise::None)?[0].to_vec()?;
    /// assert!((y[0] - y[2]).abs() < 1e-3 && (y[1] - y[3]).abs() < 1e-3); // each pair by its own mean and variance
    /// # Ok(())
    /// # }
    /// ```
    pub fn mask(&mut self, name: impl Into<String>) -> usize {
        self.add_input(name.into(), 1, InputKind::Mask)
    }

    fn add_input(&mut self, name: String, channels: usize, kind: InputKind) -> usize {
        assert!(channels > 0, "{}: input '{name}' has no channels", self.network.name);
        self.network.inputs.push(Input { name, channels, kind });
        self.network.inputs.len() - 1
    }

    /// Adds a convolution.
    ///
    /// # Panics
    /// If the reading does not have the convolution's input channels, or the convolution computes nothing.
    pub fn convolution(&mut self, reading: Reading, conv: Conv) -> Value {
        let (name, channels) = (conv.key.clone(), conv.cout);
        let read = self.channels_of(&name, &reading);
        assert!(
            conv.cout > 0 && conv.kernel > conv.padding,
            "{name}: no channels, or a kernel no larger than its padding"
        );
        check_stride(&name, conv.stride);
        assert_eq!(read, conv.cin, "{name}: it reads {read} channels, but its weight has {}", conv.cin);
        self.layer(name, reading, Operation::Convolution(conv), channels)
    }

    /// Adds a linear layer.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::network::{Builder, Linear, Reading};
    ///
    /// let mut net = Builder::new("Scores");
    /// let image = net.input("image", 3);
    /// let linear = Linear::new("scores", 3 * 4 * 5, 10);
    /// let scores = net.linear(Reading::of(image), linear);
    /// net.output("scores", scores);
    /// let network = net.finish();
    /// assert_eq!(network.sizes(4, 5)?, [[1, 1]]);
    /// assert!(network.sizes(8, 10).is_err()); // four times as many elements
    /// # Ok(())
    /// # }
    /// ```
    pub fn linear(&mut self, reading: Reading, linear: Linear) -> Value {
        let (name, channels) = (linear.key.clone(), linear.outputs);
        assert!(channels > 0, "{name}: no outputs");
        self.channels_of(&name, &reading);
        self.layer(name, reading, Operation::Linear(linear), channels)
    }

    /// Adds a pooling, which has no parameters.
    pub fn pool(&mut self, name: impl Into<String>, reading: Reading, pool: Pool) -> Value {
        let name = name.into();
        assert!(pool.window > pool.padding, "{name}: a window no larger than its padding");
        check_stride(&name, pool.stride);
        let channels = self.channels_of(&name, &reading);
        self.layer(name, reading, Operation::Pool(pool), channels)
    }

    /// Adds [`Dropout`] of half of the elements.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::network::{Builder, Reading};
    /// use alias_model::{Feed, Module, Noise, fill};
    /// use alias_tensor::{Device, Tensor};
    ///
    /// let mut net = Builder::new("Dropped");
    /// let image = net.input("image", 2);
    /// let dropped = net.dropout("dropped", Reading::of(image), 25);
    /// net.output("dropped", dropped);
    /// let network = net.finish();
    ///
    /// let device = Device::auto()?;
    /// let image = [Feed::Tensor(Tensor::new(&device, &[1, 2, 4, 4], &[1.0; 32])?)];
    /// let module = Module::load(&device, &network, &fill(&network, 1))?;
    /// assert_eq!(module.forward(&image, Noise::Seed(1))?[0].to_vec()?, [1.0; 32]); // in evaluation
    /// let dropped = module.in_training(false).forward(&image, Noise::Seed(1))?.remove(0).to_vec()?;
    /// assert!(dropped.contains(&0.0) && dropped.contains(&2.0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn dropout(&mut self, name: impl Into<String>, reading: Reading, stream: u32) -> Value {
        let name = name.into();
        let channels = self.channels_of(&name, &reading);
        self.layer(name, reading, Operation::Dropout(Dropout { stream }), channels)
    }

    /// Adds L2 normalization over channels.
    pub fn l2_normalize(&mut self, name: impl Into<String>, reading: Reading) -> Value {
        let name = name.into();
        let channels = self.channels_of(&name, &reading);
        self.layer(name, reading, Operation::L2Normalization, channels)
    }

    /// Adds the [`Correlation`] of two feature maps of `pixels` pixels each.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::network::Builder;
    /// use alias_model::{Conditioning, Device, Noise, PlanOptions, Session, fill};
    ///
    /// let mut net = Builder::new("Products");
    /// let (a, b) = (net.input("a", 2), net.input("b", 2));
    /// let products = net.correlation("products", a, b, 2);
    /// net.output("products", products);
    /// let network = net.finish();
    ///
    /// let session = Session::load(Device::cores(Default::default())?, &network, &fill(&network, 1))?;
    /// let prepared = session.plan_and_prepare(&Conditioning::size(1, 1, 2), PlanOptions::default())?;
    /// // Two pixels each: (1, 3) and (2, 4) in a, (1, 1) and (10, 0) in b.
    /// let products = prepared.run(&[("a", &[1.0, 2.0, 3.0, 4.0]), ("b", &[1.0, 10.0, 1.0, 0.0])], Noise::None)?;
    /// assert_eq!(products[0], [4.0, 10.0, 6.0, 20.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// If their channels differ.
    pub fn correlation(&mut self, name: impl Into<String>, a: Value, b: Value, pixels: usize) -> Value {
        let (name, reading) = (name.into(), Reading::of(a).and(b));
        assert_eq!(self.channels(a), self.channels(b), "{name}: the channels of its two maps");
        assert!(pixels > 0, "{name}: maps without pixels");
        self.channels_of(&name, &reading);
        self.layer(name, reading, Operation::Correlation(Correlation { pixels }), pixels)
    }

    /// Adds the skip connection `other` to a layer's result.
    ///
    /// # Panics
    /// If their channels differ, `other` is computed after the layer, or the layer already has a skip connection or an
    /// activation.
    pub fn add(&mut self, result: Value, other: Value) -> Value {
        let is_earlier = matches!(other, Value::Input(_)) || other < result;
        assert!(is_earlier, "{}: the skip connection comes from a later layer", self.result(result).name);
        let channels = self.network.channels(other);
        let layer = self.result(result);
        assert_eq!(layer.channels, channels, "{}: the skip connection has other channels", layer.name);
        assert!(
            layer.add.is_none() && layer.activation == Activation::Identity,
            "{}: it already has a skip connection or an activation",
            layer.name
        );
        layer.add = Some(other);
        result
    }

    /// Applies an activation to a layer's result, after the skip connection.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::network::{Activation, Builder, Conv, Reading};
    /// use alias_model::{Conditioning, Device, Noise, PlanOptions, Session, fill};
    ///
    /// let mut net = Builder::new("Bounded");
    /// let image = net.input("image", 3);
    /// let result = net.convolution(Reading::of(image), Conv::same("conv", 3, 3, 3));
    /// let result = net.activate(result, Activation::Tanh);
    /// net.output("result", result);
    /// let network = net.finish();
    ///
    /// let session = Session::load(Device::cores(Default::default())?, &network, &fill(&network, 1))?;
    /// let prepared = session.plan_and_prepare(&Conditioning::size(1, 2, 2), PlanOptions::default())?;
    /// let result = prepared.run(&[("image", &[100.0; 12])], Noise::None)?.remove(0);
    /// assert!(result.iter().all(|value| (-1.0..=1.0).contains(value)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the layer already has an activation, or the activation's slope is not from 0 to 1.
    pub fn activate(&mut self, result: Value, activation: Activation) -> Value {
        let layer = self.result(result);
        check_slope(&layer.name, activation);
        assert!(layer.activation == Activation::Identity, "{}: it already has an activation", layer.name);
        layer.activation = activation;
        result
    }

    /// Makes a [`Block`] of the layers that `layers` adds. `layers` must return the last one's result.
    ///
    /// ```
    /// use alias_model::network::{Builder, Conv, Reading};
    ///
    /// let mut net = Builder::new("Recomputed");
    /// let image = net.input("image", 3);
    /// let x = net.convolution(Reading::of(image), Conv::same("first", 3, 8, 3));
    /// let y = net.block("block", |net| {
    ///     let y = net.convolution(Reading::of(x).instance_norm("norm_0").relu(), Conv::same("conv_0", 8, 8, 3));
    ///     net.convolution(Reading::of(y).instance_norm("norm_1").relu(), Conv::same("conv_1", 8, 8, 3))
    /// });
    /// net.output("result", y);
    /// assert_eq!(net.finish().blocks()[0].layers, 1..3);
    /// ```
    ///
    /// # Panics
    /// If it returns another value, or the block reads anything from outside except one concatenation.
    pub fn block(&mut self, name: impl Into<String>, layers: impl FnOnce(&mut Builder) -> Value) -> Value {
        let (name, start) = (name.into(), self.network.layers.len());
        let result = layers(self);
        let end = self.network.layers.len();
        assert_eq!(result, Value::Layer(end - 1), "{name}: a block must return its last layer's result");
        let block = Block { name, layers: start..end };
        let outside = &self.network.layers[start].reading.sources;
        for layer in &self.network.layers[start..end] {
            let inside = |value| matches!(value, Value::Layer(at) if at >= start);
            let read = &layer.reading.sources;
            let fits = read == outside || read.iter().all(|source| inside(source.value));
            assert!(fits, "{}: {} reads another tensor from outside", block.name, layer.name);
            let skips = |value| inside(value) || **outside == [Value::resized(value, 0)];
            assert!(layer.add.is_none_or(skips), "{}: {} adds a tensor from outside", block.name, layer.name);
        }
        self.network.blocks.push(block);
        result
    }

    /// Makes a layer's result an output of the network.
    ///
    /// # Panics
    /// If `value` is an input.
    pub fn output(&mut self, name: impl Into<String>, value: Value) {
        let Value::Layer(layer) = value else { panic!("{}: an input cannot be an output", self.network.name) };
        self.network.outputs.push(Output { name: name.into(), layer });
    }

    /// Adds to the state dict a convolution that no layer applies.
    ///
    /// ```
    /// use alias_model::network::{Builder, Conv, Reading};
    ///
    /// let mut net = Builder::new("With a spare");
    /// let image = net.input("image", 3);
    /// let result = net.convolution(Reading::of(image), Conv::same("conv", 3, 3, 3));
    /// net.output("result", result);
    /// net.unused(Conv::same("spare", 3, 3, 3));
    /// let network = net.finish();
    /// assert_eq!(network.state_dict()["spare.weight"], [3, 3, 3, 3]);
    /// assert_eq!(network.layers().len(), 1);
    /// ```
    pub fn unused(&mut self, conv: Conv) {
        self.network.unused.push(conv);
    }

    /// Returns the network.
    ///
    /// # Panics
    /// If it has no output, an output inside a block, a layer that reads a tensor inside a block it is not part of
    /// (only a block's result can be read from outside), or two inputs, outputs, norms or parameters of the same name.
    pub fn finish(self) -> Network {
        let network = self.network;
        assert!(!network.outputs.is_empty(), "{} has no output", network.name);
        let amid =
            |layer| network.blocks.iter().any(|block| (block.layers.start..block.layers.end - 1).contains(&layer));
        let hidden = network.outputs.iter().find(|output| amid(output.layer));
        assert!(hidden.is_none(), "{}: output {hidden:?} is inside a block", network.name);
        for block in &network.blocks {
            for layer in &network.layers[block.layers.end..] {
                let read = layer.reading.sources.iter().map(|source| source.value).chain(layer.add);
                let amid = |value| matches!(value, Value::Layer(at) if (block.layers.start..block.layers.end - 1).contains(&at));
                assert!(!read.into_iter().any(amid), "{}: it reads a tensor inside block {}", layer.name, block.name);
            }
        }
        let names = |names: Vec<&str>, what: &str| {
            let twice = (1..names.len()).find(|&at| names[..at].contains(&names[at]));
            assert!(twice.is_none(), "{}: two {what} are called {:?}", network.name, twice.map(|at| names[at]));
        };
        names(network.inputs.iter().map(|input| input.name.as_str()).collect(), "inputs");
        names(network.outputs.iter().map(|output| output.name.as_str()).collect(), "outputs");
        names(network.norms().map(|(_, norm)| norm.key.as_str()).collect(), "norms");
        let parameters = network.parameters();
        let twice = parameters.windows(2).find(|pair| pair[0].key == pair[1].key);
        assert!(twice.is_none(), "{}: two parameters are called {:?}", network.name, twice.map(|pair| &pair[0].key));
        network
    }

    fn result(&mut self, value: Value) -> &mut Layer {
        let Value::Layer(layer) = value else { panic!("{}: an input is not a layer's result", self.network.name) };
        &mut self.network.layers[layer]
    }

    fn layer(&mut self, name: String, reading: Reading, operation: Operation, channels: usize) -> Value {
        let (add, activation) = (None, Activation::Identity);
        self.network.layers.push(Layer { name, reading, operation, add, activation, channels });
        Value::Layer(self.network.layers.len() - 1)
    }

    /// The channels that a layer reads. Panics if its norm does not fit them.
    fn channels_of(&self, name: &str, reading: &Reading) -> usize {
        let Network { inputs, .. } = &self.network;
        assert!(!reading.sources.is_empty(), "{name}: it reads nothing");
        for source in &reading.sources {
            assert!(source.zoom.abs() <= 16, "{name}: it zooms by 2 to the power {}", source.zoom);
            let is_read = !matches!(source.value, Value::Input(at) if inputs[at].kind != InputKind::Activations);
            assert!(is_read, "{name}: only norms read label maps and masks");
        }
        let channels = reading.sources.iter().map(|source| self.network.channels(source.value)).sum();
        let is_bounded = |activation| matches!(activation, Activation::Tanh | Activation::Sigmoid);
        let bounded = is_bounded(reading.before) || is_bounded(reading.after);
        assert!(!bounded, "{name}: tanh and sigmoid can only activate a layer's result");
        [reading.before, reading.after].into_iter().for_each(|activation| check_slope(name, activation));
        let Some(norm) = &reading.norm else { return channels };
        if let NormKind::Mask { mask } = norm.kind {
            assert_eq!(inputs[mask].kind, InputKind::Mask, "{}: its mask must be an input of that kind", norm.key);
        }
        if let Modulation::Spade(spade) = &norm.modulation {
            let (labels, hidden) = (&inputs[spade.labels], spade.shared.cout);
            assert_eq!(labels.kind, InputKind::LabelMap, "{}: its labels must be a label map", norm.key);
            let shapes = [&spade.shared, &spade.gamma, &spade.beta].map(|conv| [conv.cin, conv.cout, conv.kernel]);
            let expected = [[labels.channels, hidden, 3], [hidden, channels, 3], [hidden, channels, 3]];
            assert_eq!(shapes, expected, "{}: [cin, cout, kernel] of SPADE's convolutions", norm.key);
            let is_plain = |conv: &&Conv| conv.bias && !conv.spectral && conv.keeps_size();
            let plain = [&spade.shared, &spade.gamma, &spade.beta].iter().all(is_plain);
            assert!(plain, "{}: SPADE's convolutions have a bias, stride 1, padding 1 and no spectral norm", norm.key);
        }
        channels
    }
}

/// Panics if a stride is 0, or so large that no network has it.
fn check_stride(name: &str, stride: usize) {
    assert!((1..=16).contains(&stride), "{name}: its stride is {stride}, not from 1 to 16");
}

/// Panics if the activation's slope is not from 0 to 1: vector code computes leaky ReLU as a maximum.
fn check_slope(name: &str, activation: Activation) {
    if let Activation::LeakyRelu { slope } = activation {
        assert!((0.0..=1.0).contains(&slope), "{name}: the slope of its leaky ReLU is {slope}, not from 0 to 1");
    }
}
