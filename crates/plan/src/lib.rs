//! A network's computation for one input, as plain data: steps, shapes, operations, bytes, lifetimes of buffers.
//!
//! This crate knows no device. `alias-model` makes a [`Plan`] from a network; `alias-kernels` executes it on a GPU,
//! `alias-cpu` on processor cores.
//!
//! A [`Step`] is of one of these kinds:
//!
//! * [`ModulationTable`]: SPADE's scale and shift for each distinct 5x5 window of a label map;
//! * [`NoisePlane`]: a plane of Gaussian noise;
//! * [`Statistics`]: mean and scale of each plane, for instance norm or mask norm;
//! * [`Convolution`], [`Pool`] and [`Linear`]: resizing, concatenation, normalization, modulation and activation happen
//!   when they load their [`Input`], addition and the last activation when they store;
//! * [`L2Normalization`] and [`Correlation`]: of feature maps, in geometric matching.
//!
//! 2x2 max pooling of a picture, as a plan:
//!
//! ```
//! use alias_plan::{Buffer, BufferId, Input, Operand, Plan, Pool, Precision, Role, Step};
//!
//! let picture = Operand { buffer: BufferId(0), channels: 3, height: 8, width: 8 };
//! let input = Input { batch: 1, height: 8, width: 8, operands: vec![picture], noise: None, norm: None, slope: 1.0 };
//! let output = BufferId(1);
//! let pool = Pool { name: "pool".into(), input, is_max: true, window: 2, stride: 2, padding: 0, output };
//!
//! let buffer = |name: &str, elements, role| Buffer { name: name.into(), elements, activations: true, role };
//! let buffers = vec![buffer("picture", 3 * 8 * 8, Role::Input), buffer("pooled", 3 * 4 * 4, Role::Output)];
//! let plan = Plan { precision: Precision::F32, block: 1, buffers, steps: vec![Step::Pool(pool)] };
//! println!("{} operations, {} bytes moved", plan.flops(), plan.bytes_moved());
//! assert_eq!(plan.flops(), 384); // an activation for each of 192 elements, and 4 comparisons for each of 48
//! ```

mod convolution;
mod correlation;
mod input;
mod l2_normalization;
mod linear;
mod memory;
mod modulation_table;
pub mod philox;
mod pool;
mod smoothing;
mod statistics;
mod step;
mod thin_plate;

pub use convolution::{Activation, Convolution, Method};
pub use correlation::Correlation;
pub use input::{Input, Modulation, Normalization, Operand};
pub use l2_normalization::L2Normalization;
pub use linear::Linear;
pub use memory::Memory;
pub use modulation_table::ModulationTable;
pub use pool::Pool;
pub use smoothing::{Smoothing, bilinear};
pub use statistics::Statistics;
pub use step::{NoisePlane, Step};
pub use thin_plate::ThinPlate;

/// A buffer of a plan: its index in [`Plan::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub usize);

/// How long a buffer's content lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The host fills it before the first step of each run; it lasts to the last step that reads it.
    Input,
    /// From the first step that writes it to the last one that reads it.
    Temporary,
    /// From the first step that writes it to the end of the run.
    Output,
    /// From one run to the next: for what depends on the person alone.
    Kept,
}

/// A buffer that steps read and write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Name of its content, such as `up_3.conv_0`.
    pub name: String,
    /// Number of elements, of four bytes each, or for activations as [`Plan::precision`] says.
    pub elements: usize,
    /// Whether it holds activations. Coefficients and indices always take four bytes each.
    pub activations: bool,
    /// How long it lasts.
    pub role: Role,
}

/// How weights and activations are stored. Sums are always float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// In float32.
    #[default]
    F32,
    /// In float16.
    F16,
}

impl Precision {
    /// Bytes of a stored weight or activation.
    pub fn bytes(self) -> u64 {
        match self {
            Precision::F32 => 4,
            Precision::F16 => 2,
        }
    }
}

/// The steps from a network's inputs to its outputs, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How weights and activations are stored.
    pub precision: Precision,
    /// Channels per block of activations, which have the layout (N, C / block, H, W, block), with the last block
    /// padded. 1 means (N, C, H, W).
    pub block: usize,
    /// Everything that steps read and write, except weights.
    pub buffers: Vec<Buffer>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Bytes of a buffer, a multiple of four.
    pub fn bytes(&self, buffer: BufferId) -> u64 {
        let Buffer { elements, activations, .. } = self.buffers[buffer.0];
        let each = if activations { self.precision.bytes() } else { 4 };
        (elements as u64 * each).next_multiple_of(4)
    }

    /// Floating-point operations of all steps.
    pub fn flops(&self) -> u64 {
        self.steps.iter().map(Step::flops).sum()
    }

    /// A lower bound on the bytes that the steps move: each reads and writes its buffers and weights once.
    pub fn bytes_moved(&self) -> u64 {
        self.steps.iter().map(|step| step.bytes_moved(self)).sum()
    }
}
