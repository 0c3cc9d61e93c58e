//! The four kinds of steps.

use crate::{BufferId, Plan};
use std::ops::Range;

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Scale and shift for each distinct window of a label map.
    Table(Table),
    /// A plane of noise.
    Noise(Noise),
    /// Means and deviations.
    Statistics(Statistics),
    /// A convolution and all that happens where it loads and stores.
    Convolution(Convolution),
}

/// SPADE's scale and shift (Park et al. 2019) for each distinct 5x5 window ("row") of a label map, from its distinct 3x3
/// windows: `hidden = relu(shared(labels))` for each 3x3 window, its products with the nine taps of gamma and beta, and for
/// each row the sum of the nine products that it is made of. Where rows are hardly more than windows, as in a map of noise, the
/// products are not shared and need not be stored: each row convolves by itself, as the dense network does at each pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
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
    /// Distinct 5x5 windows, R.
    pub rows: usize,
    /// (U, 9, labels) float32, each row filled up with zeros to [`Table::patch_width`]: the labels under each window.
    pub patches: BufferId,
    /// (R, 9) uint32: the windows of each row, from 1; 0 outside the image.
    pub index: BufferId,
    /// Whether rows add up products of windows. Otherwise each convolves by itself.
    pub shares_products: bool,
    /// (U, hidden_channels), where that is stored: on a GPU.
    pub hidden: Option<BufferId>,
    /// (U, 9, C, 2), each tap filled up to a multiple of 4: the products, the two of a channel side by side, where they are
    /// stored.
    pub taps: Option<BufferId>,
    /// 1 + gamma, beta: (R, C, 2), each row filled up to a multiple of 4; where channels lie in blocks (C / block, R, 2, block).
    pub output: BufferId,
}

/// One plane of Gaussian noise an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// Which stream of the seed.
    pub stream: u32,
    /// Elements, N H W.
    pub elements: usize,
    /// (2) uint32: the seed, its low half first.
    pub seed: BufferId,
    /// (N, H, W).
    pub output: BufferId,
}

/// A tensor (N, channels, height, width), resized to the nearest pixels of what it is an input of.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Where it lies.
    pub buffer: BufferId,
    /// Its channels.
    pub channels: usize,
    /// Its height: the input's, times or divided by a power of two. For [`Statistics`] it is at most the input's.
    pub height: usize,
    /// Its width, by the same factor.
    pub width: usize,
}

/// What a layer reads: one or two tensors, resized, one after the other along the channels, and noise.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Images, N.
    pub batch: usize,
    /// Height, H.
    pub height: usize,
    /// Width, W.
    pub width: usize,
    /// One or two tensors.
    pub sources: Vec<Source>,
    /// (N, H, W): the plane of noise to add, times each channel's scale, before a normalization.
    pub noise: Option<BufferId>,
}

/// What it takes to standardize each plane of an input: instance norm, or mask norm (VITON-HD, section 3.4).
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// The norm's name in the state dict: whose scale of the noise it is.
    pub norm: String,
    /// What is normalized.
    pub input: Input,
    /// (N, H, W) in [0, 1]: the region that mask norm standardizes apart.
    pub mask: Option<BufferId>,
    /// (N, C, parts, 12): the statistics of the parts of a plane, where they are stored: on a GPU.
    pub partial: Option<BufferId>,
    /// (N, C, 8), where channels lie in blocks (N, C / block, 8, block): the plane's first pixel, mean less that, scale, scale
    /// of the noise, and for what is outside the mask mean less the first pixel, scale, and two unused.
    pub output: BufferId,
}

/// How an input is normalized and modulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// As [`Statistics`] writes it.
    pub coefficients: BufferId,
    /// Whether the mask matters.
    pub masked: bool,
    /// As [`Table`] writes it.
    pub table: BufferId,
    /// (N, pixel_rows, W, 2) uint32: the pixel's row of the table, from 0, and its mask as the bits of a float32.
    pub pixels: BufferId,
    /// Rows of the input that `pixels` has: all that the convolution sees.
    pub pixel_rows: Range<usize>,
}

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// In one go, normalizing what is loaded.
    Fused,
    /// The same in the transformed domain of Winograd's F(MxM, 3x3), for M of 2 or, on processor cores, 4.
    Winograd(usize),
    /// Bands of so many rows: one kernel normalizes them, another one convolves. For adapters that are slow at loads.
    Staged(usize),
}

