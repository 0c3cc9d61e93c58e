//! What can go wrong between a file and a picture.

use crate::Processor;
use crate::network::InputKind;
use alias_checkpoint::{CheckpointError, Dtype};
use alias_plan::Method;
use std::path::PathBuf;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between a file and a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device, or an operation on it.
    #[error(transparent)]
    Device(#[from] alias_tensor::Error),

    /// Processor cores that cannot compute.
    #[error(transparent)]
    Cpu(#[from] alias_cpu::Error),

    /// A file that is no readable checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),

    /// A checkpoint that is not the state dict of the network.
    #[error(transparent)]
    StateDict(#[from] StateDictError),

    /// A configuration that a network, or a device, does not have.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// An input that is missing, misshapen or out of range.
    #[error(transparent)]
    Input(#[from] InputError),

    /// A tuning file that cannot be read or written.
    #[error("{}: {problem}; remove it, or tune again", path.display())]
    Tuning {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// A checkpoint that is not the state dict of a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateDictError {
    /// A checkpoint of something else: what tells a network's configuration is not there.
    #[error("this is no {network}: {reason}")]
    Unrecognized {
        /// What it should be.
        network: &'static str,
        /// What is not there.
        reason: String,
    },

    /// A tensor that is not there.
    #[error("no tensor '{key}'")]
    Missing {
        /// Its name.
        key: String,
    },

    /// Tensors that are missing, unexpected or of another shape.
    #[error(transparent)]
    Mismatch(Box<StateDictMismatch>),
}

/// All differences between a checkpoint and a network's state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDictMismatch {
    /// The network's name.
    pub network: String,
    /// Names that the checkpoint lacks.
    pub missing: Vec<String>,
    /// Names that the network lacks.
    pub unexpected: Vec<String>,
    /// Names whose shapes differ: name, shape in the checkpoint, shape in the network.
    pub shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// The configuration that was read from the checkpoint: the likely reason where most of it does not fit.
    pub config: String,
}

/// A configuration that a network, or a device, does not have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A setting's value that does not exist.
    #[error("{setting} '{value}' does not exist; use {known}")]
    Unknown {
        /// Which setting.
        setting: &'static str,
        /// What was asked for.
        value: String,
        /// What there is.
        known: &'static str,
    },

    /// VITON-HD's layers 'normal'.
    #[error(
        "layers 'normal' does not run in the authors' code either: it concatenates an image of one size with features of \
         another; use 'more' or 'most'"
    )]
    LayersNormal,

    /// A generator without channels, or absurdly wide.
    #[error("ngf is {ngf}; with layers '{layers}' it is {narrowest} to {widest}")]
    Width {
        /// The width that was asked for.
        ngf: usize,
        /// The layers.
        layers: &'static str,
        /// The least width.
        narrowest: usize,
        /// The largest.
        widest: usize,
    },

    /// A discriminator that does not exist.
    #[error("{config}: a discriminator has 1 to 8 scales of 1 to 8 layers, ndf of 1 to 512 and last_stride 1 or 2")]
    Discriminator {
        /// What was asked for.
        config: String,
    },

    /// A target that is another kind of device than the one at hand.
    #[error("a plan for {processor:?} on another kind of device; Target::of the device makes one that fits")]
    OtherDevice {
        /// What the target is.
        processor: Processor,
    },

    /// Half precision on processor cores.
    #[error("processor cores store float32; Target::of the device asks for that")]
    Float32Only,

    /// A result on a GPU, of a network on processor cores.
    #[error("the result is asked for on a GPU, but the network is on processor cores; draw to the host instead")]
    NoGpu,

    /// A method that the processor does not have.
    #[error("{convolution} by {method:?}, which {processor:?} does not have")]
    Method {
        /// The convolution's name.
        convolution: String,
        /// How it was to be computed.
        method: Method,
        /// By what.
        processor: Processor,
    },

    /// A layer that the tape, or a plan, cannot run.
    #[error("{network}, layer {layer}: {problem}")]
    Layer {
        /// The network's name.
        network: String,
        /// The layer's name.
        layer: String,
        /// What it asks for, and a remedy.
        problem: String,
    },
}

