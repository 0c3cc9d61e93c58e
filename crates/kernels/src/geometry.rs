//! What depends on the kind of adapter: workgroup sizes, tile shapes, amounts of work. Operations ask only here.
//!
//! Which method computes a planned convolution is not decided here: the plan says so.

use alias_tensor::Device;

/// A kind of adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdapterKind {
    /// Runs many thousands of invocations at once, each with its sums in registers.
    Gpu,
    /// Runs shaders on processor cores, as Mesa's llvmpipe does. It spends its time on loads and at barriers.
    Rasterizer,
}

/// A square of output pixels whose sums one invocation of `conv2d` keeps, and the workgroup for it. Eight neighbouring
/// invocations share a tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PixelTile {
    pub(crate) side: usize,
    pub(crate) workgroup: u32,
}

impl PixelTile {
    const SMALL: PixelTile = PixelTile { side: 4, workgroup: 64 };
    const MIDDLE: PixelTile = PixelTile { side: 6, workgroup: 8 };
    const LARGE: PixelTile = PixelTile { side: 8, workgroup: 8 };
}

/// A tile of a matrix product whose sums one invocation of `modulation_table` keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MatrixTile {
    pub(crate) rows: usize,
    /// Columns, in groups of four.
    pub(crate) quads: usize,
    pub(crate) workgroup: usize,
}

impl AdapterKind {
    /// The kind of a device's adapter. Processor cores have none, and no use for the answer.
    pub(crate) fn of(device: impl Into<Device>) -> AdapterKind {
        match device.into() {
            Device::Gpu(gpu) if gpu.is_software() => AdapterKind::Rasterizer,
            _ => AdapterKind::Gpu,
        }
    }

    /// The workgroup of a reduction. A rasterizer is slow at barriers, and slower in large workgroups.
    pub(crate) fn reduction_workgroup(self) -> u32 {
        match self {
            AdapterKind::Gpu => 256,
            AdapterKind::Rasterizer => 32,
        }
    }

    /// The workgroup that reduces a plane of `elements` in `statistics`. On a small plane, most of 256 invocations
    /// would only wait at barriers.
    pub(crate) fn statistics_workgroup(self, elements: usize) -> u32 {
        if elements <= 256 { 32 } else { self.reduction_workgroup() }
    }

    /// The tiles that `conv2d` may choose from.
    ///
    /// On a GPU an invocation keeps 64 sums in registers. On a rasterizer 256 sums are half again as fast, although
    /// most of them spill, because they take fewer loads; but a tile that crosses the border of a plane costs as much
    /// as a whole one.
    pub(crate) fn conv2d_tiles(self) -> &'static [PixelTile] {
        match self {
            AdapterKind::Gpu => &[PixelTile::SMALL],
            AdapterKind::Rasterizer => &[PixelTile::SMALL, PixelTile::MIDDLE, PixelTile::LARGE],
        }
    }

    /// The tile of `conv2d` for 1x1 kernels, which computes `side` channels of 4 `side` pixels. The reason is the same.
    pub(crate) fn pointwise_tile(self) -> PixelTile {
        match self {
            AdapterKind::Gpu => PixelTile::SMALL,
            AdapterKind::Rasterizer => PixelTile::LARGE,
        }
    }

    /// The workgroup of `conv2d`'s gradient by weight: as large as for the small tile on a GPU, the large on a
    /// rasterizer.
    pub(crate) fn weight_gradient_workgroup(self) -> u32 {
        match self {
            AdapterKind::Gpu => 64,
            AdapterKind::Rasterizer => 8,
        }
    }

    /// Whether to compute the weight gradient of a 1x1 convolution as one matrix product. A rasterizer reaches 20
    /// GFLOP/s that way, and 7 by sums over parts of the pixels. A GPU needs the parallelism of those parts.
    pub(crate) fn multiplies_weight_gradient(self) -> bool {
        self == AdapterKind::Rasterizer
    }

    /// The tile of `modulation_table`: 64 sums in a GPU's registers, 256 where loads cost the most.
    pub(crate) fn table_tile(self) -> MatrixTile {
        match self {
            AdapterKind::Gpu => MatrixTile { rows: 8, quads: 2, workgroup: 64 },
            AdapterKind::Rasterizer => MatrixTile { rows: 16, quads: 4, workgroup: 8 },
        }
    }

    /// Invocations of `peak` that multiply and add: 2^18 fill any GPU, while a processor needs few to be busy.
    pub(crate) fn peak_invocations(self) -> usize {
        match self {
            AdapterKind::Gpu => 1 << 18,
            AdapterKind::Rasterizer => 1 << 12,
        }
    }
}
