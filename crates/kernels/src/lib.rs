//! The operations of the network, each a `.rs` here and a `.wgsl` in `shaders/`: forward, backward, float64 twin, check.
//!
//! They are free functions on (N, C, H, W) tensors of float32. What bears the name of a function of
//! `torch.nn.functional` does what that does; the others say in their first line what they are there. Each refuses shapes
//! it does not fit with an [`Error`](alias_tensor::Error) that names the operation, the argument, what it got and what it
//! expected.
//!
//! [`plan`] holds the steps of an [`alias_plan::Plan`]: fused kernels that only draw.

use alias_plan::Precision;
pub use alias_plan::philox;
use alias_tensor::Kernel;

#[macro_use]
mod macros;

mod adam;
mod add;
mod affine;
mod avg_pool;
mod batch_norm;
mod concat;
mod conv2d;
mod geometry;
mod instance_norm;
mod l1;
mod leaky_relu;
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
mod slice;
mod softplus;
mod spectral_norm;
mod sum_segments;
mod sum_windows;
mod tanh;
mod transpose;

pub use adam::Adam;
pub use add::add;
pub use affine::affine;
pub use avg_pool::avg_pool;
pub use batch_norm::{RunningStatistics, batch_norm, batch_norm_train};
pub use concat::concat;
pub use conv2d::{conv2d, conv2d_normalized, conv2d_packed};
pub use instance_norm::instance_norm;
pub use l1::l1;
pub use leaky_relu::leaky_relu;
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
pub use slice::slice;
pub use softplus::softplus;
pub use spectral_norm::{SpectralNorm, power_iteration, spectral_norm};
pub use sum_windows::{Windows, sum_windows};
pub use tanh::tanh;
pub use transpose::transpose;

/// The text of a shader, by how weights and activations are stored.
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

/// Entry point `entry` of this project's shader `source`.
#[expect(unsafe_code, reason = "the one place that vouches for the shaders")]
const fn kernel(name: &'static str, source: &'static [&'static str], entry: &'static str) -> Kernel {
    // SAFETY: every entry point of shaders/ returns before it indexes past the sizes in its Params, which the function
    // that launches it has checked against the tensors; loops run over those sizes; workgroup memory is written before it
    // is read. What they look up by (labels' windows, rows of a table) is made in this workspace, from 1 or 0 to the size
    // that the Params have. `alias_oracle::check`, and for a plan's steps tests/painter.rs, run each with and without the
    // checks and compare the bits.
    unsafe { Kernel::new(name, source, entry).assume_in_bounds() }
}
