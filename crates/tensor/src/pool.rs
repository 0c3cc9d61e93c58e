//! Buffers, reused: a dropped tensor's buffer serves the next tensor of about its size.
//!
//! Reuse needs no fence. All work goes through one queue in the order it was recorded, so a kernel that writes into a
//! reused buffer runs after every kernel that was recorded with its former content.

use crate::Counters;
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Pool {
    free: BTreeMap<u64, Vec<wgpu::Buffer>>,
    free_bytes: u64,
    live_bytes: u64,
    peak_live_bytes: u64,
    peak_device_bytes: u64,
    buffers: u64,
    allocations: u64,
}

impl Pool {
    /// Sizes are rounded up to this, so that shapes that differ by a few elements share buffers.
    pub(crate) const GRANULE: u64 = 256;

    /// What a buffer for `bytes` bytes really takes.
    pub(crate) fn rounded(bytes: u64) -> u64 {
        bytes.next_multiple_of(Self::GRANULE)
    }

    /// The smallest free buffer of at least `bytes`, unless it would waste more than a quarter.
    pub(crate) fn take(&mut self, bytes: u64) -> Option<wgpu::Buffer> {
        let (&size, free) = self.free.range_mut(bytes..=bytes + bytes / 4).next()?;
        let buffer = free.pop()?;
        if free.is_empty() {
            self.free.remove(&size);
        }
        self.free_bytes -= size;
        self.hold(size);
        Some(buffer)
    }

    /// A buffer of `size` bytes was created and is in use.
    pub(crate) fn created(&mut self, size: u64) {
        self.buffers += 1;
        self.allocations += 1;
        self.hold(size);
    }

    /// Takes back a buffer that no tensor uses any more. Keeps at most as much as was ever in use at once.
    pub(crate) fn give_back(&mut self, buffer: wgpu::Buffer) {
        let size = buffer.size();
        self.live_bytes -= size;
        self.free_bytes += size;
        self.free.entry(size).or_default().push(buffer);
        while self.free_bytes > self.peak_live_bytes {
            self.release_largest();
        }
    }

    /// Gives every unused buffer back to the device.
    pub(crate) fn trim(&mut self) {
        while !self.free.is_empty() {
            self.release_largest();
        }
    }

    fn release_largest(&mut self) {
        let Some(mut entry) = self.free.last_entry() else { return };
        self.free_bytes -= *entry.key();
        self.buffers -= 1;
        entry.get_mut().pop();
        if entry.get().is_empty() {
            entry.remove();
        }
    }

    fn hold(&mut self, size: u64) {
        self.live_bytes += size;
        self.peak_live_bytes = self.peak_live_bytes.max(self.live_bytes);
        self.peak_device_bytes = self.peak_device_bytes.max(self.live_bytes + self.free_bytes);
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    pub(crate) fn add_to(&self, counters: &mut Counters) {
        counters.allocations = self.allocations;
        counters.buffers = self.buffers;
        counters.live_bytes = self.live_bytes;
        counters.peak_live_bytes = self.peak_live_bytes;
        counters.device_bytes = self.live_bytes + self.free_bytes;
        counters.peak_device_bytes = self.peak_device_bytes;
    }
}
