//! SPADE's scale and shift for each distinct 5x5 window of a label map.

use super::DeviceBuffers;
use super::input::holds;
use crate::geometry::{AdapterKind, MatrixTile};
use crate::{ShaderText, kernel};
use alias_plan::ModulationTable;
use alias_tensor::{Error, Recording, Result, Tensor, Work};

/// shaders/modulation_table.wgsl for the rows and quads of a [`MatrixTile`].
macro_rules! text {
    ($rows:literal, $quads:literal) => {
        stored!(MODULATION_TABLE, GRID; concat!("const ROWS = ", $rows, "u; const QUADS = ", $quads, "u;"))
    };
}

#[cfg(test)]
const SOURCE: &[&str] = text!(8, 2).f32;

fn text(tile: MatrixTile) -> ShaderText {
    match (tile.rows, tile.quads) {
        (8, 2) => text!(8, 2),
        (16, 4) => text!(16, 4),
        other => unreachable!("geometry.rs has no tile of {other:?}"),
    }
}

params! {
    rows: u32, inner: u32, columns: u32, gathers: u32, biased: u32, rectified: u32, across: u32,
}

/// The weights of a [`ModulationTable`].
#[derive(Clone, Debug)]
pub struct TableWeights {
    /// (9 labels padded with zeros to a multiple of 4, hidden): from the labels in a 3x3 window to the hidden layer.
    pub shared: Tensor,
    /// (hidden), float32: the hidden layer's bias.
    pub shared_bias: Tensor,
    /// (hidden, 9, 2 C padded with zeros to a multiple of 4): from the hidden layer to gamma and beta, which alternate.
    pub taps: Tensor,
    /// (2 C padded to a multiple of 4), float32: 1 + gamma's bias and beta's bias, which alternate.
    pub bias: Tensor,
}

/// Records a step.
pub(super) fn record(
    recording: &mut Recording,
    step: &ModulationTable,
    buffers: &DeviceBuffers,
    weights: &TableWeights,
) -> Result<()> {
    check(step, buffers, weights)?;
    let tile = AdapterKind::of(recording.gpu()).table_tile();
    let text = text(tile).of(buffers.precision());
    let MatrixTile { rows: tile_rows, quads, workgroup } = tile;
    let linear = kernel("modulation_table", text, "linear").workgroup(workgroup as u32);
    let mut launch = |params: Params, reads: [&Tensor; 4], y: &Tensor| {
        let across = (params.columns as usize).div_ceil(quads).next_power_of_two().min(workgroup);
        let groups = (params.rows as usize).div_ceil(tile_rows * workgroup / across)
            * (params.columns as usize).div_ceil(quads * across);
        let taps = if params.gathers != 0 { 9 } else { 1 };
        let flops = 2 * u64::from(params.rows) * u64::from(params.inner) * u64::from(4 * params.columns) * taps;
        let params = Params { across: across as u32, ..params };
        recording.launch(&linear, &params, &reads, &[y], Work::groups(groups).flops(flops))
    };
    let [patches, index, output] = [step.patches, step.index, step.output].map(|id| buffers.get(id));
    let hidden = buffers.stored("modulation_table", "hidden", step.hidden)?;
    let (windows, entries) = (step.windows as u32, step.entries as u32);
    let (hidden_channels, columns) = (step.hidden_channels as u32, ModulationTable::columns(step.channels) as u32 / 4);

    let params = Params {
        rows: windows,
        inner: ModulationTable::patch_width(step.labels) as u32,
        columns: hidden_channels / 4,
        gathers: 0,
        biased: 1,
        rectified: 1,
        across: 0,
    };
    launch(params, [patches, index, &weights.shared_bias, &weights.shared], hidden)?;

    let params = Params { inner: hidden_channels, rectified: 0, ..params };
    let reads = [hidden, index, &weights.bias, &weights.taps];
    if !step.shares_products {
        return launch(Params { rows: entries, columns, gathers: 1, ..params }, reads, output);
    }
    let taps = buffers.stored("modulation_table", "taps", step.taps)?;
    launch(Params { columns: 9 * columns, biased: 0, ..params }, reads, taps)?;
    let sum = kernel("modulation_table", text, "sum_products").workgroup(64);
    let elements = step.entries * ModulationTable::columns(step.channels);
    let work = Work::threads(elements / 4).flops(9 * elements as u64);
    recording.launch(&sum, &Params { rows: entries, columns, ..params }, &[taps, index, &weights.bias], &[output], work)
}

/// Errors if a buffer or a weight is smaller than `step` says.
fn check(step: &ModulationTable, buffers: &DeviceBuffers, weights: &TableWeights) -> Result<()> {
    let ModulationTable { windows, entries, hidden_channels: hidden, .. } = *step;
    if !hidden.is_multiple_of(4) {
        return Err(Error::argument("modulation_table", "the hidden layer's channels", hidden, "a multiple of 4"));
    }
    let (stored, columns) = (buffers.precision().bytes(), ModulationTable::columns(step.channels));
    let sizes = [
        ("the patches", buffers.get(step.patches), 4, windows * ModulationTable::patch_width(step.labels)),
        ("the index", buffers.get(step.index), 4, 9 * entries),
        ("the hidden layer", buffers.stored("modulation_table", "hidden", step.hidden)?, 4, windows * hidden),
        ("the output", buffers.get(step.output), 4, entries * columns),
        ("the shared weight", &weights.shared, stored, ModulationTable::patch_width(step.labels) * hidden),
        ("the shared bias", &weights.shared_bias, 4, hidden),
        ("the taps' weight", &weights.taps, stored, hidden * 9 * columns),
        ("the bias", &weights.bias, 4, columns),
    ];
    let taps = step.taps.map(|id| ("the taps", buffers.get(id), 4, windows * 9 * columns));
    sizes
        .into_iter()
        .chain(taps)
        .try_for_each(|(what, tensor, each, elements)| holds("modulation_table", what, tensor, each * elements as u64))
}
