//! A network as plain data: its inputs, its layers in the order in which they run, and its outputs.
//!
//! Everything else comes from this description: the state dict and its [`Parameter`]s, initialisation, packed weights, the
//! fused plan for GPUs and processor cores, and the forward pass on the tape with its gradients. A network of known layers
//! is one function that fills in a [`Builder`].
//!
//! Layers are coarse. Each [`Layer`] reads one or more tensors through a [`Reading`] (resized, concatenated, noise added,
//! normalized, modulated, activated), applies one [`Operation`], and may add a skip connection and an activation to the
//! result. That is what one fused kernel does, so a plan is made layer by layer, without searching for patterns.
//!
//! ```
//! use alias_model::network::{Builder, Conv, Reading};
//!
//! let mut net = Builder::new("Tiny");
//! let image = net.input("image", 3);
//! let features = net.convolution(Reading::of(image), Conv::same("features", 3, 8, 3));
//! let result = net.convolution(Reading::of(features).instance_norm("norm").relu(), Conv::same("result", 8, 3, 3));
//! net.output("result", result);
//! let network = net.finish();
//! assert_eq!(network.parameters().len(), 4); // two weights, two biases
//! ```

mod builder;
mod parameters;
mod shapes;

pub use builder::Builder;
pub use parameters::{Parameter, ParameterKind};

/// A network as plain data. [`Builder`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    pub(crate) name: String,
    pub(crate) inputs: Vec<Input>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) blocks: Vec<Block>,
    /// Convolutions of the state dict that no layer applies.
    pub(crate) unused: Vec<Conv>,
    /// Number of coarsest resolutions whose convolutions plans compute directly.
    pub(crate) direct_levels: u32,
}

/// An input of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its channels; for a label map its classes.
    pub channels: usize,
    /// What it is used for.
    pub kind: InputKind,
}

/// What an input is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Layers read it: (N, channels, H, W).
    Activations,
    /// SPADE predicts scale and shift from it: (N, classes, H, W), one-hot at nearly every pixel.
    LabelMap,
    /// Mask norm standardizes the regions inside and outside it separately: (N, 1, H, W) in [0, 1].
    Mask,
}

/// A result that the network returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// The index of the layer that computes it.
    pub layer: usize,
}

/// Layers whose results can be recomputed for the gradients instead of being kept (gradient checkpointing, Chen et al.
/// 2016). From outside they read a single concatenation of tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its name.
    pub name: String,
    /// Its layers. The last one computes the block's result.
    pub layers: std::ops::Range<usize>,
}

/// A tensor in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// An input, by its index in [`Network::inputs`].
    Input(usize),
    /// A layer's result, by the layer's index in [`Network::layers`].
    Layer(usize),
}

/// A tensor that a layer reads, resized by nearest neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// Which tensor.
    pub value: Value,
    /// Height and width are multiplied by 2 to this power.
    pub zoom: i32,
}

/// What a layer reads, and what happens to it on the way.
///
/// ```
/// use alias_model::network::{Builder, Conv, Reading};
///
/// let mut net = Builder::new("Two scales");
/// let fine = net.input("fine", 3);
/// let coarse = net.convolution(Reading::of(fine.resized(-1)), Conv::same("coarse", 3, 8, 3));
/// // The coarse features, twice as large, and the fine image; then a norm and a ReLU on the way in.
/// let read = Reading::of(coarse.resized(1)).and(fine).instance_norm("norm").relu();
/// let result = net.convolution(read, Conv::same("result", 8 + 3, 3, 3));
/// net.output("result", result);
/// let network = net.finish();
/// assert_eq!(network.source_channels(&network.layers()[1]), [8, 3]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The tensors, concatenated along the channels.
    pub sources: Vec<Source>,
    /// The activation before the normalization.
    pub before: Activation,
    /// The normalization.
    pub norm: Option<Norm>,
    /// The activation after it.
    pub after: Activation,
}

/// An elementwise activation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// x where it is positive, else x times the slope; slope 0 is ReLU.
    LeakyRelu {
        /// The slope, from 0 to 1.
        slope: f32,
    },
    /// The hyperbolic tangent.
    Tanh,
    /// The logistic function, 1 / (1 + exp(-x)).
    Sigmoid,
}

