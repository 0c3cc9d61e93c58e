//! A convolution, and what happens where it loads and stores.

use crate::{BufferId, Input, Plan};
use std::ops::Range;

/// `y = activation(conv(input) + bias + y)`, where the activation and the addition are optional.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    /// The convolution's name in the state dict.
    pub name: String,
    /// What it reads.
    pub input: Input,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
    /// Output channels.
    pub cout: usize,
    /// Rows of the output to compute.
    pub rows: Range<usize>,
    /// Whether to add to what is in `output`.
    pub accumulate: bool,
    /// What the sum goes through.
    pub activation: Activation,
    /// (N, cout, height, width), or in blocks.
    pub output: BufferId,
    /// How it is computed.
    pub method: Method,
    /// Room for a staged band, or on processor cores for what lies between the phases of Winograd's algorithm.
    pub scratch: Option<BufferId>,
}

/// The activation of a result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// x where it is positive, else x times the slope: 1 for none, 0 for ReLU.
    LeakyRelu(f32),
    /// The hyperbolic tangent.
    Tanh,
}

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// In one kernel, which normalizes what it loads. Takes every kernel and stride.
    Fused,
    /// The same in the transformed domain of Winograd's F(MxM, 3x3) (Lavin and Gray 2016), for M of 2 or, on processor cores, 4.
    /// Stride 1.
    Winograd(usize),
    /// By bands of this many image rows: one kernel normalizes a band and stores it, another one convolves it. For adapters that
    /// are slow at loads; 1x1 and 3x3 kernels of stride 1.
    Staged(usize),
}

impl Method {
    /// Weights of a channel by this method, for a kernel of side `kernel`.
    pub fn taps(self, kernel: usize) -> usize {
        match self {
            Method::Winograd(m) => (m + 2) * (m + 2),
            _ => kernel * kernel,
        }
    }
}

impl Convolution {
    /// Height of the output.
    pub fn height(&self) -> usize {
        (self.input.height + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Width of the output.
    pub fn width(&self) -> usize {
        (self.input.width + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Whether the output has the input's size, each pixel computed from those around it.
    pub fn keeps_size(&self) -> bool {
        self.stride == 1 && self.kernel == 2 * self.padding + 1
    }

    /// The input's rows that `band` of the output is computed from.
    pub fn rows_seen(&self, band: &Range<usize>) -> Range<usize> {
        let end = (band.end - 1) * self.stride + self.kernel;
        let inside = |row: usize| row.saturating_sub(self.padding).min(self.input.height);
        inside(band.start * self.stride)..inside(end)
    }

    /// Floating-point operations that are executed.
    pub fn flops(&self) -> u64 {
        self.bands().map(|band| self.loading_flops(&band) + self.product_flops(&band)).sum()
    }

    /// Operations to normalize, modulate and activate what `band` of the output is computed from.
    pub fn loading_flops(&self, band: &Range<usize>) -> u64 {
        let halo = if matches!(self.method, Method::Staged(_)) { 2 * self.padding } else { 0 };
        let rows = band.len() * self.stride + halo;
        self.input.loading_flops((self.input.batch * self.input.channels() * rows * self.input.width) as u64)
    }

    /// Operations of the convolution itself for `band` of the output.
    pub fn product_flops(&self, band: &Range<usize>) -> u64 {
        let pixels = (self.input.batch * band.len() * self.width()) as u64;
        let (cin, cout) = (self.input.channels() as u64, self.cout as u64);
        pixels
            * match self.method {
                // 16 products for 4 pixels instead of 36; 32 additions to transform a tile of input, 24 for one of output.
                Method::Winograd(2) => 8 * cin * cout + 8 * cin + 6 * cout,
                // 36 products for 16 pixels instead of 144; 12 multiply-adds a line of input, 12 lines; 4 and 8 other
                // operations a line of output, 10 lines.
                Method::Winograd(_) => (72 * cin * cout + 288 * cin + 160 * cout) / 16,
                _ => 2 * cin * cout * (self.kernel * self.kernel) as u64,
            }
            + pixels * cout
    }

    /// The bands of output rows that are computed one after the other.
    pub fn bands(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.rows.clone();
        let height = if let Method::Staged(height) = self.method { height } else { rows.len() };
        rows.clone().step_by(height.max(1)).map(move |start| start..rows.end.min(start + height))
    }

    pub(crate) fn bytes_moved(&self, plan: &Plan) -> u64 {
        let weights = self.method.taps(self.kernel) * self.input.channels() * self.cout;
        let passes = if self.accumulate { 2 } else { 1 };
        let image = self.input.bytes_read(plan) + passes * plan.bytes(self.output);
        let staged = match self.method {
            Method::Staged(_) => self.scratch.map_or(0, |id| plan.bytes(id)) * 2 * self.bands().count() as u64,
            _ => 0,
        };
        // Some rows of the image read and write their share of it.
        image * self.rows.len() as u64 / self.height() as u64
            + self.input.norm_buffers().map(|buffer| plan.bytes(buffer)).sum::<u64>()
            + plan.precision.bytes() * weights as u64
            + staged
    }
}
