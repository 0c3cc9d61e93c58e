//! PyTorch's two containers: the zip file of version 1.6 and later, and the one before it.

use std::collections::BTreeMap;

use super::Checkpoint;
use super::bytes::{Reader, SharedBytes};
use super::error::{Problem, clip};
use super::pickle::{Pickle, Value};
use super::state_dict;
use super::zip::Archive;

/// 0x1950a86a20f9469cfc6c, little-endian: the first thing in a file before version 1.6.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The only version of that container there has been.
const LEGACY_VERSION: i64 = 1001;

/// A folder with `data.pkl` and, under `data/`, one file per storage.
pub(super) fn read_zip(file: &SharedBytes) -> Result<Checkpoint, Problem> {
    let mut archive = Archive::open(file)?;
    let mut roots = archive.names().filter_map(|name| name.strip_suffix("/data.pkl"));
    let Some(root) = roots.next() else {
        return Err(Problem::unsupported("this zip file has no data.pkl"));
    };
    if roots.next().is_some() {
        return Err(Problem::unsupported("this zip file has several data.pkl"));
    }
    drop(roots);
    let byte_order = format!("{root}/byteorder");
    if archive.names().any(|name| name == byte_order) && *archive.read(&byte_order)? != *b"little" {
        return Err(big_endian());
    }
    let program = archive.read(&format!("{root}/data.pkl"))?;
    let pickle = Pickle::load(&mut Reader::new(&program), file.len())?;
    state_dict::checkpoint(&pickle, |key| archive.read(&format!("{root}/data/{key}")))
}

/// Five pickles (magic number, version, a description of the machine, the object, the keys of
/// its storages), then each storage's number of elements and the elements.
pub(super) fn read_legacy(file: &SharedBytes) -> Result<Checkpoint, Problem> {
    let mut reader = Reader::new(file);
    let magic = Pickle::load(&mut reader, file.len())?;
    if magic.root != Value::Long(&LEGACY_MAGIC) {
        return Err(Problem::unsupported("this pickle was not written by torch.save"));
    }
    let version = Pickle::load(&mut reader, file.len())?;
    if version.root != Value::Int(LEGACY_VERSION) {
        return Err(Problem::unsupported("unknown version of PyTorch's container"));
    }
    let machine = Pickle::load(&mut reader, file.len())?;
    if let Value::Dict(machine_info) = machine.root {
        let big = [Value::Str("little_endian"), Value::Bool(false)];
        if machine.items(machine_info).chunks_exact(2).any(|pair| pair == big) {
            return Err(big_endian());
        }
    }
    let pickle = Pickle::load(&mut reader, file.len())?;
    let keys = Pickle::load(&mut reader, file.len())?;
    let Value::List(key_list) = keys.root else {
        return Err(Problem::damaged("the storages are not listed after the object"));
    };

    let mut storages = BTreeMap::new();
    for &key in keys.items(key_list) {
        let Value::Str(key) = key else {
            return Err(Problem::damaged("the key of a storage is not a string"));
        };
        let Some(storage) = pickle.storages.get(key) else {
            let what = format!("storage `{}` is listed but not used", clip(key));
            return Err(Problem::Damaged(what));
        };
        let stored = reader.len64()?;
        if stored != storage.numel {
            return Err(Problem::Damaged(format!(
                "storage `{}` has {stored} elements, but should have {}",
                clip(key),
                storage.numel
            )));
        }
        let start = reader.position();
        reader.take(storage.byte_len().unwrap_or(usize::MAX))?;
        let data = file.slice(start..reader.position());
        if storages.insert(key, data).is_some() {
            let what = format!("storage `{}` is listed twice", clip(key));
            return Err(Problem::Damaged(what));
        }
    }
    state_dict::checkpoint(&pickle, |key| {
        let data = storages.get(key).cloned().flatten();
        data.ok_or_else(|| Problem::Damaged(format!("storage `{}` is missing", clip(key))))
    })
}

fn big_endian() -> Problem {
    Problem::Unsupported {
        what: "the file comes from a big-endian machine".to_owned(),
        remedy: "re-save it on a little-endian one",
    }
}
