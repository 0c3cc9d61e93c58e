//! Device, kernels, tensors and the autograd tape.
//!
//! This crate knows no operation by name. It gives the operations in `alias-kernels` four things:
//!
//! * [`Device`]: a [`Gpu`], an adapter with its pipelines, its pool of buffers and one open command encoder; or [`Cores`],
//!   the processor's threads with a pool of memory;
//! * [`Kernel`] and [`Device::launch`]: a WGSL entry point, the function that computes the same on cores, and how to run
//!   them;
//! * [`Tensor`]: a shape and a buffer of float32, contiguous, row-major, up to four dimensions (N, C, H, W);
//! * the tape: [`Tensor::with_backward`] and [`Tensor::backward`], reverse-mode differentiation over closures.
//!
//! On a GPU a launch is recorded, not run: work is submitted when a result is read, or when there is enough of it. A lost
//! device, exhausted memory or a missing feature comes back as an [`Error`], not as a panic.

mod adapter;
mod cores;
mod counters;
mod device;
mod error;
mod gpu;
mod graph;
mod kernel;
mod launch;
mod open_device;
mod pace;
mod pipelines;
mod pool;
mod profile;
mod recorder;
mod recording;
mod shape;
mod tape;
mod tensor;

pub use adapter::{AdapterChoice, GpuOptions, adapters};
pub use alias_cpu::CpuOptions;
pub use cores::Cores;
pub use counters::Counters;
pub use device::Device;
pub use error::{Error, Result};
pub use gpu::Gpu;
pub use kernel::{Kernel, OnCores, Work};
pub use profile::KernelTime;
pub use recording::Recording;
pub use shape::Shape;
pub use tape::{Gradients, Pass, enable_grad, no_grad};
pub use tensor::Tensor;
pub use wgpu;