/// `y = tanh(conv(leaky_relu(modulate(normalize(input + noise)))) + bias + y)`, of which all but the convolution and the bias
/// are there or not; stride 1, zeros around, of the same size.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    /// The convolution's name in the state dict.
    pub name: String,
    /// Side of the kernel: 1 or 3.
    pub kernel: usize,
    /// What it reads.
    pub input: Input,
    /// Normalization and modulation; the input's noise is added before.
    pub norm: Option<Norm>,
    /// Slope of the leaky ReLU, at most 1: 1 for none.
    pub slope: f32,
    /// Output channels.
    pub cout: usize,
    /// Rows of the output to compute.
    pub rows: Range<usize>,
    /// Whether to add to what is in `output`.
    pub accumulate: bool,
    /// Whether to end in a tanh.
    pub tanh: bool,
    /// (N, cout, H, W), or in blocks.
    pub output: BufferId,
    /// How it is done.
    pub method: Method,
    /// Room for a staged band, or on processor cores for what lies between the phases of Winograd's algorithm.
    pub scratch: Option<BufferId>,
}

impl Method {
    /// Weights of a channel by this method, for a kernel of that side.
    pub fn taps(self, kernel: usize) -> usize {
        match self {
            Method::Winograd(m) => (m + 2) * (m + 2),
            _ => kernel * kernel,
        }
    }
}

impl Input {
    /// Channels of all sources.
    pub fn channels(&self) -> usize {
        self.sources.iter().map(|source| source.channels).sum()
    }

    /// Elements of a plane, H W.
    pub fn plane(&self) -> usize {
        self.height * self.width
    }

    /// Elements, N C H W.
    pub fn elements(&self) -> usize {
        self.batch * self.channels() * self.plane()
    }

    /// Channels with what fills up their last blocks.
    pub fn stored_channels(&self, block: usize) -> usize {
        self.sources.iter().map(|source| source.channels.next_multiple_of(block)).sum()
    }

    /// Bytes of what it reads. Of a source that is larger than the input, most is skipped.
    fn bytes_read(&self, plan: &Plan) -> u64 {
        let of_source = |s: &Source| plan.bytes(s.buffer) / (s.height / self.height).max(1).pow(2) as u64;
        self.sources.iter().map(of_source).sum::<u64>() + self.noise.map_or(0, |noise| plan.bytes(noise))
    }

    fn buffers(&self) -> impl Iterator<Item = BufferId> {
        self.sources.iter().map(|source| source.buffer).chain(self.noise)
    }
}

impl Table {
    /// Columns of `patches` for a map of so many labels: nine times that, filled up to a multiple of 4.
    pub fn patch_width(labels: usize) -> usize {
        (9 * labels).next_multiple_of(4)
    }

    /// Columns of one tap, and of a table: gamma and beta of each of so many channels, filled up to a multiple of 4.
    pub fn columns(channels: usize) -> usize {
        (2 * channels).next_multiple_of(4)
    }

    /// Floating-point operations that are executed.
    pub fn flops(&self) -> u64 {
        let hidden = 2 * self.windows * self.hidden_channels * Table::patch_width(self.labels);
        let convolved = if self.shares_products { self.windows } else { self.rows };
        let taps = 2 * convolved * self.hidden_channels * 9 * Table::columns(self.channels);
        let sums = if self.shares_products { 9 * self.rows * Table::columns(self.channels) } else { 0 };
        (hidden + taps + sums) as u64
    }
}

impl Statistics {
    /// What every normalization adds to a variance.
    pub const EPS: f32 = 1e-5;
    /// Elements that one workgroup walks.
    pub const PART: usize = 16384;

    /// Floating-point operations. Without mask and noise, a plane that is repeated to a larger size counts once.
    pub fn flops(&self) -> u64 {
        let Input { batch, noise, ref sources, .. } = self.input;
        if self.mask.is_some() || noise.is_some() {
            return (if self.mask.is_some() { 23 } else { 7 }) * self.input.elements() as u64;
        }
        sources.iter().map(|s| 5 * (batch * s.channels * s.height * s.width) as u64).sum()
    }

    /// Parts of a plane.
    pub fn parts(&self) -> usize {
        self.input.plane().div_ceil(Statistics::PART)
    }
}

impl Convolution {
    /// Floating-point operations that are executed.
    pub fn flops(&self) -> u64 {
        self.bands().map(|band| self.loading_flops(&band) + self.product_flops(&band)).sum()
    }

    /// Operations to normalize, modulate and activate what `band` of the output is computed from.
    pub fn loading_flops(&self, band: &Range<usize>) -> u64 {
        let halo = if matches!(self.method, Method::Staged(_)) { 2 * self.halo() } else { 0 };
        let loaded = (self.input.batch * self.input.channels() * (band.len() + halo) * self.input.width) as u64;
        loaded
            * match &self.norm {
                None => 1,
                Some(norm) if norm.masked => 10,
                Some(_) => 5,
            }
    }

