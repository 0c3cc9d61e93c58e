//! PyTorch's two containers: the zip file of version 1.6 and later, and the one before it.

use std::collections::BTreeMap;

use super::bytes::Reader;
use super::checkpoint::Checkpoint;
use super::contents::Contents;
use super::error::{Problem, clip};
use super::limits::MAX_DESCRIPTION;
use super::pickle::{Pickle, Value};
use super::state_dict;
use super::zip::Archive;

/// 0x1950a86a20f9469cfc6c, little-endian: the first thing in a file before version 1.6.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The only version of the container before 1.6.
const LEGACY_VERSION: i64 = 1001;

/// The size of the number in front of each storage in that container, its number of elements.
const NUMEL: usize = 8;
/// How many bytes of such a file are read at first; the pickles of most files are shorter.
const FIRST_READ: usize = 1 << 20;

/// Reads the zip file: a folder with `data.pkl` and, in `data/`, one file per storage.
pub(super) fn read_zip(file: &Contents) -> Result<Checkpoint, Problem> {
    let mut archive = Archive::open(file)?;
    let mut roots = archive.names().filter_map(|name| name.strip_suffix("/data.pkl"));
    let Some(root) = roots.next().map(str::to_owned) else {
        return Err(not_a_checkpoint(&archive));
    };
    if roots.next().is_some() {
        return Err(Problem::unsupported("this zip file has several data.pkl"));
    }
    drop(roots);
    if archive.names().any(|name| name == format!("{root}/constants.pkl")) {
        return Err(Problem::unsupported("this is a TorchScript archive, of torch.jit.save"));
    }
    let byte_order = format!("{root}/byteorder");
    if archive.names().any(|name| name == byte_order)
        && *archive.contents(&byte_order)?.read_description()? != *b"little"
    {
        return Err(big_endian());
    }
    let program = archive.contents(&format!("{root}/data.pkl"))?;
    let program = program.read_description()?;
    let pickle = Pickle::load(&mut Reader::new(&program), file.len())?;
    state_dict::checkpoint(&pickle, |key| archive.contents(&format!("{root}/data/{key}")))
}

/// The error for a zip file that `torch.save` has not written, such as a folder that a cloud drive packed.
fn not_a_checkpoint(archive: &Archive) -> Problem {
    // macOS packs a file of its own, beside each, into this folder.
    let names = || archive.names().filter(|name| !name.starts_with("__MACOSX/"));
    let is_checkpoint = |name: &&str| {
        let name = name.to_ascii_lowercase();
        [".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".tar", ".pkl"]
            .iter()
            .any(|extension| name.ends_with(extension))
    };
    match names().find(is_checkpoint) {
        Some(packed) => Problem::Unsupported {
            what: format!("this zip file has no data.pkl of its own, but holds '{}'", clip(packed)),
            remedy: "unpack it and name the checkpoint",
        },
        None if names().any(|name| name.ends_with(".npy")) => {
            Problem::unsupported("this zip file holds NumPy arrays, an .npz")
        }
        None => Problem::unsupported("this zip file has no data.pkl, so torch.save did not write it"),
    }
}

/// Reads the container before 1.6: five pickles (magic number, version, a description of the machine, the object, the
/// keys of its storages), then for each storage the number of its elements and the elements.
pub(super) fn read_legacy(file: &Contents) -> Result<Checkpoint, Problem> {
    let longest = file.len().min(MAX_DESCRIPTION);
    let mut length = FIRST_READ.min(longest);
    loop {
        // The length of the pickles is not stored. If they seem damaged, more of the file is read: they may have been
        // cut.
        let beginning = file.read_range(0, length)?;
        match LegacyPickles::load(&beginning, file.len()) {
            Err(Problem::Damaged(_)) if length < longest => length = length.saturating_mul(8).min(longest),
            pickles => return pickles?.checkpoint(file),
        }
    }
}

/// The pickles that describe the tensors in the container before 1.6.
struct LegacyPickles<'a> {
    object: Pickle<'a>,
    /// The keys of its storages, in their order in the file.
    keys: Pickle<'a>,
    /// Where the first storage begins.
    end: usize,
}

impl<'a> LegacyPickles<'a> {
    /// Unpickles `beginning`, the first bytes of a file of `file_len` bytes.
    fn load(beginning: &'a [u8], file_len: usize) -> Result<LegacyPickles<'a>, Problem> {
        let mut reader = Reader::new(beginning);
        let magic = Pickle::load(&mut reader, file_len)?;
        if magic.root != Value::Long(&LEGACY_MAGIC) {
            return Err(Problem::unsupported("this pickle was not written by torch.save"));
        }
        let version = Pickle::load(&mut reader, file_len)?;
        if version.root != Value::Int(LEGACY_VERSION) {
            return Err(Problem::unsupported("unknown version of PyTorch's container"));
        }
        let machine = Pickle::load(&mut reader, file_len)?;
        if let Value::Dict(machine_info) = machine.root {
            let big = [Value::Str("little_endian"), Value::Bool(false)];
            if machine.items(machine_info).chunks_exact(2).any(|pair| pair == big) {
                return Err(big_endian());
            }
        }
        let object = Pickle::load(&mut reader, file_len)?;
        let keys = Pickle::load(&mut reader, file_len)?;
        Ok(LegacyPickles { object, keys, end: reader.position() })
    }

    /// The tensors that the pickles describe.
    fn checkpoint(&self, file: &Contents) -> Result<Checkpoint, Problem> {
        let Value::List(keys) = self.keys.root else {
            return Err(Problem::damaged("the storages are not listed after the object"));
        };
        let mut storages = BTreeMap::new();
        let mut position = self.end;
        for &key in self.keys.items(keys) {
            let Value::Str(key) = key else {
                return Err(Problem::damaged("the key of a storage is not a string"));
            };
            let Some(storage) = self.object.storages.get(key) else {
                let what = format!("storage `{}` is listed but not used", clip(key));
                return Err(Problem::Damaged(what));
            };
            let stored = Reader::new(&file.read_range(position, NUMEL)?).len64()?;
            if stored != storage.numel {
                return Err(Problem::Damaged(format!(
                    "storage `{}` has {stored} elements, but should have {}",
                    clip(key),
                    storage.numel
                )));
            }
            let data = file.slice(position + NUMEL, storage.byte_len().unwrap_or(usize::MAX))?;
            position += NUMEL + data.len();
            if storages.insert(key, data).is_some() {
                let what = format!("storage `{}` is listed twice", clip(key));
                return Err(Problem::Damaged(what));
            }
        }
        state_dict::checkpoint(&self.object, |key| {
            let data = storages.get(key).cloned();
            data.ok_or_else(|| Problem::Damaged(format!("storage `{}` is missing", clip(key))))
        })
    }
}

fn big_endian() -> Problem {
    Problem::Unsupported {
        what: "the file comes from a big-endian machine".to_owned(),
        remedy: "re-save it on a little-endian one",
    }
}
