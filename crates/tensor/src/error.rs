//! What can go wrong. Each message names the thing at fault, and the remedy where there is one.

/// The result of everything that touches the device.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between a tensor and the device.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter fits what was asked for.
    #[error("no adapter {wanted}; found: {found}. {remedy}")]
    NoAdapter {
        /// What was asked for, in words.
        wanted: String,
        /// The adapters that exist, in words.
        found: String,
        /// What the user can do.
        remedy: String,
    },

    /// The adapter lacks a feature that was asked for.
    #[error("adapter '{adapter}' lacks the feature {feature}; choose another adapter or do without it")]
    MissingFeature {
        /// The adapter's name.
        adapter: String,
        /// The missing features, as wgpu names them.
        feature: String,
    },

    /// An operation got an argument of a shape it does not fit.
    #[error("{op}: {argument} has shape {got:?}, expected {expected}")]
    Shape {
        /// The operation's name.
        op: &'static str,
        /// The argument's name.
        argument: &'static str,
        /// The shape it has, outermost dimension first.
        got: Vec<usize>,
        /// What would fit, in words or as a shape.
        expected: String,
    },

    /// An operation got a parameter (a stride, a factor, a range) that it does not support.
    #[error("{op}: {argument} is {got}, expected {expected}")]
    Argument {
        /// The operation's name.
        op: &'static str,
        /// The parameter's name.
        argument: &'static str,
        /// Its value.
        got: String,
        /// What would fit.
        expected: String,
    },

    /// Something is larger than the adapter allows.
    #[error(
        "{what} needs {needed}, but adapter '{adapter}' allows {allowed}; use a smaller image or batch, or another adapter"
    )]
    Limit {
        /// What is too large.
        what: String,
        /// How much it needs.
        needed: u64,
        /// The adapter's limit.
        allowed: u64,
        /// The adapter's name.
        adapter: String,
    },

    /// A device was opened with smaller limits than the kernels need, as GUI toolkits do.
    #[error(
        "the wgpu device was opened with too small limits: {}; request at least these, as in wgpu::DeviceDescriptor {{ \
         required_limits: wgpu::Limits::default(), .. }}", .0.join(", ")
    )]
    DeviceLimits(
        /// Each limit: its name in wgpu, what it is and what it must be.
        Vec<String>,
    ),

    /// Processor cores cannot be used as asked.
    #[error("{0}")]
    Cores(
        /// Why, in words.
        String,
    ),

    /// The device has no memory left for a tensor, even after all that was free was given back.
    #[error(
        "out of device memory: a buffer of {bytes} bytes does not fit beside {live} bytes in use; use a smaller image or batch"
    )]
    OutOfMemory {
        /// Size of the buffer that did not fit.
        bytes: u64,
        /// Bytes held by tensors at that moment.
        live: u64,
    },

    /// The device is gone: unplugged, reset by the driver, or destroyed by its owner.
    #[error("the device was lost ({reason}); open a new Gpu and load the weights again")]
    DeviceLost {
        /// The driver's reason.
        reason: String,
    },

    /// wgpu refused something: a fault in a kernel or in how it was launched.
    #[error("{what}: {message}")]
    Validation {
        /// What was being done.
        what: String,
        /// wgpu's own message.
        message: String,
    },

    /// Two tensors of different devices met in one operation.
    #[error("{op}: its tensors live on different devices; move them to one")]
    ForeignTensor {
        /// The operation or kernel.
        op: &'static str,
    },
}

impl Error {
    /// A [`Error::Shape`]: `argument` of `op` has shape `got`, not `expected`.
    pub fn shape(op: &'static str, argument: &'static str, got: &[usize], expected: impl ToString) -> Error {
        Error::Shape { op, argument, got: got.to_vec(), expected: expected.to_string() }
    }

    /// A [`Error::Argument`]: parameter `argument` of `op` is `got`, not `expected`.
    pub fn argument(op: &'static str, argument: &'static str, got: impl ToString, expected: impl ToString) -> Error {
        Error::Argument { op, argument, got: got.to_string(), expected: expected.to_string() }
    }
}
