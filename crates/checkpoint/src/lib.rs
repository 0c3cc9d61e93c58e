//! Checkpoints: named tensors in a file.
//!
//! Reads safetensors, PyTorch's zip container (1.6 and later) and the one before it; writes
//! safetensors. Files are taken to be hostile. A pickle is a program: the reader in `pickle/`
//! runs the few instructions that build a state dict and refuses all others. A file that lies
//! about itself gets an error, never a panic, and no allocation is larger than twice the file
//! plus 64 KiB, whatever sizes it declares.
//!
//! | file | contents |
//! |---|---|
//! | `array.rs` | a tensor as it lies in a file |
//! | `safetensors.rs` | the safetensors container, both ways |
//! | `zip.rs` | zip archives, as slices of the file |
//! | `pickle/` | the restricted unpickler |
//! | `pytorch.rs` | PyTorch's two containers |
//! | `state_dict.rs` | from an unpickled object to named tensors |

mod array;
mod atomic_file;
mod bytes;
mod contents;
mod error;
mod pickle;
mod pytorch;
mod safetensors;
mod state_dict;
mod zip;

use std::collections::BTreeMap;
use std::path::Path;

pub use array::{Array, Dtype};
pub use atomic_file::write_atomically;
pub use error::{CheckpointError, Problem};

use contents::Contents;

/// No layer and no storage has a name longer than this. Comparing names must stay cheap: a
/// pickle can mention one of a megabyte a million times.
const MAX_NAME: usize = 1024;

/// A header, directory or pickle longer than this many bytes describes more tensors than any network has. A sparse file can
/// claim to hold one that is larger than memory.
const MAX_DESCRIPTION: usize = 100_000_000;

/// No allocation is larger than twice the file plus this many bytes.
const SLACK: usize = 64 * 1024;

/// Named tensors, in the order of their names, and text about them.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    tensors: BTreeMap<String, Array>,
    metadata: BTreeMap<String, String>,
}

impl Checkpoint {
    /// A checkpoint without tensors.
    #[must_use]
    pub fn new() -> Checkpoint {
        Checkpoint::default()
    }

    /// Reads a file in any supported format, told by its content, not by its extension.
    ///
    /// A training checkpoint such as `{"state_dict": {...}, "epoch": 3}` gives the state dict
    /// inside it, and the prefix `module.` of `DataParallel` is dropped if every name has it.
    ///
    /// Only what describes the tensors is read now. The file stays open as long as the checkpoint or any of its tensors lives,
    /// and a tensor's values are read from it whenever they are asked for. Replacing the file by another one of its name, as
    /// this crate and most programs do when they save, leaves them as they are. Overwriting it in place changes them, and
    /// cutting it makes reading them an error.
    ///
    /// # Errors
    /// If the file cannot be read, or is not a checkpoint that this reader takes.
    pub fn read(path: impl AsRef<Path>) -> Result<Checkpoint, CheckpointError> {
        let path = path.as_ref();
        let read = || parse(&Contents::open(path)?);
        read().map_err(|problem| CheckpointError::new(path, problem))
    }

    /// Reads the content of a file, as [`Checkpoint::read`] does.
    ///
    /// # Errors
    /// If the bytes are not a checkpoint that this reader takes.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Checkpoint, CheckpointError> {
        let contents = Contents::from(bytes);
        parse(&contents).map_err(|problem| contents.error(problem))
    }

    /// Writes a safetensors file that PyTorch can load, each tensor in its stored type.
    ///
    /// The file appears under its name when it is complete and on disk, not before. The same
    /// checkpoint always gives the same bytes.
    ///
    /// # Errors
    /// If the file cannot be written, a tensor bears the reserved name `__metadata__`, or the values of a tensor cannot be read
    /// from the file that it lies in.
    pub fn write_safetensors(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        safetensors::write(self, path.as_ref())
    }

    /// The tensor called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.tensors.get(name)
    }

    /// Adds a tensor, and returns the one that had its name before.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Array) -> Option<Array> {
        self.tensors.insert(name.into(), tensor)
    }

    /// All tensors with their names, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.tensors.iter().map(|(name, array)| (&**name, array))
    }

    /// The names of all tensors, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(|name| &**name)
    }

    /// The tensors whose names begin with `prefix`, named without it.
    #[must_use]
    pub fn part(&self, prefix: &str) -> Checkpoint {
        let named = self.tensors.iter().filter_map(|(name, array)| Some((name.strip_prefix(prefix)?, array)));
        let tensors = named.map(|(name, array)| (name.to_owned(), array.clone())).collect();
        Checkpoint { tensors, metadata: BTreeMap::new() }
    }

    /// The number of tensors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The text in the file beside the tensors; only safetensors can have any.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The text to write beside the tensors.
    pub fn metadata_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.metadata
    }

    /// `DataParallel` wraps the model in an attribute called `module`.
    fn strip_data_parallel(&mut self) {
        const PREFIX: &str = "module.";
        if self.keys().all(|name| name.starts_with(PREFIX)) {
            self.tensors = std::mem::take(&mut self.tensors)
                .into_iter()
                .map(|(name, array)| (name[PREFIX.len()..].to_owned(), array))
                .collect();
        }
    }
}

/// The content of a file in any supported format.
fn parse(file: &Contents) -> Result<Checkpoint, Problem> {
    /// Enough to tell what a file is.
    const BEGINNING: usize = 512;
    let mut checkpoint = match &*file.read_range(0, BEGINNING.min(file.len()))? {
        [b'P', b'K', 3, 4, ..] => pytorch::read_zip(file)?,
        // The length of a JSON header, below 4 GiB, and its first byte.
        [_, _, _, _, 0, 0, 0, 0, b'{', ..] => safetensors::read(file)?,
        [pickle::PROTO, ..] => pytorch::read_legacy(file)?,
        other => return Err(unknown_format(other)),
    };
    checkpoint.strip_data_parallel();
    Ok(checkpoint)
}

/// Names the files that most often turn up in a checkpoint's place.
fn unknown_format(file: &[u8]) -> Problem {
    if file.is_empty() {
        Problem::damaged("the file is empty")
    } else if file.trim_ascii_start().starts_with(b"<") {
        Problem::damaged("this is a web page, perhaps a download page")
    } else if file.starts_with(b"version https://git-lfs") {
        Problem::damaged("this is a Git LFS pointer, not the file it points to")
    } else if file.get(257..262) == Some(b"ustar") {
        Problem::unsupported("this is the tar format that PyTorch wrote before 2017")
    } else {
        Problem::unsupported("this is neither safetensors nor a PyTorch checkpoint")
    }
}
