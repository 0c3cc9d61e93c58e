//! SPADE's scale and shift for each distinct window of a label map.

use crate::{BufferId, Plan};

/// SPADE's scale and shift (Park et al. 2019) for each distinct 5x5 window of a label map, from its distinct 3x3 windows.
///
/// `hidden = relu(shared(labels))` for each 3x3 window, its products with the nine taps of gamma and beta, and for each 5x5
/// window the sum of the nine products that it is made of. Where there are hardly more 5x5 windows than 3x3 ones, as in a map of
/// noise, sharing products does not pay: each 5x5 window is convolved by itself, as the dense network does at each pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct ModulationTable {
    /// The norm's name in the state dict.
    pub norm: String,
    /// Labels of the map.
    pub labels: usize,
    /// Channels of the hidden layer.
    pub hidden_channels: usize,
    /// Channels that the norm normalizes, C.
    pub channels: usize,
    /// Distinct 3x3 windows, U.
    pub windows: usize,
    /// Distinct 5x5 windows, E: the entries of the table.
    pub entries: usize,
    /// (U, 9, labels) float32, each window filled up with zeros to [`ModulationTable::patch_width`]: the labels under it.
    pub patches: BufferId,
    /// (E, 9) uint32: the 3x3 windows of each 5x5 one, from 1; 0 outside the image.
    pub index: BufferId,
    /// Whether 5x5 windows add up products of 3x3 ones. Otherwise each is convolved by itself.
    pub shares_products: bool,
    /// (U, hidden_channels), where that is stored: on a GPU.
    pub hidden: Option<BufferId>,
    /// (U, 9, C, 2), each tap filled up to a multiple of 4: the products, the two of a channel side by side, where they are
    /// stored.
    pub taps: Option<BufferId>,
    /// 1 + gamma, beta: (E, C, 2), each entry filled up to a multiple of 4; where channels lie in blocks (C / block, E, 2, block).
    pub output: BufferId,
}

impl ModulationTable {
    /// Columns of `patches` for a map of `labels` labels: nine times that, filled up to a multiple of 4.
    pub fn patch_width(labels: usize) -> usize {
        (9 * labels).next_multiple_of(4)
    }

    /// Columns of one tap, and of a table: gamma and beta of each channel, filled up to a multiple of 4.
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
        // What lies between its kernels is written and read.
        let between = 2 * self.hidden.iter().chain(&self.taps).map(|&buffer| plan.bytes(buffer)).sum::<u64>();
        let ends = [self.patches, self.index, self.output].map(|buffer| plan.bytes(buffer));
        ends.iter().sum::<u64>() + between + weights
    }
}
