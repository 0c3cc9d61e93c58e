//! Predicts the memory that a step takes on its device, before the first step.

use super::start::{Start, upload};
use alias_pictures::dataset::Example;
use alias_tensor::{Device, Error, Gpu, Tensor};
use anyhow::Result;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// The largest batch that `--batch auto` tries: SPADE's, on 8 GPUs.
const LARGEST_BATCH: usize = 32;
/// Number of examples that are counted: the tables of the others differ little in size.
const COUNTED: usize = 4;
/// The largest piece, in bytes, in which a device's memory is tried out.
const PIECE: u64 = 256 << 20;

/// Takes the first steps of a training on a device that counts memory but computes nothing.
pub(super) struct Forecast<'a> {
    start: &'a Start,
    device: &'a Device,
    examples: Vec<Example>,
}

impl Forecast<'_> {
    pub(super) fn new<'a>(start: &'a Start, device: &'a Device) -> Result<Forecast<'a>> {
        let counted = COUNTED.min(start.dataset.len());
        let examples = (0..counted).map(|index| start.dataset.read(index)).collect::<Result<_, _>>()?;
        Ok(Forecast { start, device, examples })
    }

    /// Peak memory on the device, in bytes, of a step on `batch` examples, `at_once` of them together.
    pub(super) fn bytes(&self, batch: usize, at_once: usize) -> Result<u64> {
        let counting = self.device.counting()?;
        let mut trainer = self.start.trainer(&counting)?;
        let mut examples = self.examples.iter().cycle();
        for _ in 0..COUNTED.div_ceil(batch) {
            let step: Vec<_> = examples.by_ref().take(batch).cloned().collect();
            let parts = step.chunks(at_once).map(|part| upload(&counting, part)).collect::<Result<Vec<_>>>()?;
            trainer.step(&parts)?;
        }
        Ok(counting.counters().peak_device_bytes)
    }

    /// The largest power of two of examples that fit the device at once; 1 on a software rasterizer, where larger
    /// batches are no faster.
    pub(super) fn largest_batch(&self) -> Result<usize> {
        let is_rasterizer = matches!(self.device, Device::Gpu(gpu) if gpu.is_software());
        let mut batch = 1;
        while !is_rasterizer && batch < LARGEST_BATCH {
            let bytes = match self.bytes(2 * batch, 2 * batch) {
                Ok(bytes) => bytes,
                // A tensor would be larger than a binding may be.
                Err(error) if matches!(device_error(&error), Some(Error::Limit { .. })) => break,
                Err(error) => return Err(error),
            };
            if !holds(self.device, bytes)? {
                break;
            }
            batch *= 2;
        }
        Ok(batch)
    }
}

/// The device's error that `error` wraps, if any.
pub(super) fn device_error(error: &anyhow::Error) -> Option<&Error> {
    let model = match error.downcast_ref() {
        Some(alias_train::Error::Model(error)) => Some(error),
        _ => error.downcast_ref(),
    };
    match model {
        Some(alias_model::Error::Device(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

/// Whether a device has `bytes` bytes left.
fn holds(device: &Device, bytes: u64) -> Result<bool> {
    match device {
        Device::Gpu(gpu) => holds_on_gpu(gpu, bytes),
        Device::Cores(_) => Ok(bytes <= free_memory()),
    }
}

/// Bytes that this process may still take: what the machine has free, or less where its control group, such as a
/// container's, is limited.
fn free_memory() -> u64 {
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(MemoryRefreshKind::everything()));
    let free = system.available_memory();
    system.cgroup_limits().map_or(free, |limits| free.min(limits.free_memory))
}

/// Whether a GPU has `bytes` bytes left, found by allocating them.
fn holds_on_gpu(gpu: &Gpu, bytes: u64) -> Result<bool> {
    let piece = PIECE.min(gpu.limits().max_storage_buffer_binding_size).min(gpu.limits().max_buffer_size);
    let pieces = (0..bytes.div_ceil(piece)).map(|_| Tensor::empty(gpu, &[(piece / 4) as usize]));
    let held = pieces.collect::<Result<Vec<_>, _>>();
    let fits = match &held {
        Ok(_) => Ok(true),
        Err(Error::OutOfMemory { .. }) => Ok(false),
        Err(error) => Err(error.clone().into()),
    };
    drop(held);
    gpu.trim();
    fits
}
