//! Runs an [`alias_plan::Plan`] on processor cores: for machines without a GPU.
//!
//! Activations are float32 and lie in blocks of [`BLOCK`] channels, (N, C / BLOCK, H, W, BLOCK): a pixel's block is a vector,
//! or two, or four, and a row of pixels is what products multiply with a panel of weights. How a step is divided may depend on
//! the number of threads, the order in which a sum's terms are added does not: nor do the bits of an image.
//!
//! A software rasterizer would run the GPU's kernels on the same cores, in 14 times as long.

mod aligned;
mod blocks;
mod buffers;
mod convolution;
mod device;
mod input;
mod modulation_table;
mod noise;
mod output;
mod peak;
mod planes;
mod pool;
mod product;
mod statistics;
mod step;
mod tanh;
mod weights;
mod winograd;
mod winograd_transform;

pub use blocks::BLOCK;
pub use buffers::HostBuffers;
pub use device::{Cpu, CpuOptions, Error, Instructions};
pub use modulation_table::TableWeights;
pub use planes::{pack_coefficients, pack_planes, unpack_planes};
pub use step::{StepWeights, run};
pub use weights::{ConvolutionWeights, Filter, MAX_TAPS};
pub use winograd::scratch_elements;

use blocks::{PANEL, blocks, places};
