//! `Params` exists in both languages; this compares them.

use naga::{AddressSpace, TypeInner};

/// Asserts that the uniform at binding 0 of the WGSL text `source` has exactly these fields at these offsets.
///
/// # Panics
/// With both layouts where they differ.
pub fn check_params(source: &str, fields: &[(&str, usize)]) {
    let module = naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    let (_, uniform) = module
        .global_variables
        .iter()
        .find(|(_, v)| v.space == AddressSpace::Uniform && v.binding.is_some_and(|b| b.binding == 0))
        .expect("a uniform at binding 0");
    let TypeInner::Struct { members, .. } = &module.types[uniform.ty].inner else { panic!("Params is a struct") };
    let shader: Vec<_> = members.iter().map(|m| (m.name.as_deref().unwrap_or(""), m.offset as usize)).collect();
    assert_eq!(shader, fields, "Params of the shader (left) and of Rust (right)");
}
