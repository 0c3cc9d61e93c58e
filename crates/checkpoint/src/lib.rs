//! Checkpoints: named tensors in a file.
//!
//! Reads safetensors and both of PyTorch's containers: the zip file of version 1.6 and later, and the one before it.
//! Writes safetensors.
//!
//! ```
//! use alias_checkpoint::{Array, Checkpoint};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("weights.safetensors");
//! let mut checkpoint = Checkpoint::new();
//! checkpoint.insert("conv.weight", Array::from_f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
//! checkpoint.insert("conv.bias", Array::from_f32(&[2], &[0.5, -0.5]));
//! checkpoint.write_safetensors(&path)?;
//!
//! let checkpoint = Checkpoint::read(&path)?; // a file of torch.save is read the same way
//! for (name, array) in checkpoint.iter() {
//!     println!("{name}: {:?} {:?}", array.dtype(), array.shape());
//! }
//! let bias = checkpoint.get("conv.bias").ok_or("no conv.bias")?;
//! assert_eq!(bias.to_f32()?, [0.5, -0.5]); // only now are the values read
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Files need not be trusted. A pickle is a program: the reader in `pickle/` runs the few instructions that build a
//! state dict and refuses all others. A file that contradicts itself gives an error, never a panic. No allocation is
//! larger than twice the file plus 64 KiB, whatever sizes the file declares, unless values are converted to a wider
//! type. A file that is changed or cut short while it is open gives an error or other values: the crate has no unsafe
//! code and does not map files into memory.
//!
//! | file | contents |
//! |---|---|
//! | `array.rs` | a tensor: its type and shape, and how to get its values |
//! | `contents.rs` | bytes in an open file or in memory, and their checksums |
//! | `bytes.rs` | a cursor over bytes |
//! | `safetensors.rs` | the safetensors container, read and written |
//! | `zip.rs` | zip archives |
//! | `pickle/` | a restricted unpickler |
//! | `pytorch.rs` | PyTorch's two containers |
//! | `state_dict.rs` | finds the state dict in an unpickled object and turns it into tensors |
//! | `atomic_file.rs` | writes a file completely or not at all |
//! | `error.rs` | what can be wrong, and the remedies |

#![forbid(unsafe_code)]

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

/// Tensors and storages with longer names, in bytes, are refused. A pickle can mention a name of a megabyte a million
/// times, and each time it is compared with others.
const MAX_NAME: usize = 1024;

/// Headers, directories and pickles of more bytes are refused: they are read into memory, and a sparse file, which
/// takes no room on disk, can declare one that is larger than memory. 100 MB describe hundreds of thousands of tensors.
const MAX_DESCRIPTION: usize = 100_000_000;

/// No allocation is larger than twice the file plus this many bytes.
const SLACK: usize = 64 * 1024;

/// Named tensors, in the order of their names, and metadata.
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

    /// Reads a file in any supported format, which is recognized by its content, whatever its extension.
    ///
    /// Of a training checkpoint such as `{"state_dict": {...}, "epoch": 3}`, the state dict inside it is taken. If
    /// every name begins with `module.`, the prefix that `DataParallel` adds, it is removed.
    ///
    /// This reads names, types and shapes. The file stays open as long as the checkpoint or any of its tensors lives,
    /// and a tensor's values are read each time they are asked for. To replace the file by another of the same name, as
    /// this crate and most programs do when they save, does not change them. Overwriting it in place does, and after
    /// cutting it short, reading the missing values is an error.
    ///
    /// # Errors
    /// If the file cannot be read or is not a supported checkpoint.
    pub fn read(path: impl AsRef<Path>) -> Result<Checkpoint, CheckpointError> {
        let path = path.as_ref();
        let read = || parse(&Contents::open(path)?);
        read().map_err(|problem| CheckpointError::new(path, problem))
    }

    /// Reads the content of a file that is in memory, as [`Checkpoint::read`] does. The values stay in memory.
    ///
    /// # Errors
    /// If the bytes are not a supported checkpoint.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Checkpoint, CheckpointError> {
        let contents = Contents::from(bytes);
        parse(&contents).map_err(|problem| contents.error(problem))
    }

    /// Writes a safetensors file, in which each tensor keeps its type.
    ///
    /// The file appears under its name once it is complete and on disk. It may be the file that the checkpoint was read
    /// from. The same checkpoint always gives the same bytes.
    ///
    /// # Errors
    /// If the file cannot be written, a tensor has the reserved name `__metadata__`, or the values of a tensor cannot
    /// be read from their own file, which the error then names.
    pub fn write_safetensors(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        safetensors::write(self, path.as_ref())
    }

    /// The tensor called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.tensors.get(name)
    }

    /// Adds a tensor. Returns the tensor that it replaces, if there was one of this name.
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

    /// The tensors whose names begin with `prefix`, which is removed from the names.
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

    /// The metadata: texts by key. Only safetensors files have any.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The metadata, to be changed before writing.
    pub fn metadata_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.metadata
    }

    /// Removes the prefix `module.` if all names have it: `DataParallel` wraps the model in an attribute of that name.
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

/// Reads a file in any supported format.
fn parse(file: &Contents) -> Result<Checkpoint, Problem> {
    /// How many bytes are enough to recognize a format.
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

/// The error for an unknown format. It recognizes files that people often have in place of the checkpoint.
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
