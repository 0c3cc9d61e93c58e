//! Tensors: a shape, a buffer, and their place in the graph that the tape records.

use crate::graph::Variable;
use crate::pool::Block;
use crate::{Cores, Device, Error, Gpu, Result, Shape};
use alias_cpu::Aligned;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A tensor of float32 on a device: contiguous, row-major, up to four dimensions. A cheap handle; clones share the
/// data.
///
/// Only [`Tensor::overwrite`] and the next run of a [`Recording`](crate::Recording) change the values of a tensor.
#[derive(Clone)]
pub struct Tensor(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    storage: Arc<Storage>,
    shape: Shape,
    /// Its place in the tape's graph, if it is tracked.
    pub(crate) variable: Option<Arc<Variable<Tensor>>>,
}

/// Memory that returns to its device's pool when the last tensor that shares it is dropped.
struct Storage {
    device: Device,
    /// `None` only while it is being dropped.
    memory: Option<Memory>,
}

enum Memory {
    Gpu {
        block: Block<wgpu::Buffer>,
        /// Whether the application has a reference to the buffer. Then no other tensor may use it: what the application
        /// writes to it later could be indices that an unchecked kernel relies on.
        is_lent: AtomicBool,
    },
    Cores(RwLock<Block<Aligned>>),
}

impl Drop for Storage {
    fn drop(&mut self) {
        match (self.memory.take(), &self.device) {
            (Some(Memory::Gpu { block, is_lent }), Device::Gpu(gpu)) => gpu.give_back(block, is_lent.into_inner()),
            (Some(Memory::Cores(memory)), Device::Cores(cores)) => {
                cores.give_back(memory.into_inner().unwrap_or_else(PoisonError::into_inner));
            }
            _ => {}
        }
    }
}

impl Tensor {
    /// A tensor of `shape` with these values.
    ///
    /// # Errors
    /// [`Error::Argument`] if the number of `values` is not that of `shape`; else as [`Tensor::empty`].
    pub fn new(device: impl Into<Device>, shape: &[usize], values: &[f32]) -> Result<Tensor> {
        let (device, shape) = (device.into(), Shape::new(shape)?);
        if values.len() != shape.numel() {
            let expected = format!("{} for shape {shape}", shape.numel());
            return Err(Error::argument("tensor", "the number of values", values.len(), expected));
        }
        check_size(&device, shape)?;
        match &device {
            Device::Gpu(gpu) => Tensor::upload(gpu, shape, bytemuck::cast_slice(values)),
            Device::Cores(_) => {
                let tensor = Tensor::empty(&device, &shape)?;
                tensor.overwrite(0, values)?;
                Ok(tensor)
            }
        }
    }

    fn upload(gpu: &Gpu, shape: Shape, data: &[u8]) -> Result<Tensor> {
        if gpu.counts_only() {
            return Tensor::empty(gpu, &shape);
        }
        if let Some(block) = gpu.reuse(shape.bytes()) {
            let buffer = block.buffer.clone();
            let tensor = Tensor::on_gpu(gpu, block, shape);
            gpu.write(&buffer, 0, data)?;
            return Ok(tensor);
        }
        // Written to the mapped buffer itself, without a staging copy, since weights are hundreds of megabytes.
        let block = gpu.allocate(shape.bytes(), true)?;
        let buffer = block.buffer.clone();
        let tensor = Tensor::on_gpu(gpu, block, shape);
        let mapped = buffer.get_mapped_range_mut(..shape.bytes());
        mapped.map_err(|e| gpu.0.device.refused("uploading a tensor", e.to_string()))?.copy_from_slice(data);
        buffer.unmap();
        Ok(tensor)
    }

