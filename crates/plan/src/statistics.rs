//! The statistics that normalize a plane.

use crate::{BufferId, Input, Plan};

/// What it takes to standardize each plane of an input: instance norm, or mask norm (VITON-HD, section 3.4).
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// The norm's name: whose scale of the noise it is.
    pub norm: String,
    /// What is normalized.
    pub input: Input,
    /// (N, H, W) in [0, 1]: the region that mask norm standardizes apart.
    pub mask: Option<BufferId>,
    /// (N, C, parts, 12): the statistics of the parts of a plane, where they are stored: on a GPU.
    pub partial: Option<BufferId>,
    /// (N, C, 8), where channels lie in blocks (N, C / block, 8, block): the plane's first pixel, mean less that, scale, scale
    /// of the noise; outside the mask mean less the first pixel, and scale; the scale and the shift that follow, 1 and 0.
    pub output: BufferId,
}

impl Statistics {
    /// What every normalization adds to a variance.
    pub const EPS: f32 = 1e-5;
    /// Elements of a part of a plane.
    pub const PART: usize = 16384;

    /// Floating-point operations. Without mask and noise, a plane that is repeated to a larger size counts once.
    pub fn flops(&self) -> u64 {
        let Input { batch, noise, ref operands, .. } = self.input;
        if self.mask.is_some() || noise.is_some() {
            return (if self.mask.is_some() { 23 } else { 7 }) * self.input.elements() as u64;
        }
        operands.iter().map(|o| 5 * (batch * o.channels * o.height * o.width) as u64).sum()
    }

    /// Parts of a plane.
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
