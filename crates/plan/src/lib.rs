//! What a network computes for one input, step by step, as plain data: shapes, operations, bytes, and when each buffer is free.
//!
//! Nothing here knows a device. `alias-model` makes the list from a network; each executor runs it: the kernels of
//! `alias-kernels` on a GPU, `alias-cpu` on processor cores.
//!
//! There are five kinds of steps. [`ModulationTable`]: SPADE's scale and shift for each distinct window of a label map.
//! [`NoisePlane`]: a plane of Gaussian noise. [`Statistics`]: mean and deviation of each plane. [`Convolution`] and [`Pool`]:
//! everything else, since resizing, concatenation, normalization, modulation, activation and addition all happen where a
//! convolution or a pooling loads ([`Input`]) or stores.

mod convolution;
mod input;
mod memory;
mod modulation_table;
pub mod philox;
mod pool;
mod statistics;
mod step;

pub use convolution::{Activation, Convolution, Method};
pub use input::{Input, Modulation, Normalization, Operand};
pub use memory::Memory;
pub use modulation_table::ModulationTable;
pub use pool::Pool;
pub use statistics::Statistics;
pub use step::{NoisePlane, Step};

/// A buffer of a plan, by its place in [`Plan::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub usize);

/// How long a buffer's content lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// From the host, before the first step of each image, to the last step that reads it.
    Input,
    /// From the first step that writes it to the last one that reads it.
    Temporary,
    /// From the first step that writes it to the end of the image.
    Output,
    /// From one image to the next: what only depends on the person.
    Kept,
}

/// A buffer that steps read and write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// What is in it, such as `up_3.conv_0`.
    pub name: String,
    /// How many elements: of four bytes, or if they are activations, as [`Plan::precision`] says.
    pub elements: usize,
    /// Whether it holds activations, which may be stored in half precision, and not coefficients or indices.
    pub activations: bool,
    /// How long it lasts.
    pub role: Role,
}

/// How numbers are stored. Sums are float32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Everything in float32.
    #[default]
    F32,
    /// Weights and activations in float16.
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

/// The steps that make an image, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How weights and activations are stored.
    pub precision: Precision,
    /// In what blocks the channels of activations lie: (N, C / block, H, W, block), the last block filled up. 1 is (N, C, H, W).
    pub block: usize,
    /// Everything that steps read and write besides weights.
    pub buffers: Vec<Buffer>,
    /// What happens.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Bytes of a buffer.
    pub fn bytes(&self, buffer: BufferId) -> u64 {
        let Buffer { elements, activations, .. } = self.buffers[buffer.0];
        let each = if activations { self.precision.bytes() } else { 4 };
        (elements as u64 * each).next_multiple_of(4)
    }

    /// Floating-point operations of all steps.
    pub fn flops(&self) -> u64 {
        self.steps.iter().map(Step::flops).sum()
    }

    /// Bytes that the steps have to move at least: everything that each of them reads and writes, once.
    pub fn bytes_moved(&self) -> u64 {
        self.steps.iter().map(|step| step.bytes_moved(self)).sum()
    }
}
