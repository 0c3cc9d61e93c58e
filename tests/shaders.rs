//! Every shader parses, validates and keeps the rules of shaders/README.md. Needs no GPU.

use naga::valid::{Capabilities, ValidationFlags, Validator};
use std::fs;
use std::path::{Path, PathBuf};

fn files(directory: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(directory)
        .unwrap_or_else(|e| panic!("{directory}: {e}"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "wgsl"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no shaders in {directory}");
    paths
}

/// The Rust text that loads a shader: the tape's for `accumulate`, otherwise that of the operation of the same name, with its
/// choice of kernels where that is a file of its own.
fn rust_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap().to_string_lossy();
    let rust = match &*stem {
        "accumulate" => vec!["crates/tensor/src/tape.rs".into()],
        stem => [format!("{stem}.rs"), format!("{stem}/forms.rs"), format!("plan/{stem}.rs")]
            .map(|file| format!("crates/kernels/src/{file}"))
            .to_vec(),
    };
    let found: String = rust.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    assert!(!found.is_empty(), "no file beside {}: {rust:?}", path.display());
    found
}

/// The helpers that a shader's kernels list after it in `wgsl!(OP, HELPER, ...)`.
///
/// # Panics
/// Where no kernel lists the shader.
fn helpers(path: &Path) -> Vec<PathBuf> {
    let rust: String = rust_of(path).split_whitespace().collect();
    let stem = path.file_stem().unwrap().to_string_lossy();
    let own = ["wgsl!(", "stored!(", "alias_shaders::"].map(|before| format!("{before}{},", stem.to_uppercase()));
    let listed = own.iter().find_map(|own| rust.split_once(own)).unwrap_or_else(|| panic!("{stem}: unused")).1;
    let listed = listed.split([')', ']', ';']).next().unwrap().split(',').filter(|name| !name.is_empty());
    listed
        .map(|name| format!("shaders/shared/{}.wgsl", name.rsplit(':').next().unwrap().to_lowercase()).into())
        .collect()
}

/// The full source of a shader: with its helpers and the constants that its Rust file appends.
fn composed(path: &Path) -> String {
    let rust = rust_of(path);
    let mut source = String::from("alias Stored = f32;") + &fs::read_to_string(path).unwrap();
    for helper in helpers(path) {
        source += &fs::read_to_string(&helper).unwrap_or_else(|e| panic!("{}: {e}", helper.display()));
    }
    // The Rust file's macro takes the values of these constants as arguments; any small value will do here.
    let appended = rust.split("const ").skip(1).filter_map(|rest| rest.split_once(" = ")).map(|(name, _)| name);
    let mut constants: Vec<_> =
        appended.filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')).collect();
    constants.sort();
    constants.dedup();
    for name in constants {
        source += &format!("const {name} = {}u;", if name.contains("TILE_") || name == "COUTS" { 16 } else { 4 });
    }
    source
}

fn parsed(path: &Path) -> naga::Module {
    let source = composed(path);
    naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string_with_path(&source, &path.display().to_string())))
}

#[test]
fn every_shader_is_valid() {
    for path in files("shaders") {
        let module = parsed(&path);
        Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .unwrap_or_else(|e| panic!("{}: {}", path.display(), e.emit_to_string(&composed(&path))));
    }
}

#[test]
fn every_shader_keeps_the_house_rules() {
    for path in files("shaders") {
        let name = path.display();
        let source = fs::read_to_string(&path).unwrap();
        assert!(source.starts_with("// "), "{name}: the first line says what it computes");
        for line in source.lines().filter(|line| line.contains("var<storage")) {
            assert!(line.contains("// ("), "{name}: a binding without its shape: {line}");
        }
        let module = parsed(&path);
        let overrides: Vec<_> = module.overrides.iter().filter_map(|(_, o)| o.name.as_deref()).collect();
        assert_eq!(overrides.first(), Some(&"WG"), "{name}: the workgroup size is the first override");
        let uniforms: Vec<_> = module
            .global_variables
            .iter()
            .filter(|(_, v)| v.space == naga::AddressSpace::Uniform)
            .map(|(_, v)| (v.name.as_deref(), v.binding.map(|b| (b.group, b.binding))))
            .collect();
        assert_eq!(uniforms, [(Some("p"), Some((0, 0)))], "{name}: one uniform, p, at binding 0");
        let groups = module.global_variables.iter().filter_map(|(_, v)| v.binding.map(|b| b.group));
        assert!(groups.into_iter().all(|group| group == 0), "{name}: one bind group");
        assert!(!module.entry_points.is_empty(), "{name}: no entry point");
        for inexact in ["tanh(", "exp(", "log(", "sin(", "cos(", "pow("] {
            let called = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let found = source
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .any(|line| line.match_indices(inexact).any(|(at, _)| called(&line[..at])));
            assert!(!found, "{name}: the built-in {inexact}..) is inexact; shared/math.wgsl has its own");
        }
        assert!(!source.contains("atomic"), "{name}: gather, do not scatter");
    }
}

/// WebGPU guarantees eight storage buffers per shader stage.
#[test]
fn no_entry_point_needs_more_than_eight_storage_buffers() {
    for path in files("shaders") {
        let module = parsed(&path);
        let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).unwrap();
        for (k, entry) in module.entry_points.iter().enumerate() {
            let uses = info.get_entry_point(k);
            let buffers = module.global_variables.iter().filter(|(handle, v)| {
                matches!(v.space, naga::AddressSpace::Storage { .. }) && !uses[*handle].is_empty()
            });
            let mut bindings: Vec<_> = buffers.map(|(_, v)| v.binding.unwrap().binding).collect();
            assert!(bindings.len() <= 8, "{}.{}: {} storage buffers", path.display(), entry.name, bindings.len());
            bindings.sort();
            let expected: Vec<_> = (1..).take(bindings.len()).collect();
            assert_eq!(bindings, expected, "{}.{}: bindings in argument order, from 1", path.display(), entry.name);
        }
    }
}

/// Finds dead code: entry points that no operation launches. A shader that no kernel lists fails in [`helpers`].
#[test]
fn every_entry_point_is_used() {
    for path in files("shaders") {
        let (stem, rust) = (path.file_stem().unwrap().to_string_lossy(), rust_of(&path));
        for entry in parsed(&path).entry_points {
            assert!(rust.contains(&format!("\"{}\"", entry.name)), "{stem}: nothing launches {}", entry.name);
        }
    }
}
