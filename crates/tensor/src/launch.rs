//! Launching a kernel over tensors: what is checked before wgpu gets it, and how it is bound; on cores, running it.

use crate::kernel::Count;
use crate::pipelines::Pipeline;
use crate::recorder::{Launch, SLOT};
use crate::{Cores, Device, Error, Gpu, Kernel, OnCores, Result, Tensor, Work};
use alias_cpu::Cpu;
use bytemuck::Pod;
use std::time::{Duration, Instant};

/// A launch that still lacks its parameters.
pub(crate) struct Prepared<'a> {
    name: &'static str,
    buffers: Vec<&'a Tensor>,
    grid: [u32; 2],
    pipeline: Pipeline,
    flops: u64,
}

impl Device {
    /// Runs `kernel` once with `params`: it reads `inputs` and writes `outputs`, which are new tensors. On a GPU the run is
    /// recorded, as [`Gpu::launch`] does; on cores it is over when this returns.
    ///
    /// # Errors
    /// As [`Gpu::launch`]; on cores [`Error::ForeignTensor`] and [`Error::Argument`].
    pub fn launch<P: Pod + Sync, const INPUTS: usize, const OUTPUTS: usize>(
        &self,
        kernel: &Kernel<OnCores<P, INPUTS, OUTPUTS>>,
        params: &P,
        inputs: &[&Tensor; INPUTS],
        outputs: &[&Tensor; OUTPUTS],
        work: Work,
    ) -> Result<()> {
        match self {
            Device::Gpu(gpu) => gpu.launch(&kernel.shader(), params, inputs, outputs, work),
            Device::Cores(cores) => cores.launch(kernel, params, inputs, outputs, work),
        }
    }
}

impl Cores {
    fn launch<P: Pod + Sync, const INPUTS: usize, const OUTPUTS: usize>(
        &self,
        kernel: &Kernel<OnCores<P, INPUTS, OUTPUTS>>,
        params: &P,
        inputs: &[&Tensor; INPUTS],
        outputs: &[&Tensor; OUTPUTS],
        work: Work,
    ) -> Result<()> {
        self.run(kernel.name(), kernel.entry, inputs, outputs, work.flops, |cpu, x, y| {
            (kernel.on_cores)(cpu, params, x, y);
        })
    }

    /// Runs `f` in the threads of these cores: it gets the elements of `inputs` to read and those of `outputs`, which are
    /// new tensors, to write. It counts as a launch of `flops` operations. For kernels that have no WGSL of their own, part
    /// `entry` of operation `name`.
    ///
    /// # Errors
    /// As [`Device::launch`].
    pub fn run<const INPUTS: usize, const OUTPUTS: usize>(
        &self,
        name: &'static str,
        entry: &'static str,
        inputs: &[&Tensor; INPUTS],
        outputs: &[&Tensor; OUTPUTS],
        flops: u64,
        f: impl FnOnce(&Cpu, [&[f32]; INPUTS], [&mut [f32]; OUTPUTS]) + Send,
    ) -> Result<()> {
        let tensors = [&inputs[..], outputs].concat();
        check_tensors(name, &tensors, outputs, &self.into())?;
        let bytes = tensors.iter().map(|tensor| tensor.bytes()).sum();
        self.launched(flops, bytes);
        if self.counts_only() {
            return Ok(());
        }
        let start = Instant::now();
        // A tensor that is read twice is locked once: a second lock would wait for a writer that waits for the first.
        let first = |k: usize| inputs.iter().position(|input| input.shares_storage(inputs[k])).unwrap_or(k);
        let read: [_; INPUTS] = std::array::from_fn(|k| (first(k) == k).then(|| inputs[k].read_on_cores()));
        let mut written = outputs.map(Tensor::write_on_cores);
        let from: [&[f32]; INPUTS] = std::array::from_fn(|k| {
            let memory = read[first(k)].as_ref().expect("the first of its kind is locked");
            inputs[k].elements(&memory.buffer)
        });
        let mut outputs = outputs.iter();
        let to = written.each_mut().map(|memory| match outputs.next() {
            Some(output) => output.elements_mut(&mut memory.buffer),
            None => &mut [],
        });
        self.cpu().install(|| f(self.cpu(), from, to));
        if self.0.profile.is_on() {
            self.0.profile.launched(format!("{name}.{entry}"), flops, bytes, start.elapsed());
        }
        Ok(())
    }
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
            self.0.profile.launched(kernel.label(), work.flops, bytes, Duration::ZERO);
            return Ok(());
        }
        let prepared = self.prepare::<P>(kernel, inputs, outputs, work)?;
        let params = bytemuck::bytes_of(params);
        let mut recorder = self.recorder();
        let (uniforms, offset) = recorder.next_slot(device)?;
        // A launch that does not fit its kernel fails here, before it can spoil what others have recorded.
        let launch = self.bind(prepared, uniforms, offset, params.len())?;
        if !self.0.profile.is_on() {
            recorder.record(&launch, params, device);
            return Ok(());
        }
        let start = Instant::now();
        recorder.record(&launch, params, device);
        recorder.submit(device)?;
        device.wait_for_all()?;
        self.0.profile.launched(kernel.label(), launch.flops, launch.bytes, start.elapsed());
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
        check_tensors(kernel.name(), &buffers, outputs, &self.into())?;
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

/// An error unless all `tensors` of a launch live on `device` and each of the `outputs` is among them once.
fn check_tensors(name: &'static str, tensors: &[&Tensor], outputs: &[&Tensor], device: &Device) -> Result<()> {
    if tensors.iter().any(|tensor| !tensor.device().is(device)) {
        return Err(Error::ForeignTensor { op: name });
    }
    // wgpu would refuse this only when it is submitted, along with everybody else's work.
    if outputs.iter().any(|output| tensors.iter().filter(|tensor| tensor.shares_storage(output)).count() > 1) {
        return Err(Error::argument(name, "outputs", "bound twice", "tensors of their own"));
    }
    Ok(())
}
