//! The GPU as everything else sees it: one open device with its compiled kernels and its recorded work.

use crate::open_device::{OpenDevice, lock};
use crate::pipelines::Pipelines;
use crate::pool::{Block, GRANULE, rounded};
use crate::profile::Profile;
use crate::recorder::{Copy, Recorder};
use crate::{Counters, Error, GpuOptions, Result};
use std::sync::{Arc, Mutex, MutexGuard};

/// An open device with its pipelines, buffers and recorded work. A cheap handle: clone it freely, across threads too.
///
/// Threads that share one `Gpu` record into one command encoder, each launch whole, so they do not disturb each other.
#[derive(Clone)]
pub struct Gpu(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) device: OpenDevice,
    pub(crate) pipelines: Pipelines,
    recorder: Mutex<Recorder>,
    pub(crate) profile: Profile,
    /// The one buffer that all tensors of a counting device share.
    stand_in: Option<wgpu::Buffer>,
}

impl Gpu {
    /// Opens an adapter by `options`; [`GpuOptions::default`] takes the best there is and heeds `WGPU_BACKEND` and
    /// `WGPU_ADAPTER_NAME`.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], [`Error::MissingFeature`], [`Error::Limit`] or [`Error::Validation`] with wgpu's reason.
    pub fn open(options: &GpuOptions) -> Result<Gpu> {
        let device = OpenDevice::open(options)?;
        let (needed, allowed) = (Recorder::UNIFORM_BYTES, device.limits.max_buffer_size);
        if allowed < needed {
            let (what, adapter) = ("the buffer of parameters (in bytes)".into(), device.wgpu.adapter_info().name);
            return Err(Error::Limit { what, needed, allowed, adapter });
        }
        Ok(Gpu::assemble(device, None))
    }

    /// Works on a device and queue that the host application already has, within the limits it requested.
    ///
    /// The host's callback for device loss is left alone, so that here a loss shows as [`Error::Validation`] with
    /// wgpu's words. A device with smaller limits than WebGPU guarantees, such as those of
    /// [`wgpu::Limits::downlevel_defaults`], which GUI toolkits request, cannot run the kernels: the first use of it, such
    /// as loading weights, is [`Error::DeviceLimits`] with the limits to request. The host's callbacks must not use this `Gpu`: they may run while it holds its locks.
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Gpu {
        Gpu::assemble(OpenDevice::shared(device, queue), None)
    }

    /// A device with the limits of this one that counts launches and memory but computes and holds nothing: every
    /// tensor reads as zeros, whatever was written to it. Tells in a moment what a computation takes. A
    /// [`Recording`](crate::Recording) cannot be made on it.
    ///
    /// # Errors
    /// What wgpu reports.
    pub fn counting(&self) -> Result<Gpu> {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let mut device = OpenDevice::shared(device, queue);
        (device.limits, device.software) = (self.limits().clone(), self.is_software());
        let stand_in = create_buffer(&device, GRANULE, false)?;
        Ok(Gpu::assemble(device, Some(stand_in)))
    }

    /// Whether it only counts.
    pub(crate) fn counts_only(&self) -> bool {
        self.0.stand_in.is_some()
    }

    fn assemble(device: OpenDevice, stand_in: Option<wgpu::Buffer>) -> Gpu {
        let recorder = Mutex::new(Recorder::new(&device.wgpu));
        Gpu(Arc::new(Inner {
            device,
            pipelines: Pipelines::default(),
            recorder,
            profile: Profile::default(),
            stand_in,
        }))
    }

    /// The device, for a host application that shares it.
    pub fn device(&self) -> &wgpu::Device {
        &self.0.device.wgpu
    }

    /// The queue, for a host application that shares it. Recorded work is not in it before [`Gpu::submit`].
    pub fn queue(&self) -> &wgpu::Queue {
        &self.0.device.queue
    }

    /// What the adapter is.
    pub fn info(&self) -> wgpu::AdapterInfo {
        self.device().adapter_info()
    }

    /// The limits that the device was requested with.
    pub fn limits(&self) -> &wgpu::Limits {
        &self.0.device.limits
    }

    /// Whether the adapter is a software rasterizer, which runs on processor cores.
    pub fn is_software(&self) -> bool {
        self.0.device.software
    }

