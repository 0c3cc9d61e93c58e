//! What each operation's file begins with.

/// The pieces of a shader's text: the operation's own file, then the helpers it names from `shaders/shared/`, then, after a
/// semicolon, constants. `first` goes on the first line, so that the file's line numbers hold.
macro_rules! wgsl {
    ($($first:literal,)? $op:ident $(, $shared:ident)* $(; $($constants:expr),+)?) => {
        &[$($first,)? alias_shaders::$op, $(alias_shaders::shared::$shared,)* $($($constants),+)?]
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
            alias_oracle::check_params(&SOURCE.concat(), &[$((stringify!($field), std::mem::offset_of!(Params, $field))),*]);
        }
    };
}

/// [`wgsl!`] in both precisions: `Stored` is the type of stored weights and activations.
macro_rules! stored {
    ($($pieces:tt)*) => {
        $crate::ShaderText {
            f32: wgsl!("alias Stored = f32;", $($pieces)*),
            f16: wgsl!("enable f16; alias Stored = f16;", $($pieces)*),
        }
    };
}
