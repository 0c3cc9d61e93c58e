//! What each operation's file begins with.

/// The text of `shaders/OP.wgsl`, followed by the helpers it names from `shaders/shared/`.
macro_rules! wgsl {
    ($op:literal $(, $shared:literal)*) => {
        concat!(
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shaders/", $op, ".wgsl")),
            $(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shaders/shared/", $shared, ".wgsl"))),*
        )
    };
}

/// Declares `Params`, the uniform at binding 0 of the file's `SOURCE`, and the test that both languages agree on it.
macro_rules! params {
    ($($field:ident: $type:ty),* $(,)?) => {
        #[repr(C)]
        #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        struct Params {
            $($field: $type),*
        }

        #[cfg(test)]
        #[test]
        fn params_match_the_shader() {
            alias_oracle::check_params(SOURCE, &[$((stringify!($field), std::mem::offset_of!(Params, $field))),*]);
        }
    };
}

/// A shader in both precisions: `Stored` is the type of stored weights and activations.
macro_rules! stored {
    ($source:expr) => {
        $crate::Source {
            f32: concat!("alias Stored = f32;", $source),
            f16: concat!("enable f16; alias Stored = f16;", $source),
        }
    };
}
