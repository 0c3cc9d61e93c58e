//! Device, kernels, tensors and the autograd tape.
//!
//! This crate knows no operation by name. It gives the operations in `alias-kernels` four things:
//!
//! * [`Gpu`]: an adapter, chosen or brought along, with its pipelines, its pool of buffers and one open command
//!   encoder;
//! * [`Kernel`] and [`Gpu::launch`]: a WGSL entry point and how to run it;
//! * [`Tensor`]: a shape and a buffer of float32, contiguous, row-major, up to four dimensions (N, C, H, W);
//! * the tape: [`Tensor::with_backward`] and [`Tensor::backward`], reverse-mode differentiation over closures.
//!
//! A launch is recorded, not run: work is submitted when a result is read, or when there is enough of it. A lost
//! device, exhausted memory or a missing feature comes back as an [`Error`], not as a panic.

mod adapter;
mod counters;
mod device;
mod error;
mod gpu;
mod graph;
mod kernel;
mod launch;
mod pace;
mod pipelines;
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