    /// Counts so far.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        self.0.device.counters.add_to(&mut counters);
        self.0.device.pool().add_to(&mut counters);
        counters
    }

    /// Gives the buffers that no tensor uses back to the device.
    pub fn trim(&self) {
        self.0.device.pool().trim();
    }

    /// The most bytes that a tensor may have.
    pub fn largest_tensor(&self) -> u64 {
        let limits = self.limits();
        // A buffer's size is rounded up to the granule, so a size just below the limit may exceed it.
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size / GRANULE * GRANULE)
    }

    /// An error once the device is lost, or if it was opened with too small limits.
    pub(crate) fn check_alive(&self) -> Result<()> {
        self.0.device.check_alive()
    }

    /// Whether `self` and `other` are handles of one device.
    pub fn same_device(&self, other: &Gpu) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Submits what was recorded, so that the device starts on it. Reading a tensor does so by itself.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; [`Error::Validation`] where wgpu refuses the submission, now and ever after.
    pub fn submit(&self) -> Result<()> {
        self.recorder().submit(&self.0.device)?;
        self.0.device.tend();
        Ok(())
    }

    /// Submits what was recorded and waits until all of it is done, but not for what the host application has submitted
    /// since.
    ///
    /// # Errors
    /// As [`Gpu::submit`].
    pub fn synchronize(&self) -> Result<()> {
        self.submit()?;
        self.0.device.wait_for_all()
    }

    /// A buffer of at least `bytes`, from the pool where it has one. Its content is whatever it was.
    pub(crate) fn allocate(&self, bytes: u64, mapped: bool) -> Result<Block<wgpu::Buffer>> {
        self.allocate_within(bytes, mapped, bytes / 4)
    }

    /// [`Gpu::allocate`], where a free buffer serves that is at most `waste` bytes too large.
    pub(crate) fn allocate_within(&self, bytes: u64, mapped: bool, waste: u64) -> Result<Block<wgpu::Buffer>> {
        self.0.device.check_alive()?;
        let size = rounded(bytes);
        if !mapped && let Some(block) = self.0.device.pool().take(size, waste) {
            return Ok(block);
        }
        match self.create(size, mapped) {
            Err(Error::OutOfMemory { .. }) => {
                // wgpu frees a buffer once the submissions that use it are done and it is polled after that.
                self.synchronize()?;
                self.trim();
                self.synchronize()?;
                self.create(size, mapped)
            }
            other => other,
        }
    }

    fn create(&self, size: u64, mapped: bool) -> Result<Block<wgpu::Buffer>> {
        let buffer = match &self.0.stand_in {
            Some(buffer) => buffer.clone(),
            None => create_buffer(&self.0.device, size, mapped)?,
        };
        self.0.device.pool().created(size);
        Ok(Block { buffer, size })
    }

    /// Takes back a tensor's buffer: for other tensors, unless it `is_lent` to the application.
    pub(crate) fn give_back(&self, block: Block<wgpu::Buffer>, is_lent: bool) {
        let mut pool = self.0.device.pool();
        if is_lent { pool.release(block) } else { pool.give_back(block) }
    }

    /// Takes a free buffer for data from the host, or `None`.
    pub(crate) fn reuse(&self, bytes: u64) -> Option<Block<wgpu::Buffer>> {
        self.0.device.pool().take(rounded(bytes), bytes / 4)
    }

    /// Overwrites `buffer` from byte `offset` on, after everything recorded so far, which may use its former content.
    pub(crate) fn write(&self, buffer: &wgpu::Buffer, offset: u64, data: &[u8]) -> Result<()> {
        if self.counts_only() {
            return Ok(());
        }
        self.submit()?;
        let (device, bytes) = (&self.0.device, data.len() as u64);
        device.scoped("uploading a tensor", bytes, |_| device.queue.write_buffer(buffer, offset, data))
    }

    /// Records copies, which move `bytes` bytes.
    pub(crate) fn copy(&self, copies: &[Copy], bytes: u64) -> Result<()> {
        self.0.device.counters.copied(bytes);
        if self.counts_only() {
            return Ok(());
        }
        self.0.device.check_alive()?;
        self.recorder().copy(copies, &self.0.device)
    }

    /// The contents of some `places`, each a buffer, its first byte and a number of bytes, once everything recorded so far is
    /// done. Waits once.
    pub(crate) fn read(&self, places: &[(&wgpu::Buffer, u64, u64)]) -> Result<Vec<Vec<f32>>> {
        self.0.device.counters.read();
        if self.counts_only() {
            return Ok(places.iter().map(|&(.., bytes)| vec![0.0; bytes as usize / 4]).collect());
        }
        self.0.device.check_alive()?;
        let bytes = places.iter().map(|&(.., bytes)| bytes).sum();
        let staging = self.0.device.scoped("a buffer to read through", bytes, |device| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read"),
                size: bytes,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        let copied = self.recorder().submit_with(&self.0.device, |encoder| {
            let mut to = 0;
            for &(buffer, start, bytes) in places {
                encoder.copy_buffer_to_buffer(buffer, start, &staging, to, bytes);
                to += bytes;
            }
        })?;
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(&self.map(&staging, copied)?);
        if let [_] = places {
            return Ok(vec![values]);
        }
        let mut rest = values.as_slice();
        Ok(places
            .iter()
            .map(|&(.., bytes)| rest.split_off(..bytes as usize / 4).unwrap_or_default().to_vec())
            .collect())
    }

    /// Maps `buffer` for the host to read, once submission `written` is done, which writes it.
    pub(crate) fn map(&self, buffer: &wgpu::Buffer, written: wgpu::SubmissionIndex) -> Result<wgpu::BufferView> {
        let device = &self.0.device;
        let (sender, receiver) = std::sync::mpsc::channel();
        let report = move |mapped| {
            let _ = sender.send(mapped);
        };
        device.scoped("reading from the device", 0, |_| buffer.map_async(wgpu::MapMode::Read, .., report))?;
        device.wait(written)?;
        // Blocking: if another thread polled meanwhile, it may run this callback a moment after this thread's wait is
        // over.
        let mapped = receiver.recv().map_err(|e| e.to_string()).and_then(|mapped| mapped.map_err(|e| e.to_string()));
        let view = mapped.and_then(|()| buffer.get_mapped_range(..).map_err(|e| e.to_string()));
        view.map_err(|message| device.refused("reading from the device", message))
    }

    pub(crate) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        lock(&self.0.recorder)
    }
}

fn create_buffer(device: &OpenDevice, size: u64, mapped_at_creation: bool) -> Result<wgpu::Buffer> {
    use wgpu::BufferUsages as Usage;
    let usage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
    let descriptor = wgpu::BufferDescriptor { label: Some("tensor"), size, usage, mapped_at_creation };
    device.scoped("a tensor's buffer", size, |device| device.create_buffer(&descriptor))
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gpu({})", self.info().name)
    }
}
