//! The statistics of instance norm and mask norm.

use crate::{BufferId, Input, Plan};

/// Mean and scale that standardize each plane of an input: instance norm, or mask norm (VITON-HD, section 3.4).
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// The norm's name in the state dict, which holds the noise's factor for each channel.
    pub norm: String,
    /// The tensor to normalize.
    pub input: Input,
    /// (N, H, W) in [0, 1]: the mask whose inside and outside mask norm standardizes apart.
    pub mask: Option<BufferId>,
    /// (N, C, parts, 12): the statistics of each part of a plane, stored on GPUs only.
    pub partial: Option<BufferId>,
    /// (N, C, 8), or in blocks of channels (N, C / block, 8, block). The eight coefficients of a plane:
    ///
    /// 0. its first pixel;
    /// 1. mean minus first pixel, and
    /// 2. scale, of the region under the mask, or without a mask of all;
    /// 3. the noise's factor;
    /// 4. mean minus first pixel, and
    /// 5. scale, outside the mask;
    /// 6. scale, here 1, and
    /// 7. shift, here 0, to apply after the normalization.
    pub output: BufferId,
}

impl Statistics {
    /// Added to every variance.
    pub const EPS: f32 = 1e-5;
    /// Elements per part of a plane.
    pub const PART: usize = 16384;

    /// Floating-point operations. Without mask and noise, an operand is reduced before it is upsampled.
    pub fn flops(&self) -> u64 {
        let Input { batch, noise, ref operands, .. } = self.input;
        if self.mask.is_some() || noise.is_some() {
            return (if self.mask.is_some() { 23 } else { 7 }) * self.input.elements() as u64;
        }
        operands.iter().map(|o| 5 * (batch * o.channels * o.height * o.width) as u64).sum()
    }

    /// Number of parts per plane.
    pub fn parts(&self) -> usize {
        self.input.plane().div_ceil(Statistics::PART)
    }

    pub(crate) fn bytes_moved(&self, plan: &Plan) -> u64 {
        let bytes = |buffer: &BufferId| plan.bytes(*buffer);
        self.input.bytes_read(plan)
            + self.mask.iter().map(bytes).sum::<u64>()
            + 2 * self.partial.iter().map(bytes).sum::<u64>()
            + plan.bytes(self.output)
    }
}
