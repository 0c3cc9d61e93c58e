//! Launching a kernel over tensors: what is checked before wgpu gets it, and how it is bound.

use crate::kernel::Count;
use crate::pipelines::Pipeline;
use crate::recorder::{Launch, SLOT};
use crate::{Error, Gpu, Kernel, Result, Tensor, Work};
use bytemuck::Pod;

/// A launch that still lacks its parameters.
pub(crate) struct Prepared<'a> {
    name: &'static str,
    buffers: Vec<&'a Tensor>,
    grid: [u32; 2],
    pipeline: Pipeline,
    flops: u64,
}

impl Gpu {
    /// Records one run of `kernel` over `work`. Binding 0 is `params`; bindings 1 and up are `inputs`, which the kernel
    /// reads, and then `outputs`, which it writes, in order.
    ///
    /// # Errors
    /// [`Error::Limit`] where the work is too large for the adapter, [`Error::ForeignTensor`], [`Error::Argument`]
    /// where an output is bound twice, [`Error::Validation`] where kernel and bindings do not fit,
    /// [`Error::DeviceLost`].
    pub fn launch<P: Pod>(
        &self,
        kernel: &Kernel,
        params: &P,
        inputs: &[&Tensor],
        outputs: &[&Tensor],
        work: Work,
    ) -> Result<()> {
        let device = &self.0.device;
        if self.counts_only() {
            let bytes = inputs.iter().chain(outputs).map(|tensor| tensor.bytes()).sum();
            device.counters.launched(work.flops, bytes);
            return Ok(());
        }
        let prepared = self.prepare::<P>(kernel, inputs, outputs, work)?;
        let params = bytemuck::bytes_of(params);
        let mut recorder = self.recorder();
        let (uniforms, offset) = recorder.next_slot(device)?;
        // A launch that does not fit its kernel fails here, before it can spoil what others have recorded.
        let launch = self.bind(prepared, uniforms, offset, params.len())?;
        recorder.record(&launch, params, device);
        Ok(())
    }

    /// Everything about a launch but its parameters, checked.
    pub(crate) fn prepare<'a, P: Pod>(
        &self,
        kernel: &Kernel,
        inputs: &[&'a Tensor],
        outputs: &[&'a Tensor],
        work: Work,
    ) -> Result<Prepared<'a>> {
        const { assert!(size_of::<P>() > 0 && size_of::<P>() <= SLOT, "Params fit their slot") };
        self.0.device.check_alive()?;
        let buffers = [inputs, outputs].concat();
        if buffers.iter().any(|tensor| !tensor.gpu().same_device(self)) {
            return Err(Error::ForeignTensor { op: kernel.name() });
        }
        // wgpu would refuse this only when it is submitted, along with everybody else's work.
        if outputs.iter().any(|output| buffers.iter().filter(|buffer| buffer.shares_storage(output)).count() > 1) {
            return Err(Error::argument(kernel.name(), "outputs", "bound twice", "tensors of their own"));
        }
        let (grid, pipeline) = (self.grid(kernel, work)?, self.0.pipelines.get(kernel, &self.0.device)?);
        Ok(Prepared { name: kernel.name(), buffers, grid, pipeline, flops: work.flops })
    }

    /// The launch with its `length` bytes of parameters at `offset` of `uniforms`.
    pub(crate) fn bind(
        &self,
        prepared: Prepared,
        uniforms: &wgpu::Buffer,
        offset: usize,
        length: usize,
    ) -> Result<Launch> {
        let Prepared { name, buffers, grid, pipeline: Pipeline { pipeline, layout }, flops } = prepared;
        let size = wgpu::BufferSize::new(length as u64);
        let uniform = wgpu::BufferBinding { buffer: uniforms, offset: offset as u64, size };
        let resources = std::iter::once(wgpu::BindingResource::Buffer(uniform))
            .chain(buffers.iter().map(|tensor| tensor.binding()));
        let entries: Vec<_> =
            (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
        let group = self.0.device.scoped(name, 0, |device| device.create_bind_group(&descriptor))?;
        let bytes = buffers.iter().map(|tensor| tensor.bytes()).sum();
        Ok(Launch { pipeline, group, grid, flops, bytes })
    }

    /// The workgroups of a dispatch, split in two dimensions where one is not enough. Kernels undo it with
    /// `thread_index` or `group_index` of shaders/shared/grid.wgsl.
    fn grid(&self, kernel: &Kernel, work: Work) -> Result<[u32; 2]> {
        let groups = match work.count {
            Count::Threads(n) => n.div_ceil(kernel.workgroup.into()),
            Count::Groups(n) => n,
        };
        let side = u64::from(self.limits().max_compute_workgroups_per_dimension);
        let limit = |what: &str, needed: u64, allowed: u64| {
            if needed <= allowed {
                return Ok(());
            }
            let what = format!("{}: the number of {what}", kernel.label());
            Err(Error::Limit { what, needed, allowed, adapter: self.info().name })
        };
        limit("workgroups", groups, side * side)?;
        let rows = groups.div_ceil(side);
        if rows == 0 {
            return Ok([0, 0]);
        }
        let columns = groups.div_ceil(rows);
        limit("invocations", columns * rows * u64::from(kernel.workgroup), u32::MAX.into())?;
        // Both fit in 32 bits, since `side` does.
        Ok([columns as u32, rows as u32])
    }
}
