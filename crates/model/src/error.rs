//! The errors of this crate.

use crate::Processor;
use crate::network::InputKind;
use alias_checkpoint::{CheckpointError, Dtype};
use alias_plan::Method;
use std::path::PathBuf;

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The GPU, or an operation on it, failed.
    #[error(transparent)]
    Device(#[from] alias_tensor::Error),

    /// The processor cores cannot be used as requested.
    #[error(transparent)]
    Cpu(#[from] alias_cpu::Error),

    /// A checkpoint that cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),

    /// A checkpoint that is not the state dict of the network.
    #[error(transparent)]
    StateDict(#[from] StateDictError),

    /// A configuration that the network or the device does not support.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// An input that is missing, of the wrong shape or out of range.
    #[error(transparent)]
    Input(#[from] InputError),

    /// A photo, or what is known of it, that cannot be prepared.
    #[error(transparent)]
    Preprocess(#[from] alias_preprocess::Error),

    /// A tuning file that cannot be read or written.
    #[error("{}: {problem}", path.display())]
    Tuning {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
}

/// A checkpoint that is not the state dict of a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateDictError {
    /// A checkpoint of another network: it lacks the tensors that show the configuration.
    #[error("this is no {network}: {reason}")]
    Unrecognized {
        /// The expected network.
        network: &'static str,
        /// What the checkpoint lacks.
        reason: String,
    },

    /// A tensor that the checkpoint lacks.
    #[error("the checkpoint has no tensor '{key}'")]
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
    /// The configuration, if it was read from the checkpoint: it is the likely cause if most tensors do not fit.
    pub config: Option<String>,
}

/// A configuration that the network or the device does not support.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value that a setting does not have.
    #[error("{setting} '{value}' does not exist; use {known}")]
    Unknown {
        /// The setting.
        setting: &'static str,
        /// The requested value.
        value: String,
        /// The values that exist.
        known: &'static str,
    },

    /// VITON-HD's layers 'normal', which its code cannot run.
    #[error(
        "layers 'normal' does not run in the authors' code either: it concatenates an image of one size with features of \
         another; use 'more' or 'most'"
    )]
    LayersNormal,

    /// A generator with too few channels, or too many.
    #[error("ngf is {ngf}; with layers '{layers}' it must be {narrowest} to {widest}")]
    Width {
        /// The requested width.
        ngf: usize,
        /// The generator's layers.
        layers: &'static str,
        /// The smallest width.
        narrowest: usize,
        /// The largest width.
        widest: usize,
    },

    /// A setting that is out of range.
    #[error("{name} is {value}; it must be {least} to {most}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// The requested value.
        value: usize,
        /// The smallest value.
        least: usize,
        /// The largest value.
        most: usize,
    },

    /// A discriminator's setting that is out of range.
    #[error(
        "{config}: a discriminator has inputs of 1 to 512 channels, 1 to 8 scales of 1 to 8 layers, ndf of 1 to 512 and last_stride 1 or 2"
    )]
    Discriminator {
        /// The requested configuration.
        config: String,
    },

    /// A target for another kind of device than the given one.
    #[error("the target is for {processor:?}, but was given with another kind of device; use Target::of")]
    OtherDevice {
        /// The target's kind of device.
        processor: Processor,
    },

    /// Half precision on processor cores.
    #[error("processor cores support only float32; use Target::of")]
    Float32Only,

    /// A result was to stay on a GPU, but the network runs on processor cores.
    #[error("the image cannot stay on a GPU, since the network is on processor cores; draw to the host instead")]
    NoGpu,

    /// A method that the kind of device does not support.
    #[error("{convolution}: {processor:?} does not support the method {method:?}")]
    Method {
        /// The convolution's name.
        convolution: String,
        /// The method.
        method: Method,
        /// The kind of device.
        processor: Processor,
    },

    /// A VGG-19 whose widths do not divide by its divisor.
    #[error("the divisor of a VGG-19 is {divisor}; it must be a power of two up to 64")]
    Divisor {
        /// The requested divisor.
        divisor: usize,
    },

    /// A plan that another session, or another painter, made.
    #[error("the plan was made by another session or painter; make it with the one that prepares it")]
    OtherSession,

    /// A layer that the tape or a plan does not support.
    #[error("{network}, layer {layer}: {problem}")]
    Layer {
        /// The network's name.
        network: String,
        /// The layer's name.
        layer: String,
        /// What is not supported, and what is or what to do.
        problem: String,
    },
}

