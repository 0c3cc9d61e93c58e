//! Convolution by two kernels for each band of image rows: one normalizes, modulates and activates the band and stores
//! it with its padding, the other convolves it. For software rasterizers.

use super::DeviceBuffers;
use super::input::{holds, reading};
use super::load_store::LoadStoreParams;
use crate::{ShaderText, kernel};
use alias_plan::Convolution;
use alias_tensor::{Error, Recording, Result, Tensor, Work};

/// Invocations that share a tile.
const LANES: usize = 8;

macro_rules! text {
    ($tile:literal) => {
        stored!(STAGED_CONV2D, GRID, INPUT, LOAD_STORE, MATH; concat!("const TILE = ", $tile, "u; const LANES = 8u;"))
    };
}

/// A square of pixels whose sums an invocation keeps.
struct Tile {
    text: ShaderText,
    side: usize,
}

const SMALL: Tile = Tile { text: text!(4), side: 4 };
const LARGE: Tile = Tile { text: text!(8), side: 8 };

/// Elements of a staged image row with its padding. For 3x3 kernels: one zero on the left, the width rounded up to a
/// multiple of 8, and three more on the right.
fn staged_width(step: &Convolution) -> usize {
    if step.kernel == 1 { step.input.width } else { step.input.width.next_multiple_of(8) + 4 }
}

/// Elements of a staged plane: a band of `rows` with `padding` more rows above and below, rounded up to whole vec4.
fn staged_plane(step: &Convolution, rows: usize) -> usize {
    ((rows + 2 * step.padding) * staged_width(step)).next_multiple_of(4)
}

/// Elements of a convolution's [`scratch`](Convolution::scratch) for bands of at most `rows` image rows.
pub fn staged_elements(step: &Convolution, rows: usize) -> usize {
    step.input.batch * step.input.channels() * staged_plane(step, rows)
}

/// Records a step whose method is [`Staged`](alias_plan::Method::Staged).
pub(super) fn record(
    recording: &mut Recording,
    step: &Convolution,
    buffers: &DeviceBuffers,
    weight: &Tensor,
) -> Result<()> {
    buffers.check_convolution("staged_conv2d", step, weight, step.kernel * step.kernel)?;
    if ![1, 3].contains(&step.kernel) || !step.keeps_size() {
        let got = format!("{} with stride {}", step.kernel, step.stride);
        return Err(Error::argument("staged_conv2d", "the kernel", got, "1 or 3 with stride 1"));
    }
    let precision = buffers.precision();
    let (scratch, output) = (buffers.stored("staged_conv2d", "scratch", step.scratch)?, buffers.get(step.output));
    let largest = step.bands().map(|band| band.len()).max().unwrap_or(0);
    holds("staged_conv2d", "the scratch", scratch, staged_elements(step, largest) as u64 * precision.bytes())?;
    let (batch, channels, width) = (step.input.batch, step.input.channels(), step.input.width);
    for band in step.bands() {
        let plane = staged_plane(step, band.len()) / 4;
        let params = LoadStoreParams::of_convolution(step, &band);
        let stage = kernel("staged_conv2d", LARGE.text.of(precision), "stage");
        let stage = reading(stage, &step.input).workgroup(64).constant("K", step.kernel as u32);
        let work = Work::threads(batch * channels.div_ceil(8) * plane).flops(step.loading_flops(&band));
        recording.launch(&stage, &params, &buffers.read_by(&step.input), &[scratch], work)?;

        // Most of a large tile would be wasted on a plane that a small one covers.
        let Tile { text, side } = if band.len().min(width) <= SMALL.side { SMALL } else { LARGE };
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
        let forward = kernel("staged_conv2d", text.of(precision), entry)
            .workgroup(LANES as u32)
            .constant("K", step.kernel as u32);
        let work = Work::threads(LANES * batch * jobs).flops(step.product_flops(&band));
        recording.launch(&forward, &params, &[scratch, weight], &[output], work)?;
    }
    Ok(())
}
