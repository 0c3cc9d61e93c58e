//! Golden cases: inputs and float64 results written by PyTorch, and the errors of PyTorch's own float32 results.

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One golden file.
pub struct Golden {
    /// The file's name without extension.
    pub name: String,
    /// All tensors by name, converted to float32; `labels` are stored as bytes.
    pub tensors: BTreeMap<String, Stored>,
    /// The metadata, each value parsed as JSON.
    pub meta: BTreeMap<String, Value>,
}

/// A stored tensor.
pub struct Stored {
    /// Lengths of the dimensions.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub data: Vec<f32>,
}

/// This workspace's folder of golden files: below the working directory, as in `make bundle`, or where it was built.
fn own_directory() -> PathBuf {
    let here = PathBuf::from("tests/golden");
    if here.is_dir() { here } else { concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden").into() }
}

/// This workspace's case `name`, whatever `GOLDEN_DIR` is, for tests that need one particular case.
pub fn own(name: &str) -> Golden {
    Golden::read(&own_directory().join(name).with_extension("safetensors"))
}

/// All golden cases of `kind` (`generator`, `training`) in `GOLDEN_DIR`, or in this workspace where there is no such variable or
/// the folder has none of this kind, sorted by name.
///
/// # Panics
/// If there is none, because a test without cases must not pass, or if one cannot be read.
pub fn cases(kind: &str) -> Vec<Golden> {
    let own = own_directory();
    let directory = std::env::var_os("GOLDEN_DIR").map_or_else(|| own.clone(), PathBuf::from);
    let all = cases_in(&directory);
    assert!(!all.is_empty(), "no golden case in {}", directory.display());
    let of_kind = |all: Vec<Golden>| all.into_iter().filter(|case| case.meta["kind"] == kind).collect::<Vec<_>>();
    let mut cases = of_kind(all);
    if cases.is_empty() {
        println!("no golden case of kind '{kind}' in {}: this workspace's are taken", directory.display());
        cases = of_kind(cases_in(&own));
    }
    assert!(!cases.is_empty(), "no golden case of kind '{kind}' in {}", own.display());
    cases
}

fn cases_in(directory: &Path) -> Vec<Golden> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    paths.sort();
    paths.iter().map(|path| Golden::read(path)).collect()
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
    /// If there is none.
    pub fn tensor(&self, name: &str) -> &Stored {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor '{name}'", self.name))
    }

    /// The unsigned integer `key` of the metadata.
    pub fn integer(&self, key: &str) -> u64 {
        self.meta[key].as_u64().unwrap_or_else(|| panic!("{}: {key} is no integer", self.name))
    }
}
