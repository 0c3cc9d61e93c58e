//! Macros for the head of an operation's file: its shader's text and its parameters.

/// A shader's text in pieces: the operation's own file, the helpers from `shaders/shared/` that it calls, and, after a
/// semicolon, constants. `first` shares a line with the file's first one, so that line numbers in errors are the
/// file's.
macro_rules! wgsl {
    ($($first:literal,)? $op:ident $(, $shared:ident)* $(; $($constants:expr),+)?) => {
        &[$($first,)? alias_shaders::$op, $(alias_shaders::shared::$shared,)* $($($constants),+)?]
    };
}

/// Declares `Params`, the uniform at binding 0, and a test that it matches the struct in the shader `SOURCE`.
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

/// [`wgsl!`] in both precisions. `Stored` is the WGSL type of stored weights and activations.
macro_rules! stored {
    ($($pieces:tt)*) => {
        $crate::ShaderText {
            f32: wgsl!("alias Stored = f32;", $($pieces)*),
            f16: wgsl!("enable f16; alias Stored = f16;", $($pieces)*),
        }
    };
}
