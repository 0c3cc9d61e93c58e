//! Tensors: a shape and a buffer, and for the tape, where they came from.

use crate::pool::{Block, Pool};
use crate::tape::Variable;
use crate::{Error, Gpu, Result, Shape};
use std::sync::Arc;

/// A tensor of float32 on a device: contiguous, row-major, up to four dimensions. A cheap handle; clones share the data.
///
/// The content is never changed once an operation has made it, but by [`Tensor::overwrite`] and by the next run of a
/// [`Recording`](crate::Recording).
#[derive(Clone)]
pub struct Tensor(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    storage: Arc<Storage>,
    shape: Shape,
    /// What the tape knows of it, if it is tracked.
    pub(crate) variable: Option<Arc<Variable>>,
}

/// A buffer that goes back to its device's pool when the last tensor on it is gone.
struct Storage {
    gpu: Gpu,
    /// `None` only while it is being dropped.
    block: Option<Block>,
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.gpu.give_back(block);
        }
    }
}

impl Tensor {
    /// A tensor of `shape` with these values.
    ///
    /// # Errors
    /// [`Error::Argument`] where `values` are not as many as `shape` holds; else as [`Tensor::empty`].
    pub fn new(gpu: &Gpu, shape: &[usize], values: &[f32]) -> Result<Tensor> {
        let shape = Shape::new(shape)?;
        if values.len() != shape.numel() {
            let expected = format!("{} for shape {shape}", shape.numel());
            return Err(Error::argument("tensor", "the number of values", values.len(), expected));
        }
        check_size(gpu, shape)?;
        if gpu.counts_only() {
            return Tensor::empty(gpu, &shape);
        }
        let data: &[u8] = bytemuck::cast_slice(values);
        if let Some(block) = gpu.reuse(shape.bytes()) {
            let tensor = Tensor::assemble(gpu, block, shape);
            gpu.write(tensor.raw_buffer(), 0, data)?;
            return Ok(tensor);
        }
        // Straight into the new buffer, without a staging copy: weights are hundreds of megabytes.
        let tensor = Tensor::assemble(gpu, gpu.allocate(shape.bytes(), true)?, shape);
        let mapped = tensor.raw_buffer().get_mapped_range_mut(..shape.bytes());
        mapped.map_err(|e| gpu.refused("uploading a tensor", e.to_string()))?.copy_from_slice(data);
        tensor.raw_buffer().unmap();
        Ok(tensor)
    }