    /// A tensor of 32-bit indices, for kernels with lookup tables. Their bits are not meaningful as float32.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn indices(device: impl Into<Device>, shape: &[usize], values: &[u32]) -> Result<Tensor> {
        Tensor::new(device, shape, bytemuck::cast_slice(values))
    }

    /// A tensor of `shape` whose content is undefined until a kernel has written all of it.
    ///
    /// # Errors
    /// [`Error::Argument`] for an invalid shape, [`Error::Limit`] if the device cannot hold that many bytes in one tensor,
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub fn empty(device: impl Into<Device>, shape: &[usize]) -> Result<Tensor> {
        let (device, shape) = (device.into(), Shape::new(shape)?);
        check_size(&device, shape)?;
        match &device {
            Device::Gpu(gpu) => Ok(Tensor::on_gpu(gpu, gpu.allocate(shape.bytes(), false)?, shape)),
            Device::Cores(cores) => Ok(Tensor::on_cores(cores, cores.allocate(shape.bytes())?, shape)),
        }
    }

    /// [`Tensor::empty`] in whatever free buffer is at most eight times as large. For networks that run one after the other:
    /// each finds the memory that the one before gave back, although its own buffers have other sizes.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    pub fn empty_in_free_memory(gpu: &Gpu, shape: &[usize]) -> Result<Tensor> {
        let shape = Shape::new(shape)?;
        check_size(&gpu.into(), shape)?;
        let block = gpu.allocate_within(shape.bytes(), false, 7 * shape.bytes())?;
        Ok(Tensor::on_gpu(gpu, block, shape))
    }

    fn on_gpu(gpu: &Gpu, block: Block<wgpu::Buffer>, shape: Shape) -> Tensor {
        let memory = Some(Memory::Gpu { block, is_lent: AtomicBool::new(false) });
        Tensor::view(Arc::new(Storage { device: gpu.into(), memory }), shape, None)
    }

    fn on_cores(cores: &Cores, block: Block<Aligned>, shape: Shape) -> Tensor {
        let memory = Some(Memory::Cores(RwLock::new(block)));
        Tensor::view(Arc::new(Storage { device: cores.into(), memory }), shape, None)
    }

    fn view(storage: Arc<Storage>, shape: Shape, variable: Option<Arc<Variable<Tensor>>>) -> Tensor {
        Tensor(Arc::new(Inner { storage, shape, variable }))
    }

    /// The same data as a leaf of the tape: results computed from it can be differentiated with respect to it.
    #[must_use]
    pub fn requires_grad(&self) -> Tensor {
        self.with_variable(Variable::leaf(self.0.shape))
    }

    /// The same data, unknown to the tape.
    #[must_use]
    pub fn detach(&self) -> Tensor {
        self.viewed_as(self.0.shape)
    }

    /// The first elements as an untracked tensor of `shape`, which must not have more elements than `self`.
    pub(crate) fn viewed_as(&self, shape: Shape) -> Tensor {
        Tensor::view(self.0.storage.clone(), shape, None)
    }

    /// The same data, known to the tape as `variable`.
    pub(crate) fn with_variable(&self, variable: Variable<Tensor>) -> Tensor {
        Tensor::view(self.0.storage.clone(), self.0.shape, Some(Arc::new(variable)))
    }

    /// The first elements as an untracked tensor of `shape`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `shape` has more elements than `self`.
    pub fn prefix(&self, shape: &[usize]) -> Result<Tensor> {
        let shape = Shape::new(shape)?;
        if shape.numel() > self.numel() {
            return Err(Error::shape("prefix", "x", &self.0.shape, format!("at least as many elements as {shape}")));
        }
        Ok(self.viewed_as(shape))
    }

    /// Overwrites elements from index `start` on, after everything that was recorded or submitted so far. The next run
    /// of a [`Recording`](crate::Recording) uses the new values. Results that were computed from the old ones stay as
    /// they are; the tape does not notice the change.
    ///
    /// # Errors
    /// [`Error::Argument`] if `values` reach past its end or do not fill whole elements; what the device reports.
    pub fn overwrite<T: bytemuck::NoUninit>(&self, start: usize, values: &[T]) -> Result<()> {
        let data: &[u8] = bytemuck::cast_slice(values);
        let offset = 4 * start as u64;
        if offset + data.len() as u64 > self.bytes() || !data.len().is_multiple_of(4) {
            let expected =
                format!("at most {} from element {start} on, a multiple of 4", self.bytes().saturating_sub(offset));
            return Err(Error::argument("overwrite", "the number of bytes", data.len(), expected));
        }
        match (self.memory(), self.device()) {
            (Memory::Gpu { block, .. }, Device::Gpu(gpu)) => gpu.write(&block.buffer, offset, data),
            (Memory::Cores(_), Device::Cores(cores)) if cores.counts_only() => Ok(()),
            (Memory::Cores(memory), _) => {
                let mut memory = write(memory);
                let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut memory.buffer);
                bytes[offset as usize..][..data.len()].copy_from_slice(data);
                Ok(())
            }
            _ => unreachable!("memory is that of its device"),
        }
    }

    /// Where the elements lie on the device, for commands that the application encodes itself: a buffer, the offset of
    /// the first element and the size of all, both in bytes.
    ///
    /// * The elements are there for commands that are submitted after [`Gpu::submit`] was called; the queue runs in
    ///   order, so nothing has to wait.
    /// * Keep the tensor until those commands are submitted. Once it and all tensors that share its data are dropped,
    ///   its memory is freed. Other tensors do not use the buffer.
    /// * The buffer may be a storage buffer, and source and destination of copies. Writing to it has the effect of
    ///   [`Tensor::overwrite`].
    ///
    /// # Errors
    /// [`Error::Argument`] on processor cores, and on a [counting](Gpu::counting) device, which has no elements.
    pub fn buffer(&self) -> Result<wgpu::BufferSlice<'_>> {
        match (self.memory(), self.device()) {
            (Memory::Gpu { block, is_lent }, Device::Gpu(gpu)) if !gpu.counts_only() => {
                is_lent.store(true, Ordering::Relaxed);
                Ok(block.buffer.slice(..self.bytes()))
            }
            _ => Err(Error::argument("buffer", "the device", "one without buffers", "a GPU that computes")),
        }
    }

    /// The device that holds its data.
    pub fn device(&self) -> &Device {
        &self.0.storage.device
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.0.shape
    }

    /// How many elements it has.
    pub fn numel(&self) -> usize {
        self.0.shape.numel()
    }

    /// How many bytes its elements take on the device.
    pub fn bytes(&self) -> u64 {
        self.0.shape.bytes()
    }

    /// Whether the tape records operations on it.
    pub fn is_tracked(&self) -> bool {
        self.0.variable.is_some()
    }

    /// Copies its values to the host, after everything recorded so far has run.
    ///
    /// # Errors
    /// What went wrong on the device since the last read, such as [`Error::DeviceLost`].
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        match (self.memory(), self.device()) {
            (Memory::Gpu { block, .. }, Device::Gpu(gpu)) => gpu.read(&block.buffer, self.bytes()),
            (Memory::Cores(_), Device::Cores(cores)) if cores.counts_only() => Ok(vec![0.0; self.numel()]),
            (Memory::Cores(memory), _) => Ok(read(memory).buffer[..self.numel()].to_vec()),
            _ => unreachable!("memory is that of its device"),
        }
    }

    /// Whether both share one buffer.
    pub(crate) fn shares_storage(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.0.storage, &other.0.storage)
    }

    fn memory(&self) -> &Memory {
        self.0.storage.memory.as_ref().expect("only drop takes the memory")
    }

    /// The binding for a bind group: its elements only, without the rest of a pooled buffer.
    pub(crate) fn binding(&self) -> wgpu::BindingResource<'_> {
        let Memory::Gpu { block, .. } = self.memory() else { unreachable!("a launch checks where its tensors live") };
        let size = wgpu::BufferSize::new(self.bytes());
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &block.buffer, offset: 0, size })
    }

    /// Its memory on cores, to read.
    pub(crate) fn read_on_cores(&self) -> RwLockReadGuard<'_, Block<Aligned>> {
        let Memory::Cores(memory) = self.memory() else { unreachable!("a launch checks where its tensors live") };
        read(memory)
    }

    /// Its memory on cores, to write.
    pub(crate) fn write_on_cores(&self) -> RwLockWriteGuard<'_, Block<Aligned>> {
        let Memory::Cores(memory) = self.memory() else { unreachable!("a launch checks where its tensors live") };
        write(memory)
    }
}

// A panic leaves numbers half written, nothing else.
fn read<T>(memory: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    memory.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(memory: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    memory.write().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor{}", self.0.shape)
    }
}

fn check_size(device: &Device, shape: Shape) -> Result<()> {
    device.check_size(|| format!("a float32 tensor of shape {shape} (in bytes)"), shape.bytes())
}
