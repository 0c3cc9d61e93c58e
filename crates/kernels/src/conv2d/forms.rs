//! Which kernels compute a convolution and its gradients, by its sizes and the kind of adapter.

use super::sizes::Conv;
use crate::geometry::AdapterKind;
use crate::instance_norm::parts_of_planes;
use crate::kernel;
use alias_tensor::Kernel;

// Macros, because `concat!` below accepts only literals.
macro_rules! lanes {
    () => {
        8
    };
}
macro_rules! run {
    () => {
        64
    };
}

/// Invocations that share a tile, each with four output channels of its own.
pub(super) const LANES: usize = lanes!();
/// Tiles that the gradient by weight sums before that sum joins the total: short sums round less.
const RUN: usize = run!();

/// Side of the tiles in the gradient by weight, in pixels.
const WEIGHT_TILE: usize = 4;
/// Jobs, of [`LANES`] invocations each, that fill any device.
const TARGET_JOBS: usize = 4096;
/// Tiles that a part of the gradient by weight has at most: llvmpipe silently ends an invocation's loops after 65,535
/// iterations in total.
const MAX_TILES: usize = 1 << 14;
/// Pixels that one sum has at most, for the same reason: with wgpu's bounds checks the inner loops do not unroll, and
/// each pixel takes several iterations.
const MAX_PIXELS: usize = 1 << 12;

/// shaders/conv2d.wgsl plus the constants that size its arrays: a WGSL `override` cannot size arrays in functions.
macro_rules! source {
    ($k:literal, $stride:literal, $dilation:literal, $tile:literal, $channels:literal) => {
        wgsl!(
            CONV2D, GRID, REDUCE;
            concat!("const K = ", $k, "u; const STRIDE = ", $stride, "u; const DILATION = ", $dilation, "u;"),
            concat!("const TILE = ", $tile, "u; const CHANNELS = ", $channels, "u;"),
            concat!("const LANES = ", lanes!(), "u; const RUN = ", run!(), "u;")
        )
    };
}

#[cfg(test)]
pub(super) const SOURCE: &[&str] = source!(3, 1, 1, 4, 4);

/// A kernel that convolves, and how much work it has.
pub(super) struct Form {
    pub(super) kernel: Kernel,
    /// Pairs of a tile and a block of channels in one image, of [`LANES`] invocations each.
    pub(super) jobs: usize,
}

impl Form {
    /// For the convolution itself.
    pub(super) fn forward(conv: &Conv) -> Form {
        let y = [conv.cout, conv.oh, conv.ow];
        Form::pointwise(conv, y).unwrap_or_else(|| Form::direct(conv.adapter, [conv.k, conv.stride, 1], y))
    }

    /// For the gradient by input, a convolution of `dy` dilated by the stride, with this much zero `padding`.
    pub(super) fn backward_input(conv: &Conv, padding: i32) -> Form {
        let dx = [conv.cin, conv.h, conv.w];
        Form::pointwise(conv, dx).unwrap_or_else(|| {
            let Form { kernel, jobs } = Form::direct(conv.adapter, [conv.k, 1, conv.stride], dx);
            let phase = padding.rem_euclid(conv.stride as i32) as u32;
            Form { kernel: kernel.constant("PHASE", phase), jobs }
        })
    }

    /// For an output of `channels` planes of `height` by `width` pixels, with the cheapest tile.
    fn direct(adapter: AdapterKind, kernel_size: [usize; 3], [channels, height, width]: [usize; 3]) -> Form {
        let [k, stride, _] = kernel_size;
        let tiles = |side: usize| height.div_ceil(side) * width.div_ceil(side);
        let candidates = adapter.conv2d_tiles().iter();
        let tile = candidates.min_by_key(|tile| tiles(tile.side) * rasterizer_cycles(k, stride, tile.side));
        let tile = tile.expect("there are tiles for every kind of adapter");
        let kernel = kernel("conv2d", source(kernel_size, tile.side), "forward").workgroup(tile.workgroup);
        Form { kernel, jobs: tiles(tile.side) * channels.div_ceil(4 * LANES) }
    }

    /// Where each output pixel depends on one input pixel and planes are whole groups of four pixels.
    fn pointwise(conv: &Conv, [channels, height, width]: [usize; 3]) -> Option<Form> {
        let pixels = height * width;
        (conv.is_pointwise() && pixels.is_multiple_of(4)).then(|| {
            let tile = conv.adapter.pointwise_tile();
            let kernel = kernel("conv2d", source([1, 1, 1], tile.side), "forward_1x1").workgroup(tile.workgroup);
            Form { kernel, jobs: pixels.div_ceil(4 * tile.side) * channels.div_ceil(tile.side * LANES) }
        })
    }
}

