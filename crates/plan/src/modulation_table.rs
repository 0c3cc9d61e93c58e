//! SPADE's scale and shift for each distinct 5x5 window of a label map.

use crate::{BufferId, Plan};

/// SPADE's scale and shift (Park et al. 2019) for each distinct 5x5 window of a label map, which has nine 3x3 windows
/// in it.
///
/// The step computes `hidden = relu(shared(labels))` for each distinct 3x3 window, then its products with the nine taps
/// of gamma and beta, then for each 5x5 window the sum of nine such products. If there are hardly more 5x5 than 3x3
/// windows, as in a map of noise, sharing products takes longer than to convolve each 5x5 window by itself, as the
/// dense network does at each pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct ModulationTable {
    /// The norm's name in the state dict.
    pub norm: String,
    /// Channels of the label map.
    pub labels: usize,
    /// Channels of the hidden layer.
    pub hidden_channels: usize,
    /// Channels of the norm, C.
    pub channels: usize,
    /// Number of distinct 3x3 windows, U.
    pub windows: usize,
    /// Number of distinct 5x5 windows, E: the entries of the table.
    pub entries: usize,
    /// (U, 9, labels) float32: the label map in each 3x3 window, padded with zeros to [`ModulationTable::patch_width`].
    pub patches: BufferId,
    /// (E, 9) uint32: the 3x3 windows in each 5x5 window, from 1; 0 outside the image.
    pub index: BufferId,
    /// Whether 5x5 windows share the products of 3x3 windows. Otherwise each is convolved by itself.
    pub shares_products: bool,
    /// (U, hidden_channels): the hidden layer, stored on GPUs only.
    pub hidden: Option<BufferId>,
    /// (U, 9, C, 2), the last two padded to a multiple of 4: the products with gamma's and beta's taps, stored only on
    /// GPUs that share them.
    pub taps: Option<BufferId>,
    /// 1 + gamma and beta: (E, C, 2), each entry padded to a multiple of 4; in blocks, (C / block, E, 2, block).
    pub output: BufferId,
}

impl ModulationTable {
    /// Elements of a 3x3 window in `patches`: 9 `labels`, rounded up to a multiple of 4.
    pub fn patch_width(labels: usize) -> usize {
        (9 * labels).next_multiple_of(4)
    }

    /// Elements of a table's entry, or of a window's products with a tap: 2 `channels`, rounded up to a multiple of 4.
    pub fn columns(channels: usize) -> usize {
        (2 * channels).next_multiple_of(4)
    }

    /// Floating-point operations that are executed.
    pub fn flops(&self) -> u64 {
        let hidden = 2 * self.windows * self.hidden_channels * ModulationTable::patch_width(self.labels);
        let convolved = if self.shares_products { self.windows } else { self.entries };
        let columns = ModulationTable::columns(self.channels);
        let taps = 2 * convolved * self.hidden_channels * 9 * columns;
        let sums = if self.shares_products { 9 * self.entries * columns } else { 0 };
        (hidden + taps + sums) as u64
    }

    pub(crate) fn bytes_moved(&self, plan: &Plan) -> u64 {
        let (patch, columns) = (ModulationTable::patch_width(self.labels), ModulationTable::columns(self.channels));
        let weights = plan.precision.bytes() * (self.hidden_channels * (patch + 9 * columns)) as u64;
        // Intermediate results are written and read.
        let between = 2 * self.hidden.iter().chain(&self.taps).map(|&buffer| plan.bytes(buffer)).sum::<u64>();
        let ends = [self.patches, self.index, self.output].map(|buffer| plan.bytes(buffer));
        ends.iter().sum::<u64>() + between + weights
    }
}
