//! The input of a step.

use crate::{BufferId, Plan};
use std::ops::Range;

/// A tensor (N, channels, height, width), resized by nearest neighbour to the height and width of its [`Input`].
#[derive(Clone, Debug, PartialEq)]
pub struct Operand {
    /// Its buffer.
    pub buffer: BufferId,
    /// Its channels.
    pub channels: usize,
    /// Its height: the input's, multiplied or divided by a power of two. In [`Statistics`](crate::Statistics), at most
    /// the input's.
    pub height: usize,
    /// Its width: the input's, multiplied or divided by the same.
    pub width: usize,
}

/// A step's input: `leaky_relu(modulate(normalize(concatenate(resize(operands)) + noise)))`, where noise,
/// normalization, modulation and activation are optional. A step computes it while loading, and never stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Images, N.
    pub batch: usize,
    /// Height, H.
    pub height: usize,
    /// Width, W.
    pub width: usize,
    /// One or two tensors, concatenated along the channels.
    pub operands: Vec<Operand>,
    /// (N, H, W): noise, which each channel multiplies by its own factor and adds before the normalization.
    pub noise: Option<BufferId>,
    /// The normalization.
    pub norm: Option<Normalization>,
    /// Slope of the leaky ReLU for negative numbers, at most 1: 1 for none, 0 for ReLU.
    pub slope: f32,
}

/// How an input is normalized and modulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    /// In the layout of [`Statistics::output`](crate::Statistics::output): computed by that step, or from running
    /// statistics.
    pub coefficients: BufferId,
    /// Scale and shift for each pixel, from a table. Without it, those of the channel in `coefficients`.
    pub modulation: Option<Modulation>,
}

/// SPADE's scale and shift for each pixel, looked up in a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Modulation {
    /// The table, [`ModulationTable::output`](crate::ModulationTable::output).
    pub table: BufferId,
    /// Number of entries of the table.
    pub entries: usize,
    /// (N, rows, W, 2) uint32: each pixel's entry in the table, from 0, and its mask as the bits of a float32.
    pub pixels: BufferId,
    /// Image rows in `pixels`: all that the step reads.
    pub rows: Range<usize>,
    /// Whether the regions inside and outside the mask have statistics of their own, as in mask norm.
    pub masked: bool,
}

impl Input {
    /// Channels of all operands.
    pub fn channels(&self) -> usize {
        self.operands.iter().map(|operand| operand.channels).sum()
    }

    /// Channels of each operand.
    pub fn operand_channels(&self) -> Vec<usize> {
        self.operands.iter().map(|operand| operand.channels).collect()
    }

    /// Elements of a plane, H W.
    pub fn plane(&self) -> usize {
        self.height * self.width
    }

    /// Elements, N C H W.
    pub fn elements(&self) -> usize {
        self.batch * self.channels() * self.plane()
    }

    /// Channels of all operands, each rounded up to whole blocks of `block`.
    pub fn stored_channels(&self, block: usize) -> usize {
        self.operands.iter().map(|operand| operand.channels.next_multiple_of(block)).sum()
    }

    /// The modulation by table, if there is one.
    pub fn modulation(&self) -> Option<&Modulation> {
        self.norm.as_ref()?.modulation.as_ref()
    }

    /// Operations that normalize, modulate and activate this many elements.
    pub(crate) fn loading_flops(&self, elements: u64) -> u64 {
        elements
            * match &self.norm {
                None => 1,
                Some(norm) if norm.modulation.as_ref().is_some_and(|modulation| modulation.masked) => 10,
                Some(_) => 5,
            }
    }

    /// Bytes of the operands and the noise. Of an operand larger than the input, only the nearest pixels are read.
    pub(crate) fn bytes_read(&self, plan: &Plan) -> u64 {
        let of_operand = |o: &Operand| plan.bytes(o.buffer) / (o.height / self.height).max(1).pow(2) as u64;
        self.operands.iter().map(of_operand).sum::<u64>() + self.noise.map_or(0, |noise| plan.bytes(noise))
    }

    /// Buffers of the normalization.
    pub(crate) fn norm_buffers(&self) -> impl Iterator<Item = BufferId> {
        self.norm.iter().flat_map(|norm| {
            let modulation = norm.modulation.iter().flat_map(|modulation| [modulation.table, modulation.pixels]);
            [norm.coefficients].into_iter().chain(modulation)
        })
    }

    /// All buffers.
    pub(crate) fn buffers(&self) -> impl Iterator<Item = BufferId> {
        self.operands.iter().map(|operand| operand.buffer).chain(self.noise).chain(self.norm_buffers())
    }
}
