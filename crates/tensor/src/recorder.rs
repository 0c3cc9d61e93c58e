//! Many launches in one command encoder, submitted when a result is read or a budget is reached.
//!
//! One lock, the recorder's, is held from a launch's first change to the recording to its last, and while recorded work is
//! submitted. No tensor is dropped and nothing waits for the device under it.

use crate::kernel::Pipeline;
use crate::{Error, Gpu, Kernel, Result, Tensor, Work};
use bytemuck::Pod;

/// Every adapter's `min_uniform_buffer_offset_alignment` divides this; also the most that one `Params` may take.
pub(crate) const SLOT: usize = 256;
/// Launches per submission. Bounds the uniform buffer, and how long the host records while the device idles.
pub(crate) const MAX_LAUNCHES: usize = 256;
/// Floating-point operations per submission: a tenth of a second on a slow GPU, far from the two seconds after which Windows
/// resets it.
const MAX_FLOPS: u64 = 30_000_000_000;

/// The open command encoder and the uniforms of its launches.
pub(crate) struct Recorder {
    open: Option<Open>,
    /// One slot of [`SLOT`] bytes a launch, copied to `uniform_buffer` right before the launches are submitted.
    uniforms: Vec<u8>,
    uniform_buffer: wgpu::Buffer,
    flops: u64,
    /// Why a submission was refused, once one was: nobody can tell which tensors were to be computed by it, so from then on
    /// none can be read.
    failed: Option<Error>,
}

/// One pass takes all launches: within a pass, wgpu orders dispatches that touch the same buffer.
struct Open {
    encoder: wgpu::CommandEncoder,
    pass: wgpu::ComputePass<'static>,
}

impl Recorder {
    /// Size of the buffer that holds the parameters of all launches of a submission.
    pub(crate) const UNIFORM_BYTES: u64 = (SLOT * MAX_LAUNCHES) as u64;

    pub(crate) fn new(device: &wgpu::Device) -> Recorder {
        let uniform_buffer = uniform_buffer(device);
        Recorder { open: None, uniforms: Vec::new(), uniform_buffer, flops: 0, failed: None }
    }

    fn is_full(&self) -> bool {
        self.uniforms.len() == SLOT * MAX_LAUNCHES || self.flops >= MAX_FLOPS
    }

    /// Ends the pass and hands out the encoder, a fresh one if nothing was recorded.
    fn take_encoder(&mut self, device: &wgpu::Device) -> wgpu::CommandEncoder {
        self.flops = 0;
        match self.open.take() {
            Some(Open { encoder, pass }) => {
                drop(pass);
                encoder
            }
            None => device.create_command_encoder(&Default::default()),
        }
    }

    fn open(&mut self, device: &wgpu::Device) -> &mut Open {
        self.open.get_or_insert_with(|| {
            let mut encoder = device.create_command_encoder(&Default::default());
            let pass = encoder.begin_compute_pass(&Default::default()).forget_lifetime();
            Open { encoder, pass }
        })
    }
}

/// A launch that still lacks its parameters.
pub(crate) struct Prepared<'a> {
    name: &'static str,
    buffers: Vec<&'a Tensor>,
    grid: [u32; 2],
    pipeline: Pipeline,
    flops: u64,
}

/// A launch, ready to be encoded as often as one likes.
pub(crate) struct Launch {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    grid: [u32; 2],
    pub(crate) flops: u64,
    pub(crate) bytes: u64,
}

impl Launch {
    pub(crate) fn encode(&self, pass: &mut wgpu::ComputePass) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}

fn uniform_buffer(device: &wgpu::Device) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("params"),
        size: Recorder::UNIFORM_BYTES,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

impl Gpu {
    /// Records one run of `kernel` over `work`. Binding 0 is `params`; bindings 1 and up are `inputs`, which the kernel
    /// reads, and then `outputs`, which it writes, in order.
    ///
    /// # Errors
    /// [`Error::Limit`] where the work is too large for the adapter, [`Error::ForeignTensor`], [`Error::Argument`] where an
    /// output is bound twice, [`Error::Validation`] where kernel and bindings do not fit, [`Error::DeviceLost`].
    pub fn launch<P: Pod>(
        &self,
        kernel: &Kernel,
        params: &P,
        inputs: &[&Tensor],
        outputs: &[&Tensor],
        work: Work,
    ) -> Result<()> {
        if self.counts_only() {
            let bytes = inputs.iter().chain(outputs).map(|tensor| tensor.bytes()).sum();
            self.0.counters.launched(work.declared_flops(), bytes);
            return Ok(());
        }
        let prepared = self.prepare::<P>(kernel, inputs, outputs, work)?;
        let params = bytemuck::bytes_of(params);
        let mut recorder = self.recorder();
        if recorder.is_full() {
            self.submit_recorded(&mut recorder, |_| {})?;
        }
        let slot = recorder.uniforms.len();
        // A launch that does not fit its kernel fails here, before it can spoil what others have recorded.
        let launch = self.bind(prepared, &recorder.uniform_buffer, slot, params.len())?;
        recorder.uniforms.extend_from_slice(params);
        recorder.uniforms.resize(slot + SLOT, 0);
        launch.encode(&mut recorder.open(&self.0.device).pass);
        recorder.flops += launch.flops;
        self.0.counters.launched(launch.flops, launch.bytes);
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
        self.check_alive()?;
        let buffers = [inputs, outputs].concat();
        if buffers.iter().any(|tensor| !tensor.gpu().same_device(self)) {
            return Err(Error::ForeignTensor { op: kernel.name() });
        }
        // wgpu would refuse this only when it is submitted, along with everybody else's work.
        if outputs.iter().any(|output| buffers.iter().filter(|buffer| buffer.shares_storage(output)).count() > 1) {
            return Err(Error::argument(kernel.name(), "outputs", "bound twice", "tensors of their own"));
        }
        let (name, flops) = (kernel.name(), work.declared_flops());
        Ok(Prepared { name, buffers, grid: work.grid(kernel, self)?, pipeline: self.pipeline(kernel)?, flops })
    }

