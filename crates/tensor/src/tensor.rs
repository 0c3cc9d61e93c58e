//! Tensors: a shape, a buffer, and their place in the graph that the tape records.

use crate::graph::Variable;
use crate::pool::Block;
use crate::recorder::Copy;
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
    /// The index of its first element in the storage.
    start: usize,
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
        Tensor::view(Arc::new(Storage { device: gpu.into(), memory }), 0, shape, None)
    }

    fn on_cores(cores: &Cores, block: Block<Aligned>, shape: Shape) -> Tensor {
        let memory = Some(Memory::Cores(RwLock::new(block)));
        Tensor::view(Arc::new(Storage { device: cores.into(), memory }), 0, shape, None)
    }

    fn view(storage: Arc<Storage>, start: usize, shape: Shape, variable: Option<Arc<Variable<Tensor>>>) -> Tensor {
        Tensor(Arc::new(Inner { storage, start, shape, variable }))
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
        Tensor::view(self.0.storage.clone(), self.0.start, shape, None)
    }

    /// The same data, known to the tape as `variable`.
    pub(crate) fn with_variable(&self, variable: Variable<Tensor>) -> Tensor {
        Tensor::view(self.0.storage.clone(), self.0.start, self.0.shape, Some(Arc::new(variable)))
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

    /// The elements from index `start` on, as an untracked tensor of `shape`.
    ///
    /// # Errors
    /// [`Error::Shape`] if they reach past the end of `self`; [`Error::Argument`] if `start` is not a multiple of
    /// [`Tensor::ALIGNMENT`].
    pub fn part(&self, start: usize, shape: &[usize]) -> Result<Tensor> {
        let shape = Shape::new(shape)?;
        if !start.is_multiple_of(Tensor::ALIGNMENT) {
            return Err(Error::argument("part", "start", start, format!("a multiple of {}", Tensor::ALIGNMENT)));
        }
        if start > self.numel() || shape.numel() > self.numel() - start {
            let expected = format!("at least {start} elements and as many as {shape}");
            return Err(Error::shape("part", "x", &self.0.shape, expected));
        }
        Ok(Tensor::view(self.0.storage.clone(), self.0.start + start, shape, None))
    }

    /// Copies some tensors of one device into a new one of `length` elements, each from an index on. What no tensor fills is
    /// undefined.
    ///
    /// # Errors
    /// [`Error::ForeignTensor`] if they are not all on `device`; [`Error::Shape`] if one reaches past the end; else as
    /// [`Tensor::empty`].
    pub fn gather(device: &Device, length: usize, parts: &[(usize, &Tensor)]) -> Result<Tensor> {
        let gathered = Tensor::empty(device, &[length])?;
        let to = parts.iter().map(|(start, tensor)| {
            if !tensor.device().is(device) {
                return Err(Error::ForeignTensor { op: "gather" });
            }
            gathered.part(*start, &tensor.shape())
        });
        let to = to.collect::<Result<Vec<_>>>()?;
        match device {
            Device::Gpu(gpu) if gpu.counts_only() => gpu.copy(&[], 2 * gathered.bytes())?,
            Device::Gpu(gpu) => {
                let place = |tensor: &Tensor| match tensor.memory() {
                    Memory::Gpu { block, .. } => (block.buffer.clone(), tensor.offset()),
                    Memory::Cores(_) => unreachable!("memory is that of its device"),
                };
                let places: Vec<_> =
                    parts.iter().zip(&to).map(|((_, tensor), to)| (place(tensor), place(to), to.bytes())).collect();
                let copies = places.iter().map(|((from, from_at), (to, to_at), bytes)| Copy {
                    from: (from, *from_at),
                    to: (to, *to_at),
                    bytes: *bytes,
                });
                gpu.copy(&copies.collect::<Vec<_>>(), 2 * gathered.bytes())?;
            }
            Device::Cores(cores) if cores.counts_only() => {}
            Device::Cores(_) => {
                for ((_, tensor), to) in parts.iter().zip(&to) {
                    let from = tensor.read_on_cores();
                    to.elements_mut(&mut to.write_on_cores().buffer).copy_from_slice(tensor.elements(&from.buffer));
                }
            }
        }
        Ok(gathered)
    }

    /// What the first element of a [part](Tensor::part) is a multiple of: every GPU binds a buffer from such an element on.
    pub const ALIGNMENT: usize = 64;

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
            (Memory::Gpu { block, .. }, Device::Gpu(gpu)) => gpu.write(&block.buffer, self.offset() + offset, data),
            (Memory::Cores(_), Device::Cores(cores)) if cores.counts_only() => Ok(()),
            (Memory::Cores(memory), _) => {
                let mut memory = write(memory);
                let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut memory.buffer[self.0.start..]);
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
                Ok(block.buffer.slice(self.offset()..self.offset() + self.bytes()))
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
        Ok(Tensor::read_all(&[self])?.remove(0))
    }

    /// Copies the values of several tensors of one device to the host, waiting for the device once. Else as
    /// [`Tensor::to_vec`].
    ///
    /// # Errors
    /// As [`Tensor::to_vec`]; [`Error::ForeignTensor`] if they are not all on one device.
    pub fn read_all(tensors: &[&Tensor]) -> Result<Vec<Vec<f32>>> {
        let Some(first) = tensors.first() else { return Ok(Vec::new()) };
        if tensors.iter().any(|tensor| !tensor.device().is(first.device())) {
            return Err(Error::ForeignTensor { op: "read" });
        }
        match first.device() {
            Device::Gpu(gpu) => {
                let places = tensors.iter().map(|tensor| match tensor.memory() {
                    Memory::Gpu { block, .. } => (&block.buffer, tensor.offset(), tensor.bytes()),
                    Memory::Cores(_) => unreachable!("memory is that of its device"),
                });
                gpu.read(&places.collect::<Vec<_>>())
            }
            Device::Cores(cores) if cores.counts_only() => {
                Ok(tensors.iter().map(|tensor| vec![0.0; tensor.numel()]).collect())
            }
            Device::Cores(_) => {
                let values = tensors.iter().map(|tensor| tensor.elements(&tensor.read_on_cores().buffer).to_vec());
                Ok(values.collect())
            }
        }
    }

    /// Its elements in the memory that holds it.
    pub(crate) fn elements<'a>(&self, memory: &'a [f32]) -> &'a [f32] {
        &memory[self.0.start..][..self.numel()]
    }

    /// Its elements in the memory that holds it, to write.
    pub(crate) fn elements_mut<'a>(&self, memory: &'a mut [f32]) -> &'a mut [f32] {
        &mut memory[self.0.start..][..self.numel()]
    }

    /// Where its first byte is in its buffer.
    fn offset(&self) -> u64 {
        4 * self.0.start as u64
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
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &block.buffer, offset: self.offset(), size })
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
