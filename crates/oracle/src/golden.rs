//! Golden cases: inputs and float64 results written by PyTorch, and how far PyTorch's own float32 is from them.

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One golden file.
pub struct Golden {
    /// Its name without the extension.
    pub name: String,
    /// All its tensors, by name; `labels`, stored as bytes, too.
    pub tensors: BTreeMap<String, Stored>,
    /// Its metadata, parsed.
    pub meta: BTreeMap<String, Value>,
}

/// A stored tensor.
pub struct Stored {
    /// Lengths of its dimensions.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub data: Vec<f32>,
}

/// The golden files of this workspace: in the working directory, as in a bundle on another machine, or where it was built.
fn own_directory() -> PathBuf {
    let here = PathBuf::from("tests/golden");
    if here.is_dir() { here } else { concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden").into() }
}

/// The case of this name that comes with this workspace, for tests that need some case, but not every one.
pub fn own(name: &str) -> Golden {
    Golden::read(&own_directory().join(name).with_extension("safetensors"))
}

/// All golden cases of this kind (`generator`, `training`) in `GOLDEN_DIR`, by default those of this workspace, in the order
/// of their names.
///
/// # Panics
/// Where there is none, or one cannot be read: a test without cases must not pass.
pub fn cases(kind: &str) -> Vec<Golden> {
    let directory = std::env::var_os("GOLDEN_DIR").map_or_else(own_directory, PathBuf::from);
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    paths.sort();
    let cases: Vec<_> = paths.iter().map(|path| Golden::read(path)).filter(|g| g.meta["kind"] == kind).collect();
    assert!(!cases.is_empty(), "no golden case of kind '{kind}' in {}", directory.display());
    cases
}

impl Golden {
    fn read(path: &Path) -> Golden {
        let fail = |e: &dyn std::fmt::Display| -> ! { panic!("{}: {e}", path.display()) };
        let bytes = std::fs::read(path).unwrap_or_else(|e| fail(&e));
        let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| fail(&e));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap_or_else(|e| fail(&e));
        let stored = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
            let data = match view.dtype() {
                Dtype::U8 => view.data().iter().map(|&b| b.into()).collect(),
                Dtype::F32 => view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
                other => fail(&format!("'{name}' has dtype {other:?}")),
            };
            (name.to_owned(), Stored { shape: view.shape().to_vec(), data })
        };
        let parse = |(key, text): (&String, &String)| {
            (key.clone(), serde_json::from_str(text).unwrap_or_else(|e| fail(&format!("{key}: {e}"))))
        };
        Golden {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            tensors: file.iter().map(stored).collect(),
            meta: header.metadata().iter().flatten().map(parse).collect(),
        }
    }

    /// The tensor of this name.
    ///
    /// # Panics
    /// Where there is none.
    pub fn tensor(&self, name: &str) -> &Stored {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor '{name}'", self.name))
    }

    /// An unsigned integer of the metadata.
    pub fn integer(&self, key: &str) -> u64 {
        self.meta[key].as_u64().unwrap_or_else(|| panic!("{}: {key} is no integer", self.name))
    }
}
