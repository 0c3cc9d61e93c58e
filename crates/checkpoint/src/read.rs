//! Files in any format, read and written.

use crate::checkpoint::Checkpoint;
use crate::contents::Contents;
use crate::error::{CheckpointError, Problem};
use crate::{pickle, pytorch, safetensors};
use std::path::Path;

impl Checkpoint {
    /// Reads a file in any supported format, which is recognized by its content, whatever its extension.
    ///
    /// Of a training checkpoint such as `{"state_dict": {...}, "epoch": 3}`, the state dict inside it is taken. Where it
    /// holds tensors in several dicts, those of all are read, with names such as `state_dict.conv.weight`, and
    /// [`Checkpoint::state_dict`] finds those of a network.
    ///
    /// Names are brought to those of the bare network: without the prefix `module.` of `DataParallel`, if all have it, and
    /// without the `_orig_mod` that `torch.compile` adds. Spectral norm's tensors are called `weight_orig`, `weight_u` and
    /// `weight_v`, whichever version of PyTorch wrote them.
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
        let mut checkpoint = read().map_err(|problem| CheckpointError::new(path, problem))?;
        checkpoint.normalize_names()?;
        Ok(checkpoint)
    }

    /// Reads the content of a file that is in memory, as [`Checkpoint::read`] does. The values stay in memory.
    ///
    /// # Errors
    /// If the bytes are not a supported checkpoint.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Checkpoint, CheckpointError> {
        let contents = Contents::from(bytes);
        let mut checkpoint = parse(&contents).map_err(|problem| contents.error(problem))?;
        checkpoint.normalize_names()?;
        Ok(checkpoint)
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
}

/// Reads a file in any supported format.
fn parse(file: &Contents) -> Result<Checkpoint, Problem> {
    /// How many bytes are enough to recognize a format.
    const BEGINNING: usize = 512;
    match &*file.read_range(0, BEGINNING.min(file.len()))? {
        [b'P', b'K', 3, 4, ..] => pytorch::read_zip(file),
        // The length of a JSON header, below 4 GiB, and its first byte.
        [_, _, _, _, 0, 0, 0, 0, b'{', ..] => safetensors::read(file),
        [pickle::PROTO, ..] => pytorch::read_legacy(file),
        other => Err(unknown_format(other)),
    }
}

/// The error for an unknown format. It recognizes files that people often have in place of the checkpoint.
fn unknown_format(file: &[u8]) -> Problem {
    if file.is_empty() {
        Problem::damaged("the file is empty")
    } else if file.len() <= 8 {
        Problem::damaged(format!("the file has only {} bytes", file.len()))
    } else if file[8] == b'{' {
        Problem::damaged("the length of the safetensors header is over 4 GiB")
    } else if file.trim_ascii_start().starts_with(b"<") {
        Problem::damaged("this is a web page, perhaps a download page")
    } else if file.starts_with(b"version https://git-lfs") {
        Problem::damaged("this is a Git LFS pointer, not the file it points to")
    } else if file.get(257..262) == Some(b"ustar") {
        Problem::unsupported("this is a tar archive, perhaps the tar format that PyTorch wrote before 2017")
    } else if let Some((_, kind)) = ARCHIVES.iter().find(|(magic, _)| file.starts_with(magic)) {
        Problem::Unsupported { what: format!("this is a {kind} archive"), remedy: "unpack it and name the file in it" }
    } else if let Some((_, kind)) = OTHERS.iter().find(|(magic, _)| file.starts_with(magic)) {
        let remedy = "name a checkpoint: safetensors, or a file of torch.save";
        Problem::Unsupported { what: format!("this is {kind}, no checkpoint"), remedy }
    } else {
        Problem::unsupported("this is neither safetensors nor a PyTorch checkpoint")
    }
}

/// How archives begin.
const ARCHIVES: [(&[u8], &str); 6] = [
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!", "RAR"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
];

/// How other files begin that people have taken for checkpoints.
const OTHERS: [(&[u8], &str); 6] = [
    (b"\x89HDF", "an HDF5 file, such as Keras writes"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GGUF", "a GGUF file"),
    (b"%PDF", "a PDF"),
];