/// An input that is missing, misshapen or out of range.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// An image that the generator cannot draw.
    #[error(
        "the image is {height}x{width}; with layers '{layers}' height and width are multiples of {multiple}: pad or resize it"
    )]
    ImageSize {
        /// Its height.
        height: usize,
        /// Its width.
        width: usize,
        /// The generator's layers.
        layers: &'static str,
        /// What both must be multiples of.
        multiple: usize,
    },

    /// A size that a layer cannot read.
    #[error("{network}, layer {layer}: {problem}")]
    LayerSize {
        /// The network's name.
        network: String,
        /// The layer's name.
        layer: String,
        /// Which size, and what would fit.
        problem: String,
    },

    /// No pixels, or more than indices of 32 bits reach.
    #[error("{batch} pictures of {height}x{width} are none, or too many")]
    Pixels {
        /// How many pictures.
        batch: usize,
        /// Their height.
        height: usize,
        /// Their width.
        width: usize,
    },

    /// An array that has not as many elements as its shape says.
    #[error("{name} has {got} elements, not the {expected} of {shape:?}")]
    Elements {
        /// Its name.
        name: String,
        /// How many it has.
        got: usize,
        /// How many it should have.
        expected: usize,
        /// Its shape.
        shape: Vec<usize>,
    },

    /// A value outside its range; NaN is outside every range.
    #[error("{name} holds {value} at element {at}, outside [{low}, 1]; scale pictures to [-1, 1], masks to [0, 1]")]
    Range {
        /// The array's name.
        name: &'static str,
        /// The value.
        value: f32,
        /// Where it is.
        at: usize,
        /// The least value allowed.
        low: f32,
    },

    /// A label that is no class.
    #[error("labels holds {value} at element {at}; the classes are 0 to 6")]
    Class {
        /// The label.
        value: f64,
        /// Where it is.
        at: usize,
    },

    /// Labels that are not stored as integers.
    #[error("labels are {0:?}, expected integers, such as uint8")]
    LabelType(Dtype),

    /// A batch of nothing.
    #[error("a batch of no samples")]
    EmptyBatch,

    /// A batch of pictures of several sizes.
    #[error("a batch of pictures of {first:?} and of {other:?}; resize them first")]
    BatchSizes {
        /// Height and width of the first.
        first: [usize; 2],
        /// Height and width of another one.
        other: [usize; 2],
    },

    /// A tensor, or an input, that is not there.
    #[error("no tensor '{name}' among: {found}")]
    Missing {
        /// Its name.
        name: String,
        /// Some of the names that are there.
        found: String,
    },

    /// A tensor of another shape than it should have.
    #[error("{name} has shape {shape:?}, expected {expected}")]
    Shape {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The shape that it should have.
        expected: String,
    },

    /// An input that the network does not have.
    #[error("there is no input '{name}'; there are {known:?}")]
    Unknown {
        /// What was given.
        name: String,
        /// What there is.
        known: Vec<String>,
    },

    /// Inputs that are not those of the network.
    #[error("{network} has {expected} inputs, not {got}")]
    Count {
        /// The network's name.
        network: String,
        /// How many it has.
        expected: usize,
        /// How many were given.
        got: usize,
    },

    /// A label map in place of a tensor, or the other way round.
    #[error("{network}: '{input}' is {kind:?}")]
    Kind {
        /// The network's name.
        network: String,
        /// The input's name.
        input: String,
        /// What it is.
        kind: InputKind,
    },

    /// Pictures of another size than the person's.
    #[error("{} pictures of {}x{}; the person was made for {} of {}x{}", got[0], got[1], got[2], person[0], person[1], person[2])]
    PersonSize {
        /// Batch, height and width of the pictures.
        got: [usize; 3],
        /// Those of the person.
        person: [usize; 3],
    },

    /// Labels that are not the person's.
    #[error("the labels are not the person's; make another person of this sample")]
    PersonLabels,

    /// A mask that differs from the person's within the garment.
    #[error("warped_mask differs from the person's at element {at}, in class 2; make another person of this sample")]
    PersonMask {
        /// Where.
        at: usize,
    },

    /// Noise for a plan that was made without.
    #[error("a seed, but the plan was made without noise; make one with PlanOptions::noise")]
    NoiseUnplanned,

    /// No noise for a plan that was made with it.
    #[error("no seed, but the plan was made with noise; give a seed")]
    SeedMissing,
}
