//! The sizes of a convolution of planes, and how its weight is packed.

use alias_cpu::{BLOCK, Cpu, PANEL, WeightView, blocks};

/// Pixels from which Winograd's algorithm takes less time, its transform of the weights included.
const WINOGRAD_PIXELS: usize = 128;

/// A convolution of planes as its loops see it: that of the forward pass, or one that gives a part of the gradient by
/// input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Convolution {
    pub(super) batch: usize,
    pub(super) cin: usize,
    pub(super) cout: usize,
    /// Height and width of the input's planes.
    pub(super) input: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) stride: usize,
    /// The input pixel that the first tap of the first output pixel reads; outside the plane it is zero.
    pub(super) corner: [isize; 2],
    /// Height and width of what is computed.
    pub(super) output: [usize; 2],
    /// Height and width of the planes that it is stored to.
    pub(super) stored: [usize; 2],
    /// Where the first pixel is stored, and how far apart neighbours are.
    pub(super) first: [usize; 2],
    pub(super) step: usize,
}

impl Convolution {
    pub(super) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    pub(super) fn is_winograd(&self) -> bool {
        let pixels = self.batch * self.output[0] * self.output[1];
        self.kernel == [3, 3] && self.stride == 1 && self.step == 1 && pixels >= WINOGRAD_PIXELS
    }

    /// Elements of the packed weight.
    pub(super) fn packed_elements(&self) -> usize {
        let taps = if self.is_winograd() { 36 } else { self.taps() };
        blocks(self.cin) * taps * BLOCK * self.cout.next_multiple_of(PANEL)
    }

    pub(super) fn pack(&self, cpu: &Cpu, view: &WeightView, to: &mut [f32]) {
        if !self.cin.is_multiple_of(BLOCK) {
            to.fill(0.0);
        }
        let places: Vec<usize> = (0..self.cin).collect();
        view.pack(cpu, &places, self.is_winograd().then_some(4), to);
    }
}
