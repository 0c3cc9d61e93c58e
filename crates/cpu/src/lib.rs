//! Runs an [`alias_plan::Plan`] on processor cores: for machines without a GPU.
//!
//! Activations are float32 and lie in blocks of [`BLOCK`] channels, (N, C / BLOCK, H, W, BLOCK): a pixel's block is a vector,
//! or two, or four, and a row of pixels is what products multiply with a panel of weights. How a step is divided may depend on
//! the number of threads, the order in which a sum's terms are added does not: nor do the bits of an image.
//!
//! A software rasterizer would run the GPU's kernels on the same cores, in 14 times as long.

mod aligned;
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
mod tanh;
mod weights;
mod winograd;
mod winograd_transform;

pub use buffers::HostBuffers;
pub use device::{Cpu, CpuOptions, Error, Instructions};
pub use modulation_table::TableWeights;
pub use planes::{pack_coefficients, pack_planes, unpack_planes};
pub use weights::{ConvolutionWeights, Filter, MAX_TAPS};
pub use winograd::scratch_elements;

use alias_plan::{Method, Step};

/// Channels that lie together.
pub const BLOCK: usize = 16;
/// Columns of weights that lie together: two blocks of output channels.
const PANEL: usize = 2 * BLOCK;

/// What a step computes with, besides buffers.
#[derive(Clone, Copy, Debug)]
pub enum StepWeights<'a> {
    /// Of a table.
    Table(&'a TableWeights),
    /// Of a convolution.
    Convolution(&'a ConvolutionWeights),
    /// Of statistics: (C), each channel's scale of the noise.
    NoiseScale(&'a [f32]),
    /// Other steps have none.
    None,
}

/// Executes a step.
///
/// # Panics
/// Where the weights are not the step's, or a buffer is smaller than the step says.
pub fn run(cpu: &Cpu, step: &Step, buffers: &mut HostBuffers, weights: StepWeights) {
    cpu.install(|| match (step, weights) {
        (Step::Table(step), StepWeights::Table(weights)) => modulation_table::run(cpu, step, buffers, weights),
        (Step::Noise(step), StepWeights::None) => noise::run(step, buffers),
        (Step::Statistics(step), StepWeights::NoiseScale(scale)) => statistics::run(cpu, step, buffers, scale),
        (Step::Convolution(step), StepWeights::Convolution(weights)) => match step.method {
            Method::Winograd(_) => winograd::run(cpu, step, buffers, weights),
            Method::Fused => convolution::run(cpu, step, buffers, weights),
            Method::Staged(_) => panic!("{}: bands are staged for GPUs", step.name),
        },
        (Step::Pool(step), StepWeights::None) => pool::run(cpu, step, buffers),
        (step, _) => panic!("{}: weights of another kind of step", step.name()),
    });
}

/// Blocks that channels take.
fn blocks(channels: usize) -> usize {
    channels.div_ceil(BLOCK)
}

/// Where in the blocks the channels of concatenated tensors are: of each channel, its place.
fn places(operands: &[usize]) -> impl Iterator<Item = usize> {
    operands
        .iter()
        .scan(0, |start, &channels| {
            let places = *start..*start + channels;
            *start += channels.next_multiple_of(BLOCK);
            Some(places)
        })
        .flatten()
}