    /// Operations of the convolution itself for `band` of the output.
    pub fn product_flops(&self, band: &Range<usize>) -> u64 {
        let pixels = (self.input.batch * band.len() * self.input.width) as u64;
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

    /// Rows that the kernel sees above and below each pixel.
    pub fn halo(&self) -> usize {
        self.kernel / 2
    }

    /// The bands of output rows that are computed one after the other.
    pub fn bands(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.rows.clone();
        let height = if let Method::Staged(height) = self.method { height } else { rows.len() };
        rows.clone().step_by(height.max(1)).map(move |start| start..rows.end.min(start + height))
    }

    /// Elements of a staged row, zeros around it: for 3x3, columns from -1 to a multiple of 8 and three more.
    pub fn staged_width(&self) -> usize {
        if self.kernel == 1 { self.input.width } else { self.input.width.next_multiple_of(8) + 4 }
    }

    /// Elements of a staged plane: a band of `rows` and what the kernel sees above and below, in whole vec4.
    pub fn staged_plane(&self, rows: usize) -> usize {
        ((rows + 2 * self.halo()) * self.staged_width()).next_multiple_of(4)
    }

    /// Elements of the largest staged band; none by another method.
    pub fn scratch_elements(&self) -> usize {
        if !matches!(self.method, Method::Staged(_)) {
            return 0;
        }
        let rows = self.bands().map(|band| band.len()).max().unwrap_or(0);
        self.input.batch * self.input.channels() * self.staged_plane(rows)
    }
}

impl Step {
    /// What it is called in the network.
    pub fn name(&self) -> String {
        match self {
            Step::Table(step) => step.norm.clone(),
            Step::Noise(step) => format!("noise {}", step.stream),
            Step::Statistics(step) => step.norm.clone(),
            Step::Convolution(step) => step.name.clone(),
        }
    }

    /// Every buffer that it reads or writes.
    pub fn buffers(&self) -> Vec<BufferId> {
        match self {
            Step::Table(t) => [t.patches, t.index, t.output].into_iter().chain(t.hidden).chain(t.taps).collect(),
            Step::Noise(n) => vec![n.seed, n.output],
            Step::Statistics(s) => s.input.buffers().chain(s.mask).chain(s.partial).chain([s.output]).collect(),
            Step::Convolution(c) => {
                let norm = c.norm.iter().flat_map(|n| [n.coefficients, n.table, n.pixels]);
                c.input.buffers().chain(norm).chain([c.output]).chain(c.scratch).collect()
            }
        }
    }

    /// Floating-point operations that are executed.
    pub fn flops(&self) -> u64 {
        match self {
            Step::Table(t) => t.flops(),
            Step::Noise(n) => 30 * n.elements as u64,
            Step::Statistics(s) => s.flops(),
            Step::Convolution(c) => c.flops(),
        }
    }

    /// Kernels that a GPU launches.
    pub fn launches(&self) -> usize {
        match self {
            Step::Table(t) => 2 + usize::from(t.taps.is_some()),
            Step::Noise(_) => 1,
            Step::Statistics(_) => 2,
            Step::Convolution(c) => match c.method {
                Method::Staged(_) => 2 * c.bands().count(),
                _ => 1,
            },
        }
    }

    /// Bytes that it reads and writes, each once: sources, weights, results. What a core keeps in its cache is not counted.
    pub fn bytes_moved(&self, plan: &Plan) -> u64 {
        let bytes = |buffer: &BufferId| plan.bytes(*buffer);
        let weight = plan.precision.bytes();
        match self {
            Step::Table(t) => {
                let weights = t.hidden_channels * (Table::patch_width(t.labels) + 9 * Table::columns(t.channels));
                // What lies between its kernels is written and read.
                let between = 2 * t.hidden.iter().chain(&t.taps).map(bytes).sum::<u64>();
                bytes(&t.patches) + bytes(&t.index) + between + bytes(&t.output) + weight * weights as u64
            }
            Step::Noise(n) => bytes(&n.output),
            Step::Statistics(s) => {
                s.input.bytes_read(plan)
                    + s.mask.iter().map(bytes).sum::<u64>()
                    + 2 * s.partial.iter().map(bytes).sum::<u64>()
                    + bytes(&s.output)
            }
            Step::Convolution(c) => {
                let taps = c.method.taps(c.kernel);
                let norm = c.norm.iter().flat_map(|norm| [norm.coefficients, norm.table, norm.pixels]);
                // A band reads and writes its share of what the image has.
                let passes = if c.accumulate { 2 } else { 1 };
                let image = c.input.bytes_read(plan) + passes * bytes(&c.output);
                let staged = match c.method {
                    Method::Staged(_) => c.scratch.iter().map(bytes).sum::<u64>() * 2 * c.bands().count() as u64,
                    _ => 0,
                };
                image * c.rows.len() as u64 / c.input.height as u64
                    + norm.map(|buffer| plan.bytes(buffer)).sum::<u64>()
                    + weight * (taps * c.input.channels() * c.cout) as u64
                    + staged
            }
        }
    }
}
