//! What a step reads.

use crate::{BufferId, Plan};
use std::ops::Range;

/// A tensor (N, channels, height, width), resized to the nearest pixels of the [`Input`] that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Operand {
    /// Where it lies.
    pub buffer: BufferId,
    /// Its channels.
    pub channels: usize,
    /// Its height: the input's, times or divided by a power of two. For [`Statistics`](crate::Statistics) it is at most the
    /// input's.
    pub height: usize,
    /// Its width, by the same factor.
    pub width: usize,
}

/// What a step reads: `leaky_relu(modulate(normalize(concatenate(resize(operands)) + noise)))`, where noise, normalization and
/// activation are optional. None of it is stored: kernels compute it where they load.
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
    /// (N, H, W): the plane of noise to add, times each channel's scale, before the normalization.
    pub noise: Option<BufferId>,
    /// The normalization.
    pub norm: Option<Normalization>,
    /// Slope of the leaky ReLU, at most 1: 1 for none, 0 for ReLU.
    pub slope: f32,
}

/// How an input is normalized and modulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    /// As [`Statistics`](crate::Statistics) writes it, or from running statistics.
    pub coefficients: BufferId,
    /// Scale and shift of every pixel, from a table. Without it, the coefficients' scale and shift of the channel.
    pub modulation: Option<Modulation>,
}

/// Scale and shift of every pixel, looked up in a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Modulation {
    /// As [`ModulationTable`](crate::ModulationTable) writes it.
    pub table: BufferId,
    /// How many entries the table has.
    pub entries: usize,
    /// (N, rows, W, 2) uint32: the pixel's entry of the table, from 0, and its mask as the bits of a float32.
    pub pixels: BufferId,
    /// Image rows that `pixels` has: all that the step sees.
    pub rows: Range<usize>,
    /// Whether the mask tells two regions apart, each with statistics of its own.
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

    /// Channels, where each operand's last block is filled up.
    pub fn stored_channels(&self, block: usize) -> usize {
        self.operands.iter().map(|operand| operand.channels.next_multiple_of(block)).sum()
    }

    /// How pixels are modulated.
    pub fn modulation(&self) -> Option<&Modulation> {
        self.norm.as_ref()?.modulation.as_ref()
    }

    /// Operations to normalize, modulate and activate so many elements.
    pub(crate) fn loading_flops(&self, elements: u64) -> u64 {
        elements
            * match &self.norm {
                None => 1,
                Some(norm) if norm.modulation.as_ref().is_some_and(|modulation| modulation.masked) => 10,
                Some(_) => 5,
            }
    }

    /// Bytes of the operands and the noise. Of an operand that is larger than the input, most is skipped.
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