/// Cycles that llvmpipe takes for one channel of a tile (docs/performance.md): 35 for a scalar load of an activation,
/// 60 for a vec4 load of weights, 4 for a vec4 multiply-add.
fn rasterizer_cycles(k: usize, stride: usize, tile: usize) -> usize {
    let window = (tile - 1) * stride + k;
    35 * window * window + 60 * k * k + 4 * tile * tile * k * k
}

/// The text for a kernel of side k, a stride and a dilation, and a tile of this side.
fn source([k, stride, dilation]: [usize; 3], tile: usize) -> &'static [&'static str] {
    macro_rules! sources {
        ($($k:literal $stride:literal $dilation:literal),*) => {
            match (k, stride, dilation, tile) {
                $(
                    ($k, $stride, $dilation, 4) => source!($k, $stride, $dilation, 4, 1),
                    ($k, $stride, $dilation, 6) => source!($k, $stride, $dilation, 6, 1),
                    ($k, $stride, $dilation, 8) => source!($k, $stride, $dilation, 8, 1),
                )*
                other => unreachable!("Conv::new and geometry.rs let no {other:?} through"),
            }
        };
    }
    sources!(1 1 1, 1 2 1, 1 1 2, 3 1 1, 3 2 1, 3 1 2, 4 1 1, 4 2 1, 4 1 2)
}

/// The kernels of the gradient by weight, and how much work they have.
pub(super) struct WeightForm {
    pub(super) kernel: Kernel,
    pub(super) sum_parts: Kernel,
    /// Pairs of a block of input and a block of output channels, of [`LANES`] invocations each for every part.
    pub(super) jobs: usize,
    /// Parts of the tiles of `dy` that are summed apart: more than one where the channels alone cannot fill the device,
    /// and always where a part would exceed the limit on loop iterations.
    pub(super) parts: usize,
}

impl WeightForm {
    pub(super) fn of(conv: &Conv) -> WeightForm {
        let (source, channels) = weight_source(conv.k, conv.stride);
        let jobs = conv.cin.div_ceil(channels) * conv.cout.div_ceil(4 * LANES);
        let tiles = conv.batch * conv.oh.div_ceil(WEIGHT_TILE) * conv.ow.div_ceil(WEIGHT_TILE);
        WeightForm {
            kernel: kernel("conv2d", source, "backward_weight").workgroup(conv.adapter.weight_gradient_workgroup()),
            sum_parts: kernel("conv2d", source, "sum_parts"),
            jobs,
            parts: TARGET_JOBS.div_ceil(jobs).min(tiles.div_ceil(RUN)).max(tiles.div_ceil(MAX_TILES)),
        }
    }
}

/// The text for the gradient by weight, and its input channels per invocation, which keeps up to 36 vec4 sums.
fn weight_source(k: usize, stride: usize) -> (&'static [&'static str], usize) {
    macro_rules! sources {
        ($($k:literal $stride:literal $channels:literal),*) => {
            match (k, stride) {
                $(($k, $stride) => (source!($k, $stride, 1, 4, $channels), $channels),)*
                other => unreachable!("Conv::new lets no {other:?} through"),
            }
        };
    }
    sources!(1 1 8, 1 2 8, 3 1 4, 3 2 4, 4 1 2, 4 2 2)
}

/// Whether the gradient by weight is one matrix product, dw = dy x^T, that `forward_1x1` can compute.
pub(super) fn weight_gradient_is_product(conv: &Conv) -> bool {
    let is_product = conv.is_pointwise() && conv.batch == 1 && conv.cin.is_multiple_of(4);
    is_product && conv.oh * conv.ow <= MAX_PIXELS && conv.adapter.multiplies_weight_gradient()
}

/// The kernels of the gradient by bias.
pub(super) struct BiasForm {
    pub(super) kernel: Kernel,
    pub(super) sum_parts: Kernel,
    /// Parts of each plane that are summed apart, where channels are too few to fill the device.
    pub(super) parts: usize,
}

impl BiasForm {
    pub(super) fn of(conv: &Conv) -> BiasForm {
        // A 1x1 kernel's text: `sum_parts` then sums one element for each pair of channels.
        let source = source!(1, 1, 1, 4, 1);
        BiasForm {
            kernel: kernel("conv2d", source, "backward_bias").workgroup(conv.adapter.reduction_workgroup()),
            sum_parts: kernel("conv2d", source, "sum_parts"),
            parts: parts_of_planes(conv.cout, conv.oh * conv.ow),
        }
    }
}