/// A normalization: noise is added, each plane is standardized, and then scaled and shifted.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// Its name in the state dict.
    pub key: String,
    /// How it standardizes.
    pub kind: NormKind,
    /// The random stream of the Gaussian noise that is added first (VITON-HD): one plane per image, multiplied by a
    /// learned scale per channel. `None` adds no noise.
    pub noise_stream: Option<u32>,
    /// How it scales and shifts.
    pub modulation: Modulation,
}

/// How a normalization standardizes. 1e-5 is added to every variance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Each plane by its own mean and variance (Ulyanov et al. 2016).
    Instance,
    /// Each channel by its running statistics, in training by the batch's (Ioffe & Szegedy 2015).
    Batch {
        /// The prefix of `.running_mean` and `.running_var` in the state dict.
        key: String,
    },
    /// The region under a mask and the rest of each plane, each by its own statistics (VITON-HD, section 3.4).
    Mask {
        /// The mask's index in [`Network::inputs`].
        mask: usize,
    },
}

/// How a normalization scales and shifts.
#[derive(Clone, Debug, PartialEq)]
pub enum Modulation {
    /// Not at all.
    None,
    /// By a learned `weight` and `bias` per channel.
    Affine,
    /// At each pixel, with values predicted from a label map (SPADE, Park et al. 2019).
    Spade(Box<Spade>),
}

/// SPADE: `hidden = relu(shared(labels))`, scale `1 + gamma(hidden)`, shift `beta(hidden)`. All kernels are 3x3.
#[derive(Clone, Debug, PartialEq)]
pub struct Spade {
    /// The label map's index in [`Network::inputs`]. It is resized to the normalized tensor's size.
    pub labels: usize,
    /// From the label map to the hidden layer.
    pub shared: Conv,
    /// From the hidden layer to the scale minus 1.
    pub gamma: Conv,
    /// From the hidden layer to the shift.
    pub beta: Conv,
}

/// A layer of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name: the key of its parameters in the state dict, if it has any.
    pub name: String,
    /// What it reads.
    pub reading: Reading,
    /// What it computes.
    pub operation: Operation,
    /// The skip connection: a tensor of the result's shape that is added to it.
    pub add: Option<Value>,
    /// The activation of the result.
    pub activation: Activation,
    /// Channels of the result.
    pub channels: usize,
}

/// What a layer computes from its reading.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// A convolution.
    Convolution(Conv),
    /// A linear layer over all elements of an image.
    Linear(Linear),
    /// The largest value or the mean of each window.
    Pool(Pool),
    /// Dropout of half of the elements, in training only.
    Dropout(Dropout),
    /// L2 normalization: the vector of channels at each pixel is divided by its length, at least 1e-12.
    L2Normalization,
    /// The correlation of two feature maps.
    Correlation(Correlation),
}

/// Dropout: in training each element is zeroed with probability 1/2, or else doubled. Element e of (N, C, H, W) is kept
/// where element e of [`philox::uniform`](alias_plan::philox::uniform) is at least 1/2, for the seed of the forward
/// pass; without a seed, and in evaluation, nothing is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropout {
    /// The random stream.
    pub stream: u32,
}

/// Scalar products of the features at every pixel of one map with those at every pixel of another (Rocco et al. 2017):
/// the first half of the channels that the layer reads, (N, C, H, W), with the second half. Channel x H + y of the result
/// (N, W H, H, W) is the product of the first half's pixel (y, x) with every pixel of the second half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correlation {
    /// Pixels of each map, H W: the channels of the result.
    pub pixels: usize,
}