/// An input that is missing, of the wrong shape or out of range.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// An image size that the generator cannot draw.
    #[error(
        "the image is {height}x{width}; with layers '{layers}' both must be multiples of {multiple}; pad or resize it"
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

    /// A size that does not fit a layer.
    #[error("{network}, layer {layer}: {problem}")]
    LayerSize {
        /// The network's name.
        network: String,
        /// The layer's name.
        layer: String,
        /// Which size does not fit, and what would.
        problem: String,
    },

    /// No pixels, or more than 31-bit indices can address.
    #[error("{batch} pictures of {height}x{width}: there must be at least 1 pixel, and fewer than 2^31 in all")]
    Pixels {
        /// How many pictures.
        batch: usize,
        /// Their height.
        height: usize,
        /// Their width.
        width: usize,
    },

    /// An array whose number of elements does not match its shape.
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

    /// A picture of another size than `agnostic`.
    #[error("{name} is {}x{}, but agnostic is {}x{} (width x height); resize them to one size", got[0], got[1], expected[0], expected[1])]
    PictureSize {
        /// The picture's name.
        name: &'static str,
        /// Its width and height.
        got: [u32; 2],
        /// Width and height of `agnostic`.
        expected: [u32; 2],
    },

    /// A value outside its range; NaN is outside every range.
    #[error("{name} holds {value} at element {at}, outside [{low}, 1]; scale pictures to [-1, 1], masks to [0, 1]")]
    Range {
        /// The array's name.
        name: &'static str,
        /// The value.
        value: f32,
        /// Its index.
        at: usize,
        /// The smallest value allowed.
        low: f32,
    },

    /// A label map of no classes, or of more than a byte tells apart.
    #[error("labels of {classes} classes; a label is a byte, so there may be 1 to 256")]
    Classes {
        /// The number of classes.
        classes: usize,
    },

    /// An input that is given more than once.
    #[error("input '{name}' is given twice")]
    Twice {
        /// Its name.
        name: String,
    },

    /// A label that is not a class.
    #[error("labels holds {value} at element {at}; the classes are 0 to {}", classes - 1)]
    Class {
        /// The label.
        value: f64,
        /// Its index.
        at: usize,
        /// The number of classes.
        classes: usize,
    },

    /// A picture that is not stored as floating-point numbers.
    #[error("{name} is {dtype:?}, expected floating-point numbers: pictures in [-1, 1], masks in [0, 1]")]
    PictureType {
        /// Its name.
        name: &'static str,
        /// Its type.
        dtype: Dtype,
    },

    /// Labels that are not stored as integers.
    #[error("labels are {0:?}, expected integers, such as uint8")]
    LabelType(Dtype),

    /// A batch without samples.
    #[error("a batch needs at least one sample")]
    EmptyBatch,

    /// A batch of pictures of several sizes.
    #[error("a batch holds pictures of sizes {first:?} and {other:?}; resize them to one size")]
    BatchSizes {
        /// Height and width of the first.
        first: [usize; 2],
        /// Height and width of one that differs.
        other: [usize; 2],
    },

    /// A tensor or input that is missing.
    #[error("no tensor '{name}'; found: {found}")]
    Missing {
        /// Its name.
        name: String,
        /// Some of the names that were found.
        found: String,
    },

    /// A tensor of the wrong shape.
    #[error("{name} has shape {shape:?}, expected {expected}")]
    Shape {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The expected shape.
        expected: String,
    },

    /// An input that the network does not have.
    #[error("no input '{name}'; the inputs are {known:?}")]
    Unknown {
        /// The given name.
        name: String,
        /// The network's inputs.
        known: Vec<String>,
    },

    /// The wrong number of inputs.
    #[error("{network} has {expected} inputs, not {got}")]
    Count {
        /// The network's name.
        network: String,
        /// How many it has.
        expected: usize,
        /// How many were given.
        got: usize,
    },

    /// A label map given for a tensor, or a tensor for a label map.
    #[error("{network}: input '{input}' is of kind {kind:?}, but its feed is not")]
    Kind {
        /// The network's name.
        network: String,
        /// The input's name.
        input: String,
        /// The input's kind.
        kind: InputKind,
    },

    /// A conditioning without a label map or mask that the network needs, or with another number of classes.
    #[error(
        "{network}: the conditioning has no fitting {kind:?} for input '{input}'; add it by with_labels or with_mask"
    )]
    Unconditioned {
        /// The network's name.
        network: String,
        /// The input's name.
        input: String,
        /// The input's kind.
        kind: InputKind,
    },

    /// Pictures of another size than the person's.
    #[error("{} pictures of {}x{}; the person was made for {} of {}x{}", got[0], got[1], got[2], person[0], person[1], person[2])]
    PersonSize {
        /// Batch, height and width of the pictures.
        got: [usize; 3],
        /// Batch, height and width of the person.
        person: [usize; 3],
    },

    /// Labels that differ from the person's.
    #[error("the labels differ from the person's; make a new person from this sample")]
    PersonLabels,

    /// A mask that differs from the person's within the garment's class.
    #[error(
        "warped_mask differs from the person's at element {at}, in the garment's class; make a new person from this sample"
    )]
    PersonMask {
        /// The index of the first difference.
        at: usize,
    },

    /// A garment of another size or number than the person.
    #[error("the garment is {garment:?}, the person {person:?} (number, height, width); prepare both at the same size")]
    GarmentSize {
        /// N, H, W of the garment.
        garment: [usize; 3],
        /// N, H, W of the person.
        person: [usize; 3],
    },

    /// Weights of the matching module that allow no size.
    #[error(
        "the geometric matching module's weights are for features of {pixels} pixels, but no height and width that are \
         multiples of {multiple} have as many"
    )]
    MatchingSize {
        /// Pixels of the features, H W / 256.
        pixels: usize,
        /// What height and width must be multiples of.
        multiple: usize,
    },

    /// A network's result that is not finite.
    #[error(
        "{network} computed {value} (element {at}); its weights hold numbers that are not finite or far too large: \
         `tryon inspect` names them"
    )]
    NotFinite {
        /// The network.
        network: &'static str,
        /// The value.
        value: f32,
        /// Its index.
        at: usize,
    },

    /// A seed for a plan that was made without noise.
    #[error("a seed was given, but the plan was made without noise; set PlanOptions::noise to plan with it")]
    NoiseUnplanned,

    /// No seed for a plan that was made with noise.
    #[error("the plan was made with noise, which needs a seed; give Noise::Seed")]
    SeedMissing,
}
