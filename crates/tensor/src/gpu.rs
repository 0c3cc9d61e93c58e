//! The device: opened here, shared by everything.

use crate::counters::LaunchCounters;
use crate::kernel::KernelCache;
use crate::pool::{Block, Pool};
use crate::recorder::Recorder;
use crate::{Counters, Error, GpuOptions, Result, adapters};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// An open device with its pipelines, buffers and recorded work. A cheap handle: clone it freely, across threads too.
///
/// Threads that share one `Gpu` record into one command encoder, each launch whole, so they do not disturb each other.
#[derive(Clone)]
pub struct Gpu(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) limits: wgpu::Limits,
    pub(crate) bounds_checks: bool,
    software: bool,
    /// What all tensors of a counting device lie in.
    stand_in: Option<wgpu::Buffer>,
    pub(crate) counters: LaunchCounters,
    pub(crate) kernels: KernelCache,
    pool: Mutex<Pool>,
    recorder: Mutex<Recorder>,
    /// Why the device was lost, once it is.
    lost: Arc<OnceLock<String>>,
}

impl Gpu {
    /// Opens an adapter by `options`; [`GpuOptions::default`] takes the best there is and heeds `WGPU_BACKEND` and
    /// `WGPU_ADAPTER_NAME`.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], [`Error::MissingFeature`], [`Error::Limit`] or [`Error::Validation`] with wgpu's reason.
    pub fn open(options: &GpuOptions) -> Result<Gpu> {
        let (adapter, _) = options.adapter.pick(&adapters())?;
        let name = adapter.get_info().name;
        let missing = options.features - adapter.features();
        if !missing.is_empty() {
            return Err(Error::MissingFeature { adapter: name, feature: missing.to_string() });
        }
        let limits = options.limits.clone().unwrap_or_else(|| adapter.limits());
        if limits.max_buffer_size < Recorder::UNIFORM_BYTES {
            let (needed, allowed) = (Recorder::UNIFORM_BYTES, limits.max_buffer_size);
            return Err(Error::Limit {
                what: "the buffer of parameters (in bytes)".into(),
                needed,
                allowed,
                adapter: name,
            });
        }
        let mut exceeded = None;
        limits.check_limits_with_fail_fn(&adapter.limits(), false, |what, needed, allowed| {
            exceeded.get_or_insert(Error::Limit { what: what.into(), needed, allowed, adapter: name.clone() });
        });
        if let Some(error) = exceeded {
            return Err(error);
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("alias"),
            required_features: options.features,
            required_limits: limits,
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| Error::Validation { what: format!("opening '{name}'"), message: e.to_string() })?;
        let lost = Arc::new(OnceLock::new());
        let reason = lost.clone();
        device.set_device_lost_callback(move |_, message| {
            let _ = reason.set(if message.is_empty() { "no reason given".into() } else { message });
        });
        Ok(Gpu::assemble(device, queue, options.bounds_checks, lost))
    }

    /// Works on a device and queue that the host application already has, within the limits it requested.
    ///
    /// The host's callback for device loss is left alone, so that here a loss shows as [`Error::Validation`] with wgpu's
    /// words. The host's callbacks must not use this `Gpu`: they may run while it holds its locks.
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Gpu {
        Gpu::assemble(device, queue, false, Arc::default())
    }

    /// A device like this one, which counts what that would launch and hold, but computes and holds nothing: its tensors are
    /// zeros, whatever was written to them. Tells in a moment what a computation takes. Takes no
    /// [`Recording`](crate::Recording).
    ///
    /// # Errors
    /// What wgpu reports.
    pub fn counting(&self) -> Result<Gpu> {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let gpu = Gpu::assemble(device, queue, false, Arc::default());
        let stand_in = gpu.create_buffer(Pool::GRANULE, false)?;
        let mut inner = Arc::into_inner(gpu.0).expect("nobody else has it yet");
        (inner.limits, inner.software) = (self.0.limits.clone(), self.0.software);
        inner.stand_in = Some(stand_in);
        Ok(Gpu(Arc::new(inner)))
    }

    /// Whether it only counts.
    pub(crate) fn counts_only(&self) -> bool {
        self.0.stand_in.is_some()
    }

    fn assemble(device: wgpu::Device, queue: wgpu::Queue, bounds_checks: bool, lost: Arc<OnceLock<String>>) -> Gpu {
        let recorder = Mutex::new(Recorder::new(&device));
        Gpu(Arc::new(Inner {
            limits: device.limits(),
            software: device.adapter_info().device_type == wgpu::DeviceType::Cpu,
            stand_in: None,
            device,
            queue,
            bounds_checks,
            counters: LaunchCounters::default(),
            kernels: KernelCache::default(),
            pool: Mutex::default(),
            recorder,
            lost,
        }))
    }

