//! Processor cores, for machines without a GPU: their threads and vector instructions, memory, products and transforms; and
//! what runs an [`alias_plan::Plan`] with them. `alias-kernels` makes its operations' kernels for cores of the same parts.
//!
//! A plan's activations are float32 in blocks of [`BLOCK`] channels, (N, C / BLOCK, H, W, BLOCK). A pixel's block is one, two or
//! four vectors, and the blocks of neighbouring pixels are the rows of matrix products with the weights. The number of
//! threads may change how a step is divided, but not the order in which terms are summed: results are the same bit for
//! bit.
//!
//! A software rasterizer that runs the GPU's kernels on the same cores takes 14 times as long.
//!
//! 2x2 max pooling of a picture:
//!
//! ```
//! use alias_cpu::{BLOCK, Cpu, CpuOptions, HostBuffers, StepWeights, pack_planes, run, unpack_planes};
//! use alias_plan::{Buffer, BufferId, Input, Memory, Operand, Plan, Pool, Precision, Role, Step};
//!
//! let picture = Operand { buffer: BufferId(0), channels: 3, height: 8, width: 8 };
//! let input = Input { batch: 1, height: 8, width: 8, operands: vec![picture], noise: None, norm: None, slope: 1.0 };
//! let output = BufferId(1);
//! let pool = Pool { name: "pool".into(), input, is_max: true, window: 2, stride: 2, padding: 0, output };
//!
//! // Three channels take a block of 16.
//! let buffer = |name: &str, elements, role| Buffer { name: name.into(), elements, activations: true, role };
//! let buffers = vec![buffer("picture", 8 * 8 * BLOCK, Role::Input), buffer("pooled", 4 * 4 * BLOCK, Role::Output)];
//! let plan = Plan { precision: Precision::F32, block: BLOCK, buffers, steps: vec![Step::Pool(pool)] };
//!
//! let cpu = Cpu::open(CpuOptions::default())?;
//! let mut buffers = HostBuffers::new(&plan, &Memory::assign(&plan))?;
//! let pixels: Vec<f32> = (0..3 * 8 * 8).map(|k| k as f32).collect();
//! pack_planes(&cpu, &[&pixels], 1, 8 * 8, buffers.get_mut(BufferId(0)));
//! run(&cpu, &plan.steps[0], &mut buffers, StepWeights::None);
//! let pooled = unpack_planes(&cpu, buffers.get(BufferId(1)), 3, 4 * 4); // (1, 3, 4, 4)
//! assert_eq!(pooled[..4], [9.0, 11.0, 13.0, 15.0]);
//! # Ok::<(), alias_cpu::Error>(())
//! ```

mod aligned;
mod blocks;
mod buffers;
mod convolution;
mod correlation;
mod device;
mod elementwise;
mod exp;
mod input;
mod l2_normalization;
mod linear;
mod log;
mod modulation_table;
mod noise;
mod output;
mod peak;
mod planes;
mod pool;
mod product;
mod smooth_labels;
mod statistics;
mod step;
mod tanh;
mod thin_plate;
mod transpose;
mod weights;
mod winograd;
mod winograd_transform;

pub use aligned::{Aligned, Scratch};
pub use blocks::{BLOCK, PANEL, blocks};
pub use buffers::HostBuffers;
pub use device::{Cpu, CpuOptions, Error, Instructions};
pub use elementwise::{Formula, map, map_formula, sum};
pub use exp::{exp, sigmoid};
pub use linear::LinearWeights;
pub use log::log;
pub use modulation_table::TableWeights;
pub use noise::normal;
pub use planes::{Planes, pack_coefficients, pack_planes, stage_planes, unpack_planes};
pub use product::{SLACK, outer_product, product, row_product};
pub use smooth_labels::{smooth_labels, smooth_scores};
pub use step::{StepWeights, run};
pub use tanh::tanh;
pub use thin_plate::{thin_plate_grid, thin_plate_warp};
pub use transpose::{SIDE, store_pixels, transposed};
pub use weights::{ConvolutionWeights, Filter, MAX_TAPS, WeightView};
pub use winograd::scratch_elements;
pub use winograd_transform::{F, Transform};

use blocks::places;