/// A convolution.
///
/// ```
/// use alias_model::network::{Builder, Conv, Reading};
///
/// let mut net = Builder::new("Half");
/// let image = net.input("image", 3);
/// let conv = Conv { stride: 2, bias: false, spectral: true, ..Conv::same("down", 3, 8, 3) };
/// let half = net.convolution(Reading::of(image), conv);
/// net.output("half", half);
/// let network = net.finish();
/// let keys: Vec<_> = network.parameters().into_iter().map(|parameter| parameter.key).collect();
/// assert_eq!(keys, ["down.weight_orig", "down.weight_u", "down.weight_v"]); // as in PyTorch
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Its name in the state dict.
    pub key: String,
    /// Channels in.
    pub cin: usize,
    /// Channels out.
    pub cout: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// Whether its weight is divided by its spectral norm (Miyato et al. 2018).
    pub spectral: bool,
    /// [`fill`](crate::fill) draws weights of variance `fill_gain / fan_in`.
    pub fill_gain: f64,
}

/// A linear layer with a bias. It takes an image's elements in the order (C, H, W) and gives (N, outputs, 1, 1).
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Its name in the state dict.
    pub key: String,
    /// Elements of an image, C H W.
    pub inputs: usize,
    /// Channels of the result.
    pub outputs: usize,
    /// As [`Conv::fill_gain`].
    pub fill_gain: f64,
}

/// A pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What it computes from a window.
    pub kind: PoolKind,
    /// Side of the window.
    pub window: usize,
    /// Stride.
    pub stride: usize,
    /// Pixels on each side of the image that windows cover but leave out of the maximum or mean.
    pub padding: usize,
}

/// What a pooling computes from a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest value.
    Max,
    /// The mean of the pixels inside the image.
    Average,
}

impl Pool {
    /// 2x2 maxima, of stride 2.
    pub const MAX_2X2: Pool = Pool { kind: PoolKind::Max, window: 2, stride: 2, padding: 0 };
    /// Windows of one pixel: stores what the layer reads.
    pub const STORE: Pool = Pool { kind: PoolKind::Max, window: 1, stride: 1, padding: 0 };
}

impl Network {
    /// Its name in error messages: that of its class in PyTorch.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its inputs.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Its layers, in the order in which they run.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Its outputs.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Its blocks.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Channels of a tensor.
    pub fn channels(&self, value: Value) -> usize {
        match value {
            Value::Input(input) => self.inputs[input].channels,
            Value::Layer(layer) => self.layers[layer].channels,
        }
    }

    /// The layers that are convolutions, each with its index.
    pub fn convolutions(&self) -> impl Iterator<Item = (usize, &Layer, &Conv)> {
        self.layers.iter().enumerate().filter_map(|(at, layer)| match &layer.operation {
            Operation::Convolution(conv) => Some((at, layer, conv)),
            _ => None,
        })
    }

    /// The layers that are linear.
    pub fn linears(&self) -> impl Iterator<Item = (&Layer, &Linear)> {
        self.layers.iter().filter_map(|layer| match &layer.operation {
            Operation::Linear(linear) => Some((layer, linear)),
            _ => None,
        })
    }

    /// The normalizations, each with the layer that applies it.
    pub fn norms(&self) -> impl Iterator<Item = (&Layer, &Norm)> {
        self.layers.iter().filter_map(|layer| Some((layer, layer.reading.norm.as_ref()?)))
    }

    /// Channels of each tensor that a layer reads.
    pub fn source_channels(&self, layer: &Layer) -> Vec<usize> {
        layer.reading.sources.iter().map(|source| self.channels(source.value)).collect()
    }
}

impl Value {
    /// The tensor resized by nearest neighbour: height and width are multiplied by 2 to the power `zoom`.
    pub fn resized(self, zoom: i32) -> Source {
        Source { value: self, zoom }
    }
}

impl From<Value> for Source {
    fn from(value: Value) -> Source {
        value.resized(0)
    }
}

impl Reading {
    /// Reads a tensor as it is.
    pub fn of(source: impl Into<Source>) -> Reading {
        Reading { sources: vec![source.into()], before: Activation::Identity, norm: None, after: Activation::Identity }
    }

    /// Concatenates another tensor's channels.
    #[must_use]
    pub fn and(mut self, source: impl Into<Source>) -> Reading {
        self.sources.push(source.into());
        self
    }