    /// A tensor of 32-bit indices, for kernels that look something up. As float32 they mean nothing.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn indices(gpu: &Gpu, shape: &[usize], values: &[u32]) -> Result<Tensor> {
        Tensor::new(gpu, shape, bytemuck::cast_slice(values))
    }

    /// A tensor of `shape` whose content is undefined until a kernel has written all of it.
    ///
    /// # Errors
    /// [`Error::Argument`] for an impossible shape, [`Error::Limit`] where the adapter cannot bind that much,
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub fn empty(gpu: &Gpu, shape: &[usize]) -> Result<Tensor> {
        let shape = Shape::new(shape)?;
        check_size(gpu, shape)?;
        let block = gpu.allocate(shape.bytes(), false)?;
        Ok(Tensor::assemble(gpu, block, shape))
    }

    fn assemble(gpu: &Gpu, block: Block, shape: Shape) -> Tensor {
        let storage = Arc::new(Storage { gpu: gpu.clone(), block: Some(block) });
        Tensor::view(storage, shape, None)
    }

    fn view(storage: Arc<Storage>, shape: Shape, variable: Option<Arc<Variable>>) -> Tensor {
        Tensor(Arc::new(Inner { storage, shape, variable }))
    }

    /// The same data as a leaf of the tape: what is computed from it can be differentiated with respect to it.
    #[must_use]
    pub fn requires_grad(&self) -> Tensor {
        self.with_variable(Variable::leaf(self.0.shape))
    }

    /// The same data, unknown to the tape.
    #[must_use]
    pub fn detach(&self) -> Tensor {
        Tensor::view(self.0.storage.clone(), self.0.shape, None)
    }

    /// The same data, known to the tape as `variable`.
    pub(crate) fn with_variable(&self, variable: Variable) -> Tensor {
        Tensor::view(self.0.storage.clone(), self.0.shape, Some(Arc::new(variable)))
    }

    /// The same data in another shape of as many elements. Differentiable.
    ///
    /// # Errors
    /// [`Error::Shape`] where the number of elements differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor> {
        let (from, to) = (self.0.shape, Shape::new(shape)?);
        if to.numel() != from.numel() {
            return Err(Error::shape("reshape", "x", from, format!("as many elements as {to}")));
        }
        let y = Tensor::view(self.0.storage.clone(), to, None);
        Ok(y.with_backward([self], move |dy| Ok([Some(dy.reshape(&from)?)])))
    }

    /// Its first elements, as many as `shape` has, unknown to the tape.
    ///
    /// # Errors
    /// [`Error::Shape`] where it has not that many.
    pub fn prefix(&self, shape: &[usize]) -> Result<Tensor> {
        let shape = Shape::new(shape)?;
        if shape.numel() > self.numel() {
            return Err(Error::shape("prefix", "x", self.0.shape, format!("at least as many elements as {shape}")));
        }
        Ok(Tensor::view(self.0.storage.clone(), shape, None))
    }

    /// Overwrites its elements from `start` on, after everything that was recorded or submitted so far: the next run of a
    /// [`Recording`](crate::Recording) sees the new values. Whatever was computed from the old ones, and its gradients,
    /// know nothing of it.
    ///
    /// # Errors
    /// [`Error::Argument`] where `values` reach past its end, or do not fill whole elements; what the device reports.
    pub fn overwrite<T: bytemuck::NoUninit>(&self, start: usize, values: &[T]) -> Result<()> {
        let data: &[u8] = bytemuck::cast_slice(values);
        let offset = 4 * start as u64;
        if offset + data.len() as u64 > self.bytes() || !data.len().is_multiple_of(4) {
            let expected =
                format!("at most {} from element {start} on, a multiple of 4", self.bytes().saturating_sub(offset));
            return Err(Error::argument("overwrite", "the number of bytes", data.len(), expected));
        }
        self.gpu().write(self.raw_buffer(), offset, data)
    }

    /// Where the elements lie on the device, for commands that the application encodes itself: a buffer, the offset of the
    /// first element and the size of all, both in bytes.
    ///
    /// * The elements are there for commands that are submitted after [`Gpu::submit`] was called; the queue runs in order,
    ///   so nothing has to wait.
    /// * Keep the tensor until those commands are submitted. Once it and all tensors that share its data are dropped, later
    ///   tensors use the buffer.
    /// * The buffer may be a storage buffer, and source and destination of copies. Writing to it has the effect of
    ///   [`Tensor::overwrite`].
    ///
    /// # Errors
    /// [`Error::Argument`] on a [counting](Gpu::counting) device, which has no elements.
    pub fn buffer(&self) -> Result<wgpu::BufferSlice<'_>> {
        if self.gpu().counts_only() {
            return Err(Error::argument("buffer", "the device", "one that counts", "one that computes"));
        }
        Ok(self.raw_buffer().slice(..self.bytes()))
    }

    /// Where it lives.
    pub fn gpu(&self) -> &Gpu {
        &self.0.storage.gpu
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

    /// Whether [`Tensor::backward`] of something computed from it reaches it.
    pub fn is_tracked(&self) -> bool {
        self.0.variable.is_some()
    }

    /// Copies it to the host, after running everything recorded so far.
    ///
    /// # Errors
    /// What went wrong on the device since the last read, [`Error::DeviceLost`] above all.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        self.gpu().read(self.raw_buffer(), self.bytes())
    }

    /// Whether both lie in the same buffer.
    pub(crate) fn shares_storage(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.0.storage, &other.0.storage)
    }

    /// The buffer, which may be larger than the tensor.
    fn raw_buffer(&self) -> &wgpu::Buffer {
        &self.0.storage.block.as_ref().expect("only drop takes the buffer").buffer
    }

    /// What a bind group holds: exactly its elements, not the rest of a pooled buffer.
    pub(crate) fn binding(&self) -> wgpu::BindingResource<'_> {
        let size = wgpu::BufferSize::new(self.bytes());
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: self.raw_buffer(), offset: 0, size })
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor{}", self.0.shape)
    }
}

/// Errors where a tensor of `shape` is larger than one binding may be.
fn check_size(gpu: &Gpu, shape: Shape) -> Result<()> {
    let limits = gpu.limits();
    // A buffer is rounded up, so the last of its bytes may not be there to have.
    let largest_buffer = limits.max_buffer_size / Pool::GRANULE * Pool::GRANULE;
    let (needed, allowed) = (shape.bytes(), limits.max_storage_buffer_binding_size.min(largest_buffer));
    if needed <= allowed {
        return Ok(());
    }
    let what = format!("a float32 tensor of shape {shape} (in bytes)");
    Err(Error::Limit { what, needed, allowed, adapter: gpu.info().name })
}
