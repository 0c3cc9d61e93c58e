//! What a step will hold on the device, before there is one.

use super::start::{Start, upload};
use alias_pictures::dataset::Example;
use alias_tensor::{Error, Gpu, Tensor};
use anyhow::Result;

/// No larger batch is tried: nobody has trained this network with more.
const LARGEST_BATCH: usize = 32;
/// Examples whose tables are counted; those of others differ little.
const COUNTED: usize = 4;
/// A device's memory is tried out in pieces of at most so many bytes.
const PIECE: u64 = 256 << 20;

/// The first steps of a training, on a device that counts.
pub(super) struct Forecast<'a> {
    start: &'a Start,
    gpu: &'a Gpu,
    examples: Vec<Example>,
}

impl Forecast<'_> {
    pub(super) fn new<'a>(start: &'a Start, gpu: &'a Gpu) -> Result<Forecast<'a>> {
        let counted = COUNTED.min(start.dataset.len());
        let examples = (0..counted).map(|index| start.dataset.read(index)).collect::<Result<_, _>>()?;
        Ok(Forecast { start, gpu, examples })
    }

    /// Bytes that a step on `batch` examples, so many of them at once, takes on the device at most.
    pub(super) fn bytes(&self, batch: usize, at_once: usize) -> Result<u64> {
        let counting = self.gpu.counting()?;
        let mut trainer = self.start.trainer(&counting)?;
        let mut examples = self.examples.iter().cycle();
        for _ in 0..COUNTED.div_ceil(batch) {
            let step: Vec<_> = examples.by_ref().take(batch).cloned().collect();
            let parts = step.chunks(at_once).map(|part| upload(&counting, part)).collect::<Result<Vec<_>>>()?;
            trainer.step(&parts)?;
        }
        Ok(counting.counters().peak_device_bytes)
    }

    /// The largest power of two of examples that fit the device at once; on a software rasterizer, which computes no faster
    /// on more, one.
    pub(super) fn largest_batch(&self) -> Result<usize> {
        let mut batch = 1;
        while !self.gpu.is_software() && batch < LARGEST_BATCH {
            let bytes = match self.bytes(2 * batch, 2 * batch) {
                Ok(bytes) => bytes,
                // A tensor larger than a binding.
                Err(error) if matches!(device_error(&error), Some(Error::Limit { .. })) => break,
                Err(error) => return Err(error),
            };
            if !holds(self.gpu, bytes)? {
                break;
            }
            batch *= 2;
        }
        Ok(batch)
    }
}

/// The device's own error, if it is one.
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
