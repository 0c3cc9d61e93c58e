//! Buffers, reused: a dropped tensor's buffer serves the next tensor of about its size.
//!
//! Reuse needs no fence. On a GPU all work goes through one queue in the order in which it was recorded, so a kernel that
//! writes to a reused buffer runs after every kernel that used its former content; on cores a launch is over when it
//! returns.

use crate::Counters;
use std::collections::BTreeMap;

/// A buffer and its size in bytes. On a [counting](crate::Device::counting) device the size is nominal, and the buffer is
/// smaller.
pub(crate) struct Block<B> {
    pub(crate) buffer: B,
    pub(crate) size: u64,
}

/// Buffers of kind `B`.
pub(crate) struct Pool<B> {
    free: BTreeMap<u64, Vec<Block<B>>>,
    free_bytes: u64,
    live_bytes: u64,
    peak_live_bytes: u64,
    peak_device_bytes: u64,
    buffers: u64,
    allocations: u64,
    /// The part of peak use by which live and free memory together may exceed it.
    spare: u64,
}

impl<B> Pool<B> {
    /// A pool that keeps no more free memory than makes live and free memory together one `spare`-th more than peak use.
    /// Without a cap, a training step's many different sizes would leave as much memory free as is in use; with an eighth, a
    /// step has to create a few dozen of its thousands of buffers, which costs no time that could be measured.
    pub(crate) fn new(spare: u64) -> Pool<B> {
        Pool {
            free: BTreeMap::new(),
            free_bytes: 0,
            live_bytes: 0,
            peak_live_bytes: 0,
            peak_device_bytes: 0,
            buffers: 0,
            allocations: 0,
            spare,
        }
    }
}

/// The size of a buffer for `bytes` bytes: rounded up, so that shapes that differ by a few elements share buffers.
pub(crate) fn rounded(bytes: u64) -> u64 {
    bytes.next_multiple_of(GRANULE)
}

/// What sizes are rounded up to.
pub(crate) const GRANULE: u64 = 256;

impl<B> Pool<B> {
    /// The smallest free buffer of at least `bytes` bytes, if it is at most `waste` larger.
    pub(crate) fn take(&mut self, bytes: u64, waste: u64) -> Option<Block<B>> {
        let (&size, free) = self.free.range_mut(bytes..=bytes.saturating_add(waste)).next()?;
        let block = free.pop()?;
        if free.is_empty() {
            self.free.remove(&size);
        }
        self.free_bytes -= size;
        self.live_bytes += size;
        self.peak_live_bytes = self.peak_live_bytes.max(self.live_bytes);
        Some(block)
    }

    /// A buffer of `size` bytes was created and is in use.
    pub(crate) fn created(&mut self, size: u64) {
        self.buffers += 1;
        self.allocations += 1;
        self.live_bytes += size;
        self.peak_live_bytes = self.peak_live_bytes.max(self.live_bytes);
        let cap = self.peak_live_bytes + self.peak_live_bytes / self.spare;
        while self.live_bytes + self.free_bytes > cap && !self.free.is_empty() {
            self.release_largest();
        }
        self.peak_device_bytes = self.peak_device_bytes.max(self.live_bytes + self.free_bytes);
    }

    /// Takes back a buffer that no tensor uses any more.
    pub(crate) fn give_back(&mut self, block: Block<B>) {
        let size = block.size;
        self.live_bytes -= size;
        self.free_bytes += size;
        self.free.entry(size).or_default().push(block);
    }

    /// Takes back a buffer that must not be used again.
    pub(crate) fn release(&mut self, block: Block<B>) {
        self.live_bytes -= block.size;
        self.buffers -= 1;
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
