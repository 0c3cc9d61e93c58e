//! Convolution in two steps, a band of rows at a time: the form for software rasterizers.

use crate::convolution::{ConvolutionParams, reading};
use crate::input::{Buffers, holds};
use crate::{Source, kernel};
use alias_plan::{Convolution, Precision};
use alias_tensor::{Error, Recording, Result, Tensor, Work};

/// Invocations on one tile.
const LANES: usize = 8;

macro_rules! source {
    ($tile:literal) => {
        stored!(STAGED_CONV2D, GRID, SOURCE, CONVOLUTION, MATH; concat!("const TILE = ", $tile, "u; const LANES = 8u;"))
    };
}

/// Side of the tile of pixels that an invocation keeps.
struct Tile {
    source: Source,
    side: usize,
}

const SMALL: Tile = Tile { source: source!(4), side: 4 };
const LARGE: Tile = Tile { source: source!(8), side: 8 };

/// Records a step whose method is [`Staged`](alias_plan::Method::Staged). `weight` is (Cin K K + 1, Cout filled up with zeros
/// to a multiple of 4): the kernel's, then the bias.
///
/// # Errors
/// Where a buffer is smaller than the step says; what the device reports.
pub fn record_staged_conv2d(
    recording: &mut Recording,
    step: &Convolution,
    precision: Precision,
    buffers: Buffers,
    weight: &Tensor,
) -> Result<()> {
    buffers.check_convolution("staged_conv2d", step, precision, weight, step.kernel * step.kernel)?;
    if step.kernel == 1 && step.tanh {
        return Err(Error::argument("staged_conv2d", "tanh", true, "false for a 1x1 kernel"));
    }
    let (scratch, output) = (buffers.stored("staged_conv2d", "scratch", step.scratch)?, buffers.get(step.output));
    holds("staged_conv2d", "the scratch", scratch, step.scratch_elements() as u64 * precision.bytes())?;
    let (batch, channels, width) = (step.input.batch, step.input.channels(), step.input.width);
    for band in step.bands() {
        let plane = step.staged_plane(band.len()) / 4;
        let params = ConvolutionParams::new(step, &band);
        let stage = reading(step, "staged_conv2d", LARGE.source.of(precision), "stage")
            .workgroup(64)
            .constant("K", step.kernel as u32);
        let work = Work::threads(batch * channels.div_ceil(8) * plane).flops(step.loading_flops(&band));
        recording.launch(&stage, &params, &buffers.read_by(step), &[scratch], work)?;

        // On a plane that a small tile covers, most of a large one would be wasted.
        let Tile { source, side } = if band.len().min(width) <= SMALL.side { SMALL } else { LARGE };
        let (entry, jobs) = if step.kernel == 1 {
            let wide = (step.input.height * width).is_multiple_of(4)
                && (band.start * width).is_multiple_of(4)
                && (band.len() * width).is_multiple_of(4);
            (
                if wide { "forward_1x1" } else { "forward_1x1_narrow" },
                plane.div_ceil(side) * step.cout.div_ceil(side * LANES),
            )
        } else {
            ("forward_3x3", band.len().div_ceil(side) * width.div_ceil(side) * step.cout.div_ceil(4 * LANES))
        };
        let forward = kernel("staged_conv2d", source.of(precision), entry)
            .workgroup(LANES as u32)
            .constant("K", step.kernel as u32);
        let work = Work::threads(LANES * batch * jobs).flops(step.product_flops(&band));
        recording.launch(&forward, &params, &[scratch, weight], &[output], work)?;
    }
    Ok(())
}
