//! An open wgpu device: what wgpu reports becomes an [`Error`], and only the work submitted here is waited for.

use crate::counters::LaunchCounters;
use crate::pace::Pace;
use crate::pool::Pool;
use crate::{Error, GpuOptions, Result, adapters};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

pub(crate) struct OpenDevice {
    pub(crate) wgpu: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) limits: wgpu::Limits,
    pub(crate) software: bool,
    pub(crate) bounds_checks: bool,
    pub(crate) counters: LaunchCounters,
    pool: Mutex<Pool<wgpu::Buffer>>,
    pace: Arc<Mutex<Pace>>,
    /// The last submission.
    newest: Mutex<Option<wgpu::SubmissionIndex>>,
    /// Held by the thread that waits.
    waiting: Mutex<()>,
    /// Why the device was lost, once it is.
    lost: Arc<OnceLock<String>>,
    /// The limits that are too small for the kernels, in words.
    too_small: Vec<String>,
}

impl OpenDevice {
    /// Opens an adapter by `options`.
    pub(crate) fn open(options: &GpuOptions) -> Result<OpenDevice> {
        let (adapter, _) = options.adapter.pick(&adapters())?;
        let name = adapter.get_info().name;
        let missing = options.features - adapter.features();
        if !missing.is_empty() {
            return Err(Error::MissingFeature { adapter: name, feature: missing.to_string() });
        }
        let limits = options.limits.clone().unwrap_or_else(|| adapter.limits());
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
        let (wgpu, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| Error::Validation { what: format!("opening '{name}'"), message: e.to_string() })?;
        let device = OpenDevice { bounds_checks: options.bounds_checks, ..OpenDevice::shared(wgpu, queue) };
        let lost = device.lost.clone();
        device.wgpu.set_device_lost_callback(move |_, message| {
            let _ = lost.set(if message.is_empty() { "no reason given".into() } else { message });
        });
        device.check_alive()?;
        Ok(device)
    }

    /// A device that the host application opened. Its callback for device loss is left alone.
    pub(crate) fn shared(device: wgpu::Device, queue: wgpu::Queue) -> OpenDevice {
        let limits = device.limits();
        OpenDevice {
            too_small: too_small(&limits),
            limits,
            software: device.adapter_info().device_type == wgpu::DeviceType::Cpu,
            wgpu: device,
            queue,
            bounds_checks: false,
            counters: LaunchCounters::default(),
            pool: Mutex::new(Pool::new(8)),
            pace: Arc::default(),
            newest: Mutex::default(),
            waiting: Mutex::default(),
            lost: Arc::default(),
        }
    }

    /// An error once the device is lost, or if it was opened with too small limits.
    pub(crate) fn check_alive(&self) -> Result<()> {
        if !self.too_small.is_empty() {
            return Err(Error::DeviceLimits(self.too_small.clone()));
        }
        match self.lost.get() {
            Some(reason) => Err(Error::DeviceLost { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Runs `f`, and turns whatever wgpu reports meanwhile into an error about `what`, which needs `bytes` of memory.
    pub(crate) fn scoped<T>(&self, what: &str, bytes: u64, f: impl FnOnce(&wgpu::Device) -> T) -> Result<T> {
        let filters = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::Internal];
        let scopes = filters.map(|filter| self.wgpu.push_error_scope(filter));
        let value = f(&self.wgpu);
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

    /// The error for something that wgpu refused: its own message, unless the true reason is that the device is lost.
    pub(crate) fn refused(&self, what: &str, message: String) -> Error {
        // wgpu reports the loss only when it is polled, and only once all that was submitted before is done.
        let _ = self.poll(wgpu::PollType::wait_indefinitely());
        let lost = self.check_alive().err();
        lost.unwrap_or_else(|| Error::Validation { what: what.into(), message })
    }

    /// The most work that one submission should hold: what the device does in 0.3 seconds.
    pub(crate) fn budget(&self) -> u64 {
        lock(&self.pace).budget()
    }

    /// Submits the commands that `encode` makes, which are this much work.
    pub(crate) fn submit(
        &self,
        what: &str,
        work: u64,
        encode: impl FnOnce(&wgpu::Device) -> wgpu::CommandBuffer,
    ) -> Result<wgpu::SubmissionIndex> {
        let start = Instant::now();
        let index = self.scoped(what, 0, |device| self.queue.submit([encode(device)]))?;
        lock(&self.pace).submitted(start);
        let pace = self.pace.clone();
        self.queue.on_submitted_work_done(move || lock(&pace).finished(work, Instant::now()));
        *lock(&self.newest) = Some(index.clone());
        self.counters.submitted();
        Ok(index)
    }

    /// Waits for submission `index`, and not for what others submitted to the queue after it.
    pub(crate) fn wait(&self, index: wgpu::SubmissionIndex) -> Result<()> {
        match self.poll(wgpu::PollType::Wait { submission_index: Some(index), timeout: None }) {
            Ok(_) => self.check_alive(),
            // Such as for work that was submitted to a lost device.
            Err(error) => Err(self.refused("waiting for the device", error.to_string())),
        }
    }

    /// Waits for all that was submitted here.
    pub(crate) fn wait_for_all(&self) -> Result<()> {
        let newest = lock(&self.newest).clone();
        newest.map_or(self.check_alive(), |index| self.wait(index))
    }

    /// Lets wgpu run callbacks and drop what finished submissions held, without waiting.
    pub(crate) fn tend(&self) {
        let _ = self.wgpu.poll(wgpu::PollType::Poll);
    }

    fn poll(&self, until: wgpu::PollType) -> std::result::Result<wgpu::PollStatus, wgpu::PollError> {
        // One thread at a time: Mesa's emulated timeline semaphores report a submission as unfinished while any thread
        // is still inside its wait for it, and wgpu-core panics when another thread has already seen it finished.
        let _turn = lock(&self.waiting);
        self.wgpu.poll(until)
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool<wgpu::Buffer>> {
        lock(&self.pool)
    }
}

/// The limits that are too small for the kernels, which need what WebGPU guarantees: each with its value and the smallest
/// that serves.
fn too_small(limits: &wgpu::Limits) -> Vec<String> {
    let guaranteed = wgpu::Limits::defaults();
    macro_rules! check {
        ($($limit:ident),*) => {
            [$((stringify!($limit), u64::from(limits.$limit), u64::from(guaranteed.$limit))),*]
        };
    }
    let mut needed = check![
        max_storage_buffers_per_shader_stage,
        max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x
    ]
    .to_vec();
    // Small images do with smaller ones, and what does not fit is told when it is planned.
    let sized = check![max_compute_workgroups_per_dimension, max_storage_buffer_binding_size];
    needed.extend(sized.into_iter().filter(|(_, has, _)| *has == 0));
    let told = |(name, has, needs)| format!("{name} is {has} and must be {needs}");
    needed.into_iter().filter(|(_, has, needs)| has < needs).map(told).collect()
}

/// Nothing here is left half changed by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
