//! Convolution that normalizes, modulates and activates what it loads: the form for GPUs.

use crate::Source;
use crate::convolution::{ConvolutionParams, reading};
use crate::input::Buffers;
use alias_plan::{Convolution, Precision};
use alias_tensor::{Recording, Result, Tensor, Work};

/// shaders/fused_conv2d.wgsl for a workgroup's share of the output: height, width, channels.
macro_rules! source {
    ($h:literal, $w:literal, $couts:literal) => {
        stored!(
            FUSED_CONV2D, GRID, SOURCE, CONVOLUTION, MATH;
            concat!("const TILE_H = ", $h, "u; const TILE_W = ", $w, "u; const COUTS = ", $couts, "u;")
        )
    };
}

/// A workgroup's share of the output. In each, 128 invocations keep 64 sums.
struct Tile {
    source: Source,
    h: usize,
    w: usize,
    couts: usize,
}

const TILES: [Tile; 4] = [
    Tile { source: source!(16, 8, 64), h: 16, w: 8, couts: 64 },
    Tile { source: source!(8, 16, 64), h: 8, w: 16, couts: 64 },
    Tile { source: source!(16, 16, 32), h: 16, w: 16, couts: 32 },
    Tile { source: source!(16, 32, 16), h: 16, w: 32, couts: 16 },
];
const WORKGROUP: u32 = 128;

/// Records a step whose method is [`Fused`](alias_plan::Method::Fused). `weight` is (Cin K K + 1, Cout filled up with zeros
/// to a multiple of 4): the kernel's, then the bias.
///
/// # Errors
/// Where a buffer is smaller than the step says; what the device reports.
pub fn record_fused_conv2d(
    recording: &mut Recording,
    step: &Convolution,
    precision: Precision,
    buffers: Buffers,
    weight: &Tensor,
) -> Result<()> {
    buffers.check_convolution("fused_conv2d", step, precision, weight, step.kernel * step.kernel)?;
    let Tile { source, h, w, couts } = tile(step);
    let forward = reading(step, "fused_conv2d", source.of(precision), "forward")
        .workgroup(WORKGROUP)
        .constant("K", step.kernel as u32);
    let groups =
        step.input.batch * step.rows.len().div_ceil(*h) * step.input.width.div_ceil(*w) * step.cout.div_ceil(*couts);
    let work = Work::groups(groups).flops(step.flops());
    let [a, b, c, d, e, f] = buffers.read_by(step);
    let (params, reads) = (ConvolutionParams::new(step, &step.rows), [a, b, c, d, e, f, weight]);
    recording.launch(&forward, &params, &reads, &[buffers.get(step.output)], work)
}

fn tile(step: &Convolution) -> &'static Tile {
    match (step.cout, step.input.width) {
        (..=16, _) => &TILES[3],
        (..=32, _) => &TILES[2],
        (_, ..=8) => &TILES[0],
        _ => &TILES[1],
    }
}
