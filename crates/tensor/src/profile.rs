//! How long the launches of each kernel take, on request.

use crate::open_device::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// What the launches of one kernel took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KernelTime {
    /// How often it was launched.
    pub launches: u64,
    /// Floating-point operations, as declared at each launch.
    pub flops: u64,
    /// Bytes of all tensors at each launch.
    pub bytes: u64,
    /// From launch to end.
    pub time: Duration,
}

/// By kernel, its name and its entry point; `None` while nobody asks.
#[derive(Default)]
pub(crate) struct Profile(Mutex<Option<BTreeMap<String, KernelTime>>>);

impl Profile {
    pub(crate) fn start(&self) {
        *lock(&self.0) = Some(BTreeMap::new());
    }

    pub(crate) fn stop(&self) -> BTreeMap<String, KernelTime> {
        lock(&self.0).take().unwrap_or_default()
    }

    pub(crate) fn is_on(&self) -> bool {
        lock(&self.0).is_some()
    }

    pub(crate) fn launched(&self, name: String, flops: u64, bytes: u64, time: Duration) {
        if let Some(kernels) = &mut *lock(&self.0) {
            let of = kernels.entry(name).or_default();
            of.launches += 1;
            of.flops += flops;
            of.bytes += bytes;
            of.time += time;
        }
    }
}
