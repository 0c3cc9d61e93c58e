//! Exact counts of work and memory. Tests pin these, since times are noisy.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A snapshot of what a [`Gpu`](crate::Gpu) has done and holds. The first six only grow. All are the same from run to
/// run, except for `submits`, which depends on how fast the device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Kernels launched.
    pub launches: u64,
    /// Command buffers submitted.
    pub submits: u64,
    /// Reads of tensors on a GPU, each of which waits until everything before it is done.
    pub reads: u64,
    /// Floating-point operations, as declared at each launch.
    pub flops: u64,
    /// Bytes of all tensors bound at each launch, which a launch moves at least once if it reads all of them; and bytes that
    /// copies read and write.
    pub bytes_moved: u64,
    /// Buffers created on the device so far. Constant from image to image once the pool is warm.
    pub allocations: u64,
    /// Buffers that exist now, in use or pooled.
    pub buffers: u64,
    /// Bytes held by tensors now.
    pub live_bytes: u64,
    /// The most that `live_bytes` ever was.
    pub peak_live_bytes: u64,
    /// Bytes on the device now: live and pooled.
    pub device_bytes: u64,
    /// The most that `device_bytes` ever was.
    pub peak_device_bytes: u64,
}

/// The counters of launches; those of memory are kept by the pool.
#[derive(Default)]
pub(crate) struct LaunchCounters {
    pub(crate) launches: AtomicU64,
    pub(crate) submits: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) flops: AtomicU64,
    pub(crate) bytes_moved: AtomicU64,
}

impl LaunchCounters {
    pub(crate) fn launched(&self, flops: u64, bytes: u64) {
        self.launches.fetch_add(1, Relaxed);
        self.flops.fetch_add(flops, Relaxed);
        self.bytes_moved.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn submitted(&self) {
        self.submits.fetch_add(1, Relaxed);
    }

    pub(crate) fn copied(&self, bytes: u64) {
        self.bytes_moved.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn read(&self) {
        self.reads.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_to(&self, counters: &mut Counters) {
        counters.launches = self.launches.load(Relaxed);
        counters.submits = self.submits.load(Relaxed);
        counters.reads = self.reads.load(Relaxed);
        counters.flops = self.flops.load(Relaxed);
        counters.bytes_moved = self.bytes_moved.load(Relaxed);
    }
}
