//! Buffers, reused: a dropped tensor's buffer serves the next tensor of about its size.
//!
//! Reuse needs no fence. All work goes through one queue in the order it was recorded, so a kernel that writes into a
//! reused buffer runs after every kernel that was recorded with its former content.

use crate::Counters;
use std::collections::BTreeMap;

/// A buffer, and how many bytes it stands for: on a [counting](crate::Gpu::counting) device, more than it has.
pub(crate) struct Block {
    pub(crate) buffer: wgpu::Buffer,
    pub(crate) size: u64,
}

#[derive(Default)]
pub(crate) struct Pool {
    free: BTreeMap<u64, Vec<Block>>,
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
    pub(crate) fn take(&mut self, bytes: u64) -> Option<Block> {
        let (&size, free) = self.free.range_mut(bytes..=bytes + bytes / 4).next()?;
        let block = free.pop()?;
        if free.is_empty() {
            self.free.remove(&size);
        }
        self.free_bytes -= size;
        self.live_bytes += size;
        self.peak_live_bytes = self.peak_live_bytes.max(self.live_bytes);
        Some(block)
    }

    /// A buffer of `size` bytes was created and is in use. With what is free, no more than an eighth above the most that was
    /// ever in use is kept: a training step's sizes are so many that free buffers would come to as much again, and a step
    /// that has to create a few dozen of its thousands does not notice.
    pub(crate) fn created(&mut self, size: u64) {
        self.buffers += 1;
        self.allocations += 1;
        self.live_bytes += size;
        self.peak_live_bytes = self.peak_live_bytes.max(self.live_bytes);
        let most = self.peak_live_bytes + self.peak_live_bytes / 8;
        while self.live_bytes + self.free_bytes > most && !self.free.is_empty() {
            self.release_largest();
        }
        self.peak_device_bytes = self.peak_device_bytes.max(self.live_bytes + self.free_bytes);
    }

    /// Takes back a buffer that no tensor uses any more.
    pub(crate) fn give_back(&mut self, block: Block) {
        let size = block.size;
        self.live_bytes -= size;
        self.free_bytes += size;
        self.free.entry(size).or_default().push(block);
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
