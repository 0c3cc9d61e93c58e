//! Convolution that normalizes, modulates and activates its input while loading it, in one kernel.

use super::DeviceBuffers;
use super::input::reading;
use super::load_store::LoadStoreParams;
use crate::{ShaderText, kernel};
use alias_plan::Convolution;
use alias_tensor::{Recording, Result, Tensor, Work};

/// shaders/fused_conv2d.wgsl for a [`Tile`] of this height, width and number of channels.
macro_rules! text {
    ($h:literal, $w:literal, $couts:literal) => {
        stored!(
            FUSED_CONV2D, GRID, INPUT, LOAD_STORE, MATH;
            concat!("const TILE_H = ", $h, "u; const TILE_W = ", $w, "u; const COUTS = ", $couts, "u;")
        )
    };
}

/// The part of the output that a workgroup computes, 64 sums for each of its 128 invocations.
struct Tile {
    text: ShaderText,
    h: usize,
    w: usize,
    couts: usize,
}

const TILES: [Tile; 4] = [
    Tile { text: text!(16, 8, 64), h: 16, w: 8, couts: 64 },
    Tile { text: text!(8, 16, 64), h: 8, w: 16, couts: 64 },
    Tile { text: text!(16, 16, 32), h: 16, w: 16, couts: 32 },
    Tile { text: text!(16, 32, 16), h: 16, w: 32, couts: 16 },
];
const WORKGROUP: u32 = 128;

/// Records a step whose method is [`Fused`](alias_plan::Method::Fused).
pub(super) fn record(
    recording: &mut Recording,
    step: &Convolution,
    buffers: &DeviceBuffers,
    weight: &Tensor,
) -> Result<()> {
    buffers.check_convolution("fused_conv2d", step, weight, step.kernel * step.kernel)?;
    let Tile { text, h, w, couts } = tile(step);
    let is_tiled = step.keeps_size() && step.kernel <= 3;
    let entry = if is_tiled { "forward" } else { "forward_strided" };
    let forward = kernel("fused_conv2d", text.of(buffers.precision()), entry);
    let forward = reading(forward, &step.input).workgroup(WORKGROUP).constant("K", step.kernel as u32);
    let (batch, rows, width) = (step.input.batch, step.rows.len(), step.width());
    let work = if is_tiled {
        Work::groups(batch * rows.div_ceil(*h) * width.div_ceil(*w) * step.cout.div_ceil(*couts))
    } else {
        Work::threads(batch * rows * width * step.cout.div_ceil(4))
    };
    let [a, b, c, d, e, f] = buffers.read_by(&step.input);
    let (params, reads) = (LoadStoreParams::of_convolution(step, &step.rows), [a, b, c, d, e, f, weight]);
    recording.launch(&forward, &params, &reads, &[buffers.get(step.output)], work.flops(step.flops()))
}

fn tile(step: &Convolution) -> &'static Tile {
    match (step.cout, step.input.width) {
        (..=16, _) => &TILES[3],
        (..=32, _) => &TILES[2],
        (_, ..=8) => &TILES[0],
        _ => &TILES[1],
    }
}
