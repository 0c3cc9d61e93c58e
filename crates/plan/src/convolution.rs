//! Convolution, with all that happens when it loads its input and stores its output.

use crate::{BufferId, Input, Plan};
use std::ops::Range;

/// `y = activation(conv(input) + bias + y)`, where the activation and the addition are optional.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    /// The convolution's name in the state dict.
    pub name: String,
    /// Its input.
    pub input: Input,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Zeros on each side of the input.
    pub padding: usize,
    /// Output channels.
    pub cout: usize,
    /// Rows of the output to compute.
    pub rows: Range<usize>,
    /// Whether to add the present content of `output`.
    pub accumulate: bool,
    /// Activation function of the sum.
    pub activation: Activation,
    /// (N, cout, height, width), in the plan's blocks.
    pub output: BufferId,
    /// The algorithm.
    pub method: Method,
    /// Scratch memory: for a staged band, or on processor cores for Winograd's algorithm where threads share its
    /// transforms.
    pub scratch: Option<BufferId>,
}

/// An activation function of the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// Leaky ReLU with this slope for negative numbers: 1 for none, 0 for ReLU.
    LeakyRelu(f32),
    /// The hyperbolic tangent.
    Tanh,
    /// The logistic function, 1 / (1 + exp(-x)).
    Sigmoid,
}

/// The algorithm that computes a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Direct convolution that normalizes its input while loading it. For every kernel and stride.
    Fused,
    /// Winograd's F(MxM, 3x3) (Lavin and Gray 2016), which also normalizes its input while loading it. M is 2, or on
    /// processor cores 2 or 4. For 3x3 kernels of stride 1.
    Winograd(usize),
    /// In bands of this many image rows: one kernel normalizes a band and stores it, another convolves it. For adapters
    /// with slow loads. For 1x1 and 3x3 kernels of stride 1.
    Staged(usize),
}

impl Method {
    /// Stored weights per pair of an input and an output channel, for a kernel of side `kernel`.
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

    /// Whether the output has the input's height and width: stride 1 and a padding of (kernel - 1) / 2.
    pub fn keeps_size(&self) -> bool {
        self.stride == 1 && self.kernel == 2 * self.padding + 1
    }

    /// The input's rows that rows `band` of the output depend on.
    pub fn rows_seen(&self, band: &Range<usize>) -> Range<usize> {
        let end = (band.end - 1) * self.stride + self.kernel;
        let inside = |row: usize| row.saturating_sub(self.padding).min(self.input.height);
        inside(band.start * self.stride)..inside(end)
    }

    /// Floating-point operations that are executed.
    pub fn flops(&self) -> u64 {
        self.bands().map(|band| self.loading_flops(&band) + self.product_flops(&band)).sum()
    }

    /// Operations that normalize, modulate and activate the input of rows `band` of the output.
    pub fn loading_flops(&self, band: &Range<usize>) -> u64 {
        let halo = if matches!(self.method, Method::Staged(_)) { 2 * self.padding } else { 0 };
        let rows = band.len() * self.stride + halo;
        self.input.loading_flops((self.input.batch * self.input.channels() * rows * self.input.width) as u64)
    }

    /// Operations of the convolution itself for rows `band` of the output.
    pub fn product_flops(&self, band: &Range<usize>) -> u64 {
        let pixels = (self.input.batch * band.len() * self.width()) as u64;
        let (cin, cout) = (self.input.channels() as u64, self.cout as u64);
        pixels
            * match self.method {
                // A tile of 4 pixels takes 16 products instead of 36, 32 additions to transform its input and 24 for
                // its output.
                Method::Winograd(2) => 8 * cin * cout + 8 * cin + 6 * cout,
                // A tile of 16 pixels takes 36 products instead of 144. Its input has 12 rows and columns to transform,
                // of 12 multiply-adds each; its output has 10, of 4 multiply-adds and 8 additions each.
                Method::Winograd(_) => (72 * cin * cout + 288 * cin + 160 * cout) / 16,
                _ => 2 * cin * cout * (self.kernel * self.kernel) as u64,
            }
            + pixels * cout
    }

    /// The bands of output rows, in the order in which they are computed.
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
        // A step for part of the rows reads and writes that part of the image.
        image * self.rows.len() as u64 / self.height() as u64
            + self.input.norm_buffers().map(|buffer| plan.bytes(buffer)).sum::<u64>()
            + plan.precision.bytes() * weights as u64
            + staged
    }
}
