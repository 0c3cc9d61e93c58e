//! Compares the layouts of structs that exist in both WGSL and Rust, such as `Params`.

use naga::{AddressSpace, TypeInner};

/// Asserts that the uniform at binding 0 of the WGSL text `source` has exactly these fields at these offsets.
///
/// # Panics
/// If the layouts differ, with both of them.
pub fn check_params(source: &str, fields: &[(&str, usize)]) {
    check_struct(source, "Params", fields);
    let module = naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    let uniform = module
        .global_variables
        .iter()
        .find(|(_, v)| v.space == AddressSpace::Uniform && v.binding.is_some_and(|b| b.binding == 0));
    let (_, uniform) = uniform.expect("a uniform at binding 0");
    assert_eq!(module.types[uniform.ty].name.as_deref(), Some("Params"), "type of the uniform");
}

/// Asserts that `struct NAME` of the WGSL text `source` has exactly these fields at these offsets.
///
/// # Panics
/// If the layouts differ, with both of them.
pub fn check_struct(source: &str, name: &str, fields: &[(&str, usize)]) {
    let module = naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    let found = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name));
    let Some(TypeInner::Struct { members, .. }) = found.map(|(_, ty)| &ty.inner) else { panic!("no struct {name}") };
    let shader: Vec<_> = members.iter().map(|m| (m.name.as_deref().unwrap_or(""), m.offset as usize)).collect();
    assert_eq!(shader, fields, "{name} of the shader (left) and of Rust (right)");
}
