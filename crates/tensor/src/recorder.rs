//! Many launches in one command encoder, submitted when a result is read or enough work has come together.
//!
//! One lock, the recorder's, is held from a launch's first change to the recording to its last, and while recorded work
//! is submitted. No tensor is dropped and nothing waits for the device under it.

use crate::open_device::OpenDevice;
use crate::pace::work;
use crate::{Error, Result};

/// Every adapter's `min_uniform_buffer_offset_alignment` divides this; also the most that one `Params` may take.
pub(crate) const SLOT: usize = 256;
/// Launches per submission. Bounds the uniform buffer, and how long the host records while the device idles.
pub(crate) const MAX_LAUNCHES: usize = 256;

/// A launch with its bindings, ready to be encoded any number of times.
pub(crate) struct Launch {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) group: wgpu::BindGroup,
    pub(crate) grid: [u32; 2],
    pub(crate) flops: u64,
    pub(crate) bytes: u64,
}

impl Launch {
    pub(crate) fn encode(&self, pass: &mut wgpu::ComputePass) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }

    pub(crate) fn work(&self) -> u64 {
        work(self.flops, self.bytes)
    }
}

/// The open command encoder and the uniforms of its launches.
pub(crate) struct Recorder {
    open: Option<Open>,
    /// One slot of [`SLOT`] bytes a launch, copied to `uniform_buffer` right before the launches are submitted.
    uniforms: Vec<u8>,
    uniform_buffer: wgpu::Buffer,
    work: u64,
    /// Why a submission was refused, once one was. Nobody can tell which tensors it was to compute, so from then on
    /// none can be read.
    failed: Option<Error>,
}

/// One pass takes all launches until a copy: within a pass, wgpu orders dispatches that touch the same buffer.
struct Open {
    /// Before the encoder, which must not be finished while a pass is open.
    pass: Option<wgpu::ComputePass<'static>>,
    encoder: wgpu::CommandEncoder,
}

impl Open {
    fn new(device: &OpenDevice) -> Open {
        Open { pass: None, encoder: device.wgpu.create_command_encoder(&Default::default()) }
    }

    fn pass(&mut self) -> &mut wgpu::ComputePass<'static> {
        self.pass.get_or_insert_with(|| self.encoder.begin_compute_pass(&Default::default()).forget_lifetime())
    }

    /// The encoder, with no pass open.
    fn encoder(&mut self) -> &mut wgpu::CommandEncoder {
        self.pass = None;
        &mut self.encoder
    }
}

/// Bytes that are copied from a place in a buffer to one in another.
pub(crate) struct Copy<'a> {
    pub(crate) from: (&'a wgpu::Buffer, u64),
    pub(crate) to: (&'a wgpu::Buffer, u64),
    pub(crate) bytes: u64,
}

impl Recorder {
    /// Size of the buffer that holds the parameters of all launches of a submission.
    pub(crate) const UNIFORM_BYTES: u64 = (SLOT * MAX_LAUNCHES) as u64;

    pub(crate) fn new(device: &wgpu::Device) -> Recorder {
        let uniform_buffer = uniform_buffer(device);
        Recorder { open: None, uniforms: Vec::new(), uniform_buffer, work: 0, failed: None }
    }

    /// Where the next launch finds its parameters: a buffer, and an offset in it. Submits what was recorded if it is
    /// enough.
    pub(crate) fn next_slot(&mut self, device: &OpenDevice) -> Result<(&wgpu::Buffer, usize)> {
        if self.uniforms.len() == SLOT * MAX_LAUNCHES || self.work >= device.budget() {
            self.submit(device)?;
        }
        Ok((&self.uniform_buffer, self.uniforms.len()))
    }

    /// Records a launch that was bound to the [`next_slot`](Recorder::next_slot).
    pub(crate) fn record(&mut self, launch: &Launch, params: &[u8], device: &OpenDevice) {
        let slot = self.uniforms.len();
        self.uniforms.extend_from_slice(params);
        self.uniforms.resize(slot + SLOT, 0);
        self.work += launch.work();
        launch.encode(self.open.get_or_insert_with(|| Open::new(device)).pass());
        device.counters.launched(launch.flops, launch.bytes);
    }

    /// Records copies. Submits what was recorded before if it is enough.
    pub(crate) fn copy(&mut self, copies: &[Copy], device: &OpenDevice) -> Result<()> {
        if self.work >= device.budget() {
            self.submit(device)?;
        }
        let encoder = self.open.get_or_insert_with(|| Open::new(device)).encoder();
        for Copy { from, to, bytes } in copies {
            encoder.copy_buffer_to_buffer(from.0, from.1, to.0, to.1, *bytes);
            self.work += work(0, 2 * bytes);
        }
        Ok(())
    }

    /// Submits what was recorded, if anything.
    pub(crate) fn submit(&mut self, device: &OpenDevice) -> Result<()> {
        if self.open.is_some() || self.failed.is_some() {
            self.submit_with(device, |_| {})?;
        }
        Ok(())
    }

    /// Submits what was recorded and then what `finally` adds.
    pub(crate) fn submit_with(
        &mut self,
        device: &OpenDevice,
        finally: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<wgpu::SubmissionIndex> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let (open, work) = (self.open.take(), std::mem::take(&mut self.work));
        let submitted = device.submit("submitting recorded work", work, |wgpu| {
            let mut encoder = match open {
                Some(Open { pass, encoder }) => {
                    drop(pass);
                    encoder
                }
                None => wgpu.create_command_encoder(&Default::default()),
            };
            finally(&mut encoder);
            device.queue.write_buffer(&self.uniform_buffer, 0, &self.uniforms);
            encoder.finish()
        });
        self.uniforms.clear();
        self.failed = submitted.as_ref().err().cloned();
        submitted
    }
}

/// A buffer for the parameters of [`MAX_LAUNCHES`] launches.
pub(crate) fn uniform_buffer(device: &wgpu::Device) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("params"),
        size: Recorder::UNIFORM_BYTES,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}
