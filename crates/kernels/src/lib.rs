//! Differentiable operations on GPUs and on processor cores. Each is a `.rs` here and a `.wgsl` in `shaders/`: forward,
//! backward, float64 twin, check.
//!
//! Operations are free functions on (N, C, H, W) tensors of float32. An operation named like a function of
//! `torch.nn.functional` computes the same; the documentation of any other begins with what it computes. For shapes
//! that it does not support, an operation returns an [`Error`](alias_tensor::Error) with the operation, the argument,
//! what it got and what it expected.
//!
//! ```
//! use alias_kernels::{conv2d, leaky_relu, philox};
//! use alias_tensor::{Device, Tensor};
//!
//! let device = Device::auto()?; // a GPU if there is a real one, else processor cores
//! let mut numbers = philox::normal(0, 0).map(|z| z as f32); // seed 0, stream 0
//! let mut random = |shape: &[usize]| {
//!     let values: Vec<f32> = numbers.by_ref().take(shape.iter().product()).collect();
//!     Tensor::new(&device, shape, &values)
//! };
//! let (x, weight) = (random(&[1, 3, 8, 8])?, random(&[4, 3, 3, 3])?.requires_grad());
//! let y = leaky_relu(&conv2d(&x, &weight, None, 1, 1)?, 0.2)?; // stride 1, padding 1
//!
//! let cotangent = random(&[1, 4, 8, 8])?;
//! let gradients = y.backward(&cotangent)?; // of the sum of y * cotangent
//! let by_weight = gradients.get(&weight).expect("the weight requires a gradient");
//! assert_eq!(by_weight.shape(), weight.shape());
//! assert!(by_weight.to_vec()?.iter().all(|g| g.is_finite()));
//! # Ok::<(), alias_tensor::Error>(())
//! ```
//!
//! [`plan`] executes the steps of an [`alias_plan::Plan`] by fused kernels, without gradients.

use alias_plan::Precision;
pub use alias_plan::philox;
use alias_tensor::Kernel;

#[macro_use]
mod macros;

mod adam;
mod add;
mod affine;
mod argmax;
mod avg_pool;
mod batch_norm;
mod bilinear_resize;
mod concat;
mod conv2d;
mod correlation;
mod cross_entropy;
mod dropout;
mod gaussian_blur;
mod geometry;
mod grid_sample;
mod instance_norm;
mod l1;
mod l2_normalize;
mod leaky_relu;
mod linear;
mod mask_norm;
mod max_pool;
mod modulate;
mod modulate_by_table;
mod mul;
mod noise;
mod pack;
mod peak;
pub mod plan;
mod reduce;
mod relu;
mod resize;
mod scale;
mod score_loss;
mod second_order_constraint;
mod sigmoid;
mod slice;
mod smooth_labels;
mod spectral_norm;
mod sum_segments;
mod sum_windows;
mod tanh;
mod taps;
mod thin_plate_warp;
mod tps_grid;
mod weighted_sum;

pub use adam::Adam;
pub use add::add;
pub use affine::affine;
pub use argmax::argmax;
pub use avg_pool::avg_pool;
pub use batch_norm::{RunningStatistics, batch_norm, batch_norm_train};
pub use bilinear_resize::bilinear_resize;
pub use concat::concat;
pub use conv2d::{ConvWeight, conv2d, conv2d_leaky_relu, conv2d_normalized, conv2d_packed};
pub use correlation::correlation;
pub use cross_entropy::{PixelClasses, cross_entropy};
pub use dropout::dropout;
pub use gaussian_blur::gaussian_blur;
pub use grid_sample::grid_sample;
pub use instance_norm::{instance_norm, instance_norm_leaky_relu};
pub use l1::l1;
pub use l2_normalize::l2_normalize;
pub use leaky_relu::leaky_relu;
pub use linear::linear;
pub use mask_norm::mask_norm;
pub use max_pool::max_pool;
pub use modulate::modulate;
pub use modulate_by_table::{PixelEntries, modulate_by_table};
pub use mul::mul;
pub use noise::add_noise;
pub use pack::PackedWeight;
pub use peak::Peak;
pub use reduce::{mean, sum};
pub use relu::relu;
pub use resize::resize;
pub use scale::scale;
pub use score_loss::{Line, ScoreFunction, score_loss};
pub use second_order_constraint::second_order_constraint;
pub use sigmoid::sigmoid;
pub use slice::slice;
pub use smooth_labels::smooth_labels;
pub use spectral_norm::{SpectralNorm, power_iteration, spectral_norm};
pub use sum_windows::{Windows, sum_windows};
pub use tanh::tanh;
pub use taps::taps;
pub use thin_plate_warp::thin_plate_warp;
pub use tps_grid::tps_grid;
pub use weighted_sum::weighted_sum;

/// A shader's text for each [`Precision`] of stored weights and activations.
#[derive(Clone, Copy)]
struct ShaderText {
    f32: &'static [&'static str],
    f16: &'static [&'static str],
}

impl ShaderText {
    const fn of(self, precision: Precision) -> &'static [&'static str] {
        match precision {
            Precision::F32 => self.f32,
            Precision::F16 => self.f16,
        }
    }
}

/// Entry point `entry` of this project's shader `source`, compiled without bounds checks.
#[expect(unsafe_code, reason = "the one place that vouches for the shaders")]
const fn kernel(name: &'static str, source: &'static [&'static str], entry: &'static str) -> Kernel {
    // SAFETY: An entry point of shaders/ returns before it indexes past the sizes in its Params, and the function that
    // launches it has checked the tensors against those sizes. Its loops run over the same sizes, and it writes
    // workgroup memory before it reads it. Indices that lie in buffers (windows, table entries) were checked on upload:
    // by `PixelEntries`, `PixelClasses`, `Windows`, `Segments` and `DeviceBuffers`, or are clamped (`grid_sample`), or
    // come from alias-plan's `Smoothing`, all of whose sums lie inside. Tests run every operation (`alias_oracle::check`)
    // and every step of a plan (tests/steps.rs, tests/painter.rs) with and without bounds checks and compare the bits.
    unsafe { Kernel::new(name, source, entry).assume_in_bounds() }
}
