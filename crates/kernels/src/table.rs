//! SPADE's scale and shift for each distinct window of a label map.

use crate::input::{Buffers, holds};
use crate::{Source, kernel};
use alias_plan::{Precision, Table};
use alias_tensor::{Error, Recording, Result, Tensor, Work};

/// Rows and quads of columns that an invocation keeps: 64 sums in registers on a GPU, four times as many on a software
/// rasterizer, which spends its time on loads.
macro_rules! source {
    ($rows:literal, $quads:literal) => {
        stored!(concat!(wgsl!("table", "grid"), "const ROWS = ", $rows, "u; const QUADS = ", $quads, "u;"))
    };
}
const GPU: Tile = Tile { source: source!(8, 2), rows: 8, quads: 2 };
const SOFTWARE: Tile = Tile { source: source!(16, 4), rows: 16, quads: 4 };

#[cfg(test)]
const SOURCE: &str = GPU.source.f32;

struct Tile {
    source: Source,
    rows: usize,
    quads: usize,
}

params! { rows: u32, inner: u32, columns: u32, channels: u32, stride: u32 }

/// What a table is made with.
#[derive(Clone, Debug)]
pub struct TableWeights {
    /// (9 labels, filled up with zeros to a multiple of 4, and 1; hidden): labels under a window to the hidden layer; the bias.
    pub shared: Tensor,
    /// (hidden, 18 C filled up with zeros to a multiple of 4): the hidden layer to the nine taps of gamma and beta, in turn.
    pub taps: Tensor,
    /// (C, 2): one more than the bias of gamma, the bias of beta.
    pub bias: Tensor,
}

/// Records a step.
///
/// # Errors
/// Where a buffer is smaller than the step says; what the device reports.
pub fn record_table(
    recording: &mut Recording,
    step: &Table,
    precision: Precision,
    buffers: Buffers,
    weights: &TableWeights,
) -> Result<()> {
    let software = recording.gpu().is_software();
    let Tile { source, rows: tile_rows, quads } = if software { SOFTWARE } else { GPU };
    let workgroup = if software { 8 } else { 64 };
    let linear = kernel("table", source.of(precision), "linear").workgroup(workgroup);
    let hidden = step.hidden_channels;
    let columns = step.tap_columns() / 4;
    let params = |rows: usize, inner: usize, columns: usize| Params {
        rows: rows as u32,
        inner: inner as u32,
        columns: columns as u32,
        channels: step.channels as u32,
        stride: (step.tap_columns() / 2) as u32,
    };
    let work = |rows: usize, inner: usize, columns: usize| {
        let groups = rows.div_ceil(tile_rows) * columns.div_ceil(quads * workgroup as usize);
        Work::groups(groups).flops(2 * rows as u64 * (inner * 4 * columns) as u64)
    };
    let [patches, index, hidden_out, taps, output] =
        [step.patches, step.index, step.hidden, step.taps, step.output].map(|id| buffers.get(id));

    let inner = step.patch_width();
    let (windows, rows, channels) = (step.windows, step.rows, step.channels);
    let stored = precision.bytes();
    let sizes = [
        ("the patches", patches, 4, windows * inner),
        ("the index", index, 4, 9 * rows),
        ("the hidden layer", hidden_out, 4, windows * hidden),
        ("the taps", taps, 4, windows * step.tap_columns()),
        ("the output", output, 8, rows * channels),
        ("the shared weight", &weights.shared, stored, (inner + 1) * hidden),
        ("the taps' weight", &weights.taps, stored, hidden * step.tap_columns()),
        ("the bias", &weights.bias, 8, channels),
    ];
    for (what, tensor, each, elements) in sizes {
        holds("table", what, tensor, each * elements as u64)?;
    }
    if !hidden.is_multiple_of(4) {
        return Err(Error::argument("table", "the hidden layer's channels", hidden, "a multiple of 4"));
    }
    recording.launch(
        &linear.constant("RECTIFIED", 1),
        &params(step.windows, inner, hidden / 4),
        &[patches, &weights.shared],
        &[hidden_out],
        work(step.windows, inner, hidden / 4),
    )?;
    recording.launch(
        &linear,
        &params(step.windows, hidden, columns),
        &[hidden_out, &weights.taps],
        &[taps],
        work(step.windows, hidden, columns),
    )?;
    let rows = kernel("table", source.of(precision), "rows").workgroup(64);
    let elements = step.rows * step.channels;
    recording.launch(
        &rows,
        &params(step.rows, hidden, columns),
        &[taps, index, &weights.bias],
        &[output],
        Work::threads(elements).flops(18 * elements as u64),
    )
}
