//! The WGSL of alias's kernels, as text: a constant for each file, [`CONV2D`] for `conv2d.wgsl`, [`shared::GRID`] for
//! `shared/grid.wgsl`.
//!
//! A shader is a list of such pieces: its own file, the helpers from [`shared`] that it calls, and the constants that its first
//! lines ask for.

/// A constant for each file of the folder, in alphabetical order.
macro_rules! texts {
    ($folder:literal: $($name:ident = $stem:literal),* $(,)?) => {
        $(
            #[doc = concat!("`", $folder, $stem, ".wgsl`")]
            pub const $name: &str = include_str!(concat!($folder, $stem, ".wgsl"));
        )*

        #[cfg(test)]
        pub(crate) const LISTED: &[(&str, &str)] = &[$((stringify!($name), $stem)),*];
    };
}

texts! {
    "":
    ACCUMULATE = "accumulate",
    ADAM = "adam",
    ADD = "add",
    AFFINE = "affine",
    ARGMAX = "argmax",
    AVG_POOL = "avg_pool",
    BATCH_NORM = "batch_norm",
    BILINEAR_RESIZE = "bilinear_resize",
    CONCAT = "concat",
    CONV2D = "conv2d",
    CORRELATION = "correlation",
    CROSS_ENTROPY = "cross_entropy",
    DROPOUT = "dropout",
    FUSED_CONV2D = "fused_conv2d",
    FUSED_LINEAR = "fused_linear",
    FUSED_POOL = "fused_pool",
    GAUSSIAN_BLUR = "gaussian_blur",
    GRID_SAMPLE = "grid_sample",
    INSTANCE_NORM = "instance_norm",
    L1 = "l1",
    L2_NORMALIZE = "l2_normalize",
    LEAKY_RELU = "leaky_relu",
    MASK_NORM = "mask_norm",
    MAX_POOL = "max_pool",
    MODULATE = "modulate",
    MODULATE_BY_TABLE = "modulate_by_table",
    MODULATION_TABLE = "modulation_table",
    MUL = "mul",
    NOISE = "noise",
    PACK = "pack",
    PEAK = "peak",
    REDUCE = "reduce",
    RELU = "relu",
    RESIZE = "resize",
    RGBA8 = "rgba8",
    SCALE = "scale",
    SCORE_LOSS = "score_loss",
    SECOND_ORDER_CONSTRAINT = "second_order_constraint",
    SIGMOID = "sigmoid",
    SLICE = "slice",
    SMOOTH_LABELS = "smooth_labels",
    SPECTRAL_NORM = "spectral_norm",
    STAGED_CONV2D = "staged_conv2d",
    STATISTICS = "statistics",
    SUM_SEGMENTS = "sum_segments",
    SUM_WINDOWS = "sum_windows",
    TANH = "tanh",
    TAPS = "taps",
    THIN_PLATE_WARP = "thin_plate_warp",
    TPS_GRID = "tps_grid",
    WEIGHTED_SUM = "weighted_sum",
    WINOGRAD_CONV2D = "winograd_conv2d",
}

/// Helpers that several shaders call.
pub mod shared {
    texts! {
        "shared/":
        BILINEAR = "bilinear",
        GRID = "grid",
        INPUT = "input",
        LOAD_STORE = "load_store",
        MATH = "math",
        PHILOX = "philox",
        REDUCE = "reduce",
        THIN_PLATE = "thin_plate",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_file_is_listed() {
        for (folder, listed) in [("", super::LISTED), ("shared", super::shared::LISTED)] {
            let files = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).read_dir().unwrap();
            let paths =
                files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "wgsl"));
            let mut stems: Vec<_> = paths.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
            stems.sort();
            let names: Vec<_> = stems.iter().map(|stem| stem.to_uppercase()).collect();
            let expected: Vec<_> = names.iter().map(String::as_str).zip(stems.iter().map(String::as_str)).collect();
            assert_eq!(listed, expected, "lib.rs (left) and the files of shaders/{folder} (right)");
        }
    }
}