    /// Adds the normalization. An activation that was added before comes before it.
    ///
    /// # Panics
    /// If it already has a normalization.
    #[must_use]
    pub fn norm(self, norm: Norm) -> Reading {
        assert!(self.norm.is_none(), "{}: the reading already has a norm", norm.key);
        Reading { before: self.after, norm: Some(norm), after: Activation::Identity, ..self }
    }

    /// Adds an instance norm without parameters.
    #[must_use]
    pub fn instance_norm(self, key: impl Into<String>) -> Reading {
        let (kind, modulation) = (NormKind::Instance, Modulation::None);
        self.norm(Norm { key: key.into(), kind, noise_stream: None, modulation })
    }

    /// Adds a batch norm with a weight and a bias.
    #[must_use]
    pub fn batch_norm(self, key: impl Into<String>) -> Reading {
        let key = key.into();
        let kind = NormKind::Batch { key: key.clone() };
        self.norm(Norm { key, kind, noise_stream: None, modulation: Modulation::Affine })
    }

    /// Adds the activation after the normalization, or without one the only activation.
    ///
    /// # Panics
    /// If it already has that activation.
    #[must_use]
    pub fn activation(self, after: Activation) -> Reading {
        assert_eq!(self.after, Activation::Identity, "the reading already has an activation here");
        Reading { after, ..self }
    }

    /// Adds a leaky ReLU.
    #[must_use]
    pub fn leaky_relu(self, slope: f32) -> Reading {
        self.activation(Activation::LeakyRelu { slope })
    }

    /// Adds a ReLU.
    #[must_use]
    pub fn relu(self) -> Reading {
        self.leaky_relu(0.0)
    }
}

impl Conv {
    /// A convolution of stride 1 that keeps the image's size if `kernel` is odd, with a bias and without spectral norm.
    pub fn same(key: impl Into<String>, cin: usize, cout: usize, kernel: usize) -> Conv {
        let (stride, padding, fill_gain) = (1, kernel / 2, 2.0);
        Conv { key: key.into(), cin, cout, kernel, stride, padding, bias: true, spectral: false, fill_gain }
    }

    /// Whether the result has the height and width of the input.
    pub fn keeps_size(&self) -> bool {
        self.stride == 1 && self.kernel == 2 * self.padding + 1
    }

    /// Name of the weight, without spectral norm.
    pub fn weight_key(&self) -> String {
        format!("{}.weight", self.key)
    }

    /// Names of spectral norm's raw weight and of its vectors u and v.
    pub fn spectral_keys(&self) -> [String; 3] {
        ["weight_orig", "weight_u", "weight_v"].map(|name| format!("{}.{name}", self.key))
    }

    /// Name of the bias.
    pub fn bias_key(&self) -> String {
        format!("{}.bias", self.key)
    }
}

impl Linear {
    /// A linear layer of `inputs` elements and `outputs` channels, whose weights [`fill`](crate::fill) draws as for a
    /// layer before a ReLU: with variance 2 / inputs (He et al. 2015).
    pub fn new(key: impl Into<String>, inputs: usize, outputs: usize) -> Linear {
        Linear { key: key.into(), inputs, outputs, fill_gain: 2.0 }
    }

    /// Names of the weight (outputs, inputs) and of the bias (outputs).
    pub fn keys(&self) -> [String; 2] {
        ["weight", "bias"].map(|name| format!("{}.{name}", self.key))
    }
}

impl Norm {
    /// Name of the noise's scale per channel.
    pub fn noise_scale_key(&self) -> String {
        format!("{}.noise_scale", self.key)
    }

    /// Names of the learned weight and bias.
    pub fn affine_keys(&self) -> [String; 2] {
        ["weight", "bias"].map(|name| format!("{}.{name}", self.key))
    }

    /// The modulation, if it is SPADE.
    pub fn spade(&self) -> Option<&Spade> {
        if let Modulation::Spade(spade) = &self.modulation { Some(spade) } else { None }
    }
}

impl NormKind {
    /// Names of batch norm's running mean and variance; `None` for other norms.
    pub fn running_statistics_keys(&self) -> Option<[String; 2]> {
        let NormKind::Batch { key } = self else { return None };
        Some(["running_mean", "running_var"].map(|name| format!("{key}.{name}")))
    }
}
