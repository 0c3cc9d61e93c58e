//! The steps of an [`alias_plan::Plan`] on a GPU, a file each. They have no gradients.

mod buffers;
mod fused_conv2d;
mod fused_linear;
mod fused_pool;
mod input;
mod load_store;
mod modulation_table;
mod record;
mod rgba8;
mod staged_conv2d;
mod statistics;
mod winograd_conv2d;

pub(crate) use input::holds;

pub use buffers::DeviceBuffers;
pub use modulation_table::TableWeights;
pub use record::StepWeights;
pub use staged_conv2d::staged_elements;
pub use winograd_conv2d::winograd_weight;

use alias_plan::{Method, Step};

/// Number of kernels that a step launches.
pub fn launches(step: &Step) -> usize {
    match step {
        Step::Table(table) => 2 + usize::from(table.taps.is_some()),
        Step::Noise(_) | Step::Pool(_) | Step::Linear(_) | Step::Correlation(_) => 1,
        Step::Statistics(_) | Step::L2Normalization(_) => 2,
        Step::Convolution(convolution) => match convolution.method {
            Method::Staged(_) => 2 * convolution.bands().count(),
            _ => 1,
        },
    }
}
