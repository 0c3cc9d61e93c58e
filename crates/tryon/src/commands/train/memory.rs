//! What a step will hold on the device, before there is one.

use super::start::{Start, upload};
use alias_model::Trainer;
use alias_tensor::{Error, Gpu, Tensor};
use anyhow::Result;
use tryon::dataset::Example;

/// No larger batch is tried: nobody has trained this network with more.
const LARGEST_BATCH: usize = 32;
/// Examples whose tables are counted; those of others differ little.
const COUNTED: usize = 4;
/// A device's memory is tried out in pieces of at most so many bytes.
const PIECE: u64 = 256 << 20;

/// A training on a device that counts.
pub(super) struct Forecast {
    counting: Gpu,
    trainer: Trainer,
    examples: Vec<Example>,
}

impl Forecast {
    pub(super) fn new(start: &Start, gpu: &Gpu) -> Result<Forecast> {
        let counting = gpu.counting()?;
        let counted = COUNTED.min(start.dataset.len());
        let examples = (0..counted).map(|index| start.dataset.read(index)).collect::<Result<_, _>>()?;
        Ok(Forecast { trainer: start.trainer(&counting)?, counting, examples })
    }

    /// Bytes that a step with so many examples at once takes at most, and those with fewer that were asked for before.
    pub(super) fn bytes(&mut self, at_once: usize) -> Result<u64> {
        for first in 0..self.examples.len() {
            let examples: Vec<_> = self.examples.iter().cycle().skip(first).take(at_once).cloned().collect();
            let part = upload(&self.counting, &examples)?;
            self.trainer.step(&[part])?;
        }
        Ok(self.counting.counters().peak_device_bytes)
    }

    /// The largest power of two of examples that fit `gpu` at once; on a software rasterizer, which computes no faster on
    /// more, one.
    pub(super) fn largest_batch(&mut self, gpu: &Gpu) -> Result<usize> {
        let mut batch = 1;
        while !gpu.is_software() && batch < LARGEST_BATCH {
            let bytes = match self.bytes(2 * batch) {
                Ok(bytes) => bytes,
                // A tensor larger than a binding.
                Err(error) if matches!(device_error(&error), Some(Error::Limit { .. })) => break,
                Err(error) => return Err(error),
            };
            if !holds(gpu, bytes)? {
                break;
            }
            batch *= 2;
        }
        Ok(batch)
    }
}

fn device_error(error: &anyhow::Error) -> Option<&Error> {
    match error.downcast_ref() {
        Some(alias_model::Error::Device(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

/// Whether a device has so many bytes left: tries.
fn holds(gpu: &Gpu, bytes: u64) -> Result<bool> {
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
