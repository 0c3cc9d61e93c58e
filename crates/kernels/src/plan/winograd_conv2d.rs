//! 3x3 convolution by Winograd's F(2x2, 3x3) (Lavin and Gray 2016) that normalizes, modulates and activates its input
//! while loading it.

use super::DeviceBuffers;
use super::input::reading;
use super::load_store::LoadStoreParams;
use crate::{ShaderText, kernel};
use alias_plan::Convolution;
use alias_tensor::{Error, Recording, Result, Tensor, Work};

const TEXT: ShaderText = stored!(WINOGRAD_CONV2D, GRID, INPUT, LOAD_STORE, MATH);

/// The part of the output that a workgroup computes: height, width, channels.
const TILE: [usize; 3] = [8, 16, 32];

/// Records a step whose method is [`Winograd`](alias_plan::Method::Winograd).
pub(super) fn record(
    recording: &mut Recording,
    step: &Convolution,
    buffers: &DeviceBuffers,
    weight: &Tensor,
) -> Result<()> {
    buffers.check_convolution("winograd_conv2d", step, weight, 16)?;
    if step.kernel != 3 || !step.keeps_size() {
        let got = format!("{} with stride {}", step.kernel, step.stride);
        return Err(Error::argument("winograd_conv2d", "the kernel", got, "3 with stride 1"));
    }
    let forward = kernel("winograd_conv2d", TEXT.of(buffers.precision()), "forward");
    let forward = reading(forward, &step.input).workgroup(256);
    let [h, w, couts] = TILE;
    let groups = step.rows.len().div_ceil(h) * step.input.width.div_ceil(w) * step.cout.div_ceil(couts);
    let work = Work::groups(step.input.batch * groups).flops(step.flops());
    let [a, b, c, d, e, f] = buffers.read_by(&step.input);
    let (params, reads) = (LoadStoreParams::of_convolution(step, &step.rows), [a, b, c, d, e, f, weight]);
    recording.launch(&forward, &params, &reads, &[buffers.get(step.output)], work)
}

/// The transform `G w G^T` of a row-major 3x3 kernel: the 4x4 factors by which F(2x2, 3x3) multiplies transformed
/// activations.
pub fn winograd_weight(w: [f64; 9]) -> [f64; 16] {
    let column = |[a, b, c]: [f64; 3]| [a, (a + b + c) / 2.0, (a - b + c) / 2.0, c];
    // First the columns of G w (4, 3), then the rows of that times G^T.
    let columns = [0, 1, 2].map(|k| column([w[k], w[k + 3], w[k + 6]]));
    let mut out = [0.0; 16];
    for i in 0..4 {
        out[4 * i..][..4].copy_from_slice(&column([columns[0][i], columns[1][i], columns[2][i]]));
    }
    out
}
