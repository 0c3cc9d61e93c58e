//! Pooling that normalizes, modulates and activates its input while loading it.

use super::DeviceBuffers;
use super::input::{holds, reading};
use super::load_store::LoadStoreParams;
use crate::{ShaderText, kernel};
use alias_plan::Pool;
use alias_tensor::{Error, Recording, Result, Work};

const TEXT: ShaderText = stored!(FUSED_POOL, GRID, INPUT, LOAD_STORE, MATH);

/// Records a step.
pub(super) fn record(recording: &mut Recording, step: &Pool, buffers: &DeviceBuffers) -> Result<()> {
    let (input, window) = (&step.input, step.window);
    if step.padding >= window || step.stride == 0 || input.height.min(input.width) + 2 * step.padding < window {
        return Err(Error::argument("fused_pool", "the window", window, "one that fits the image, with a stride"));
    }
    buffers.check_input("fused_pool", input, &(0..input.height))?;
    let elements = input.batch * input.channels() * step.height() * step.width();
    holds("fused_pool", "the output", buffers.get(step.output), elements as u64 * buffers.precision().bytes())?;
    let forward = reading(kernel("fused_pool", TEXT.of(buffers.precision()), "forward"), input)
        .constant("WINDOW", window as u32)
        .constant("MAX", step.is_max.into());
    let work = Work::threads(elements).flops(step.flops());
    let (params, reads) = (LoadStoreParams::of_pool(step), buffers.read_by(input));
    recording.launch(&forward, &params, &reads, &[buffers.get(step.output)], work)
}
