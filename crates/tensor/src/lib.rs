//! Device, kernels, tensors and the autograd tape.
//!
//! This crate knows no operation by name. It gives the ones in `alias-kernels` four things:
//!
//! * [`Gpu`]: an adapter, chosen or brought along, with its pipelines, its pool of buffers and one open command encoder;
//! * [`Kernel`] and [`Gpu::launch`]: a WGSL entry point and how to run it;
//! * [`Tensor`]: a shape and a buffer of float32, contiguous, row-major, up to four dimensions (N, C, H, W);
//! * the tape: [`Tensor::with_backward`] and [`Tensor::backward`], reverse-mode differentiation over closures.
//!
//! Work is recorded, not run: it is submitted when a result is read or a budget is reached. Nothing here panics on
//! what the outside world does; a lost device, exhausted memory or a missing feature comes back as an [`Error`].

mod adapter;
mod counters;
mod error;
mod gpu;
mod kernel;
mod pool;
mod recorder;
mod recording;
mod shape;
mod tape;
mod tensor;

pub use adapter::{AdapterChoice, GpuOptions, adapters};
pub use counters::Counters;
pub use error::{Error, Result};
pub use gpu::Gpu;
pub use kernel::{Kernel, Work};
pub use recording::Recording;
pub use shape::Shape;
pub use tape::{Gradients, Pass, no_grad};
pub use tensor::Tensor;
pub use wgpu;