    /// The launch with its `length` bytes of parameters at `offset` of `uniforms`.
    pub(crate) fn bind(
        &self,
        prepared: Prepared,
        uniforms: &wgpu::Buffer,
        offset: usize,
        length: usize,
    ) -> Result<Launch> {
        let Prepared { name, buffers, grid, pipeline, flops } = prepared;
        let size = wgpu::BufferSize::new(length as u64);
        let uniform = wgpu::BufferBinding { buffer: uniforms, offset: offset as u64, size };
        let resources = std::iter::once(wgpu::BindingResource::Buffer(uniform))
            .chain(buffers.iter().map(|tensor| tensor.binding()));
        let entries: Vec<_> =
            (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &pipeline.layout, entries: &entries };
        let group = self.scoped(name, 0, |device| device.create_bind_group(&descriptor))?;
        let bytes = buffers.iter().map(|tensor| tensor.bytes()).sum();
        Ok(Launch { pipeline: pipeline.pipeline, group, grid, flops, bytes })
    }

    /// Submits what was recorded, so that the device starts on it. Reading a tensor does so by itself.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; [`Error::Validation`] where wgpu refuses the submission, now and ever after.
    pub fn submit(&self) -> Result<()> {
        let mut recorder = self.recorder();
        if recorder.open.is_some() || recorder.failed.is_some() {
            self.submit_recorded(&mut recorder, |_| {})?;
        }
        drop(recorder);
        // Without waiting: lets wgpu drop what finished submissions held.
        let _ = self.0.device.poll(wgpu::PollType::Poll);
        Ok(())
    }

    /// Submits what was recorded and waits until all of it is done.
    ///
    /// # Errors
    /// As [`Gpu::submit`].
    pub fn synchronize(&self) -> Result<()> {
        self.submit()?;
        self.wait()
    }

    /// Submits what was recorded and what `finally` adds to it.
    fn submit_recorded(&self, recorder: &mut Recorder, finally: impl FnOnce(&mut wgpu::CommandEncoder)) -> Result<()> {
        if let Some(error) = &recorder.failed {
            return Err(error.clone());
        }
        let inner = &self.0;
        let submitted = self.scoped("submitting recorded work", 0, |device| {
            let mut encoder = recorder.take_encoder(device);
            finally(&mut encoder);
            inner.queue.write_buffer(&recorder.uniform_buffer, 0, &recorder.uniforms);
            inner.queue.submit([encoder.finish()])
        });
        recorder.uniforms.clear();
        recorder.failed = submitted.err();
        match &recorder.failed {
            Some(error) => Err(error.clone()),
            None => {
                inner.counters.submitted();
                Ok(())
            }
        }
    }

    /// Submits launches of a [`Recording`](crate::Recording) by themselves.
    pub(crate) fn submit_launches(&self, launches: &[Launch]) -> Result<()> {
        self.check_alive()?;
        self.scoped("submitting a recording", 0, |device| {
            let mut encoder = device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            launches.iter().for_each(|launch| launch.encode(&mut pass));
            drop(pass);
            self.0.queue.submit([encoder.finish()])
        })?;
        launches.iter().for_each(|launch| self.0.counters.launched(launch.flops, launch.bytes));
        self.0.counters.submitted();
        Ok(())
    }

    /// A buffer for the parameters of [`MAX_LAUNCHES`] launches.
    pub(crate) fn uniform_buffer(&self) -> Result<wgpu::Buffer> {
        self.scoped("the buffer of parameters", Recorder::UNIFORM_BYTES, uniform_buffer)
    }

    /// Overwrites `buffer` from byte `offset` on, after everything recorded so far, which may use its former content.
    pub(crate) fn write(&self, buffer: &wgpu::Buffer, offset: u64, data: &[u8]) -> Result<()> {
        if self.counts_only() {
            return Ok(());
        }
        self.submit()?;
        self.scoped("uploading a tensor", data.len() as u64, |_| self.0.queue.write_buffer(buffer, offset, data))
    }

    /// The first `bytes` bytes of `buffer`, once everything recorded so far is done.
    pub(crate) fn read(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<f32>> {
        if self.counts_only() {
            return Ok(vec![0.0; bytes as usize / 4]);
        }
        self.check_alive()?;
        let staging = self.scoped("a buffer to read through", bytes, |device| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read"),
                size: bytes,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        self.submit_recorded(&mut self.recorder(), |encoder| {
            encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, bytes);
        })?;
        Ok(bytemuck::pod_collect_to_vec(&self.map(&staging)?))
    }

    /// Waits for everything submitted and maps `buffer` for the host to read.
    pub(crate) fn map(&self, buffer: &wgpu::Buffer) -> Result<wgpu::BufferView> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let report = move |mapped| {
            let _ = sender.send(mapped);
        };
        self.scoped("reading from the device", 0, |_| buffer.map_async(wgpu::MapMode::Read, .., report))?;
        self.wait()?;
        // Blocking: another thread that waits may be the one that is told, a moment after this one's wait is over.
        let mapped = receiver.recv().map_err(|e| e.to_string()).and_then(|mapped| mapped.map_err(|e| e.to_string()));
        let view = mapped.and_then(|()| buffer.get_mapped_range(..).map_err(|e| e.to_string()));
        view.map_err(|message| self.refused("reading from the device", message))
    }
}