    /// The device, for a host application that shares it.
    pub fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    /// The queue, for a host application that shares it. Recorded work is not in it before [`Gpu::submit`].
    pub fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// What the adapter is.
    pub fn info(&self) -> wgpu::AdapterInfo {
        self.0.device.adapter_info()
    }

    /// The limits that the device was requested with.
    pub fn limits(&self) -> &wgpu::Limits {
        &self.0.limits
    }

    /// Whether the adapter is a software rasterizer, which runs on processor cores.
    pub fn is_software(&self) -> bool {
        self.0.software
    }

    /// Counts so far.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        self.0.counters.add_to(&mut counters);
        self.pool().add_to(&mut counters);
        counters
    }

    /// Gives the buffers that no tensor uses back to the device.
    pub fn trim(&self) {
        self.pool().trim();
    }

    /// Whether `self` and `other` are handles of one device.
    pub fn same_device(&self, other: &Gpu) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A buffer of at least `bytes`, from the pool where it has one. Its content is whatever it was.
    pub(crate) fn allocate(&self, bytes: u64, mapped: bool) -> Result<Block> {
        self.check_alive()?;
        let size = Pool::rounded(bytes);
        if !mapped && let Some(block) = self.pool().take(size) {
            return Ok(block);
        }
        match self.create(size, mapped) {
            Err(Error::OutOfMemory { .. }) => {
                // What is unused may be much; what is still queued holds on to more.
                self.synchronize()?;
                self.trim();
                self.synchronize()?;
                self.create(size, mapped)
            }
            other => other,
        }
    }

    fn create(&self, size: u64, mapped: bool) -> Result<Block> {
        let buffer = match &self.0.stand_in {
            Some(buffer) => buffer.clone(),
            None => self.create_buffer(size, mapped)?,
        };
        self.pool().created(size);
        Ok(Block { buffer, size })
    }

    fn create_buffer(&self, size: u64, mapped_at_creation: bool) -> Result<wgpu::Buffer> {
        use wgpu::BufferUsages as Usage;
        let usage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: Some("tensor"), size, usage, mapped_at_creation };
        self.scoped("a tensor's buffer", size, |device| device.create_buffer(&descriptor))
    }

    pub(crate) fn give_back(&self, block: Block) {
        self.pool().give_back(block);
    }

    /// Takes a free buffer for data from the host, or `None`.
    pub(crate) fn reuse(&self, bytes: u64) -> Option<Block> {
        self.pool().take(Pool::rounded(bytes))
    }

    /// Waits until everything submitted is done.
    pub(crate) fn wait(&self) -> Result<()> {
        let polled = self.0.device.poll(wgpu::PollType::wait_indefinitely());
        self.check_alive()?;
        polled
            .map(drop)
            .map_err(|e| Error::Validation { what: "waiting for the device".into(), message: e.to_string() })
    }

    /// An error once the device is lost.
    pub(crate) fn check_alive(&self) -> Result<()> {
        match self.0.lost.get() {
            Some(reason) => Err(Error::DeviceLost { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Runs `f` and turns whatever wgpu has to say about it into an error about `what`, which needs `bytes` of memory.
    pub(crate) fn scoped<T>(&self, what: &str, bytes: u64, f: impl FnOnce(&wgpu::Device) -> T) -> Result<T> {
        let device = &self.0.device;
        let filters = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::Internal];
        let scopes = filters.map(|filter| device.push_error_scope(filter));
        let value = f(device);
        let caught = scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop())).last();
        match caught {
            None => Ok(value),
            Some(wgpu::Error::OutOfMemory { .. }) => {
                self.check_alive()?;
                Err(Error::OutOfMemory { bytes, live: self.pool().live_bytes() })
            }
            Some(error) => Err(self.refused(what, error.to_string())),
        }
    }

    /// The error for something that wgpu refused: what it says, unless the true reason is that the device is gone.
    pub(crate) fn refused(&self, what: &str, message: String) -> Error {
        // wgpu tells of the loss only when it is polled, and only once all that was submitted before is done.
        let _ = self.0.device.poll(wgpu::PollType::wait_indefinitely());
        let lost = self.check_alive().err();
        lost.unwrap_or_else(|| Error::Validation { what: what.into(), message })
    }

    pub(crate) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.0.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gpu({})", self.info().name)
    }
}
