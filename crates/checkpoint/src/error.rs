//! What can be wrong with a checkpoint, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A checkpoint that could not be read or written: which file, what is wrong, and a remedy.
#[derive(Debug, Error)]
#[error("{}: {problem}", file.display())]
pub struct CheckpointError {
    file: PathBuf,
    problem: Problem,
}

impl CheckpointError {
    pub(super) fn new(file: &Path, problem: impl Into<Problem>) -> CheckpointError {
        CheckpointError { file: file.to_owned(), problem: problem.into() }
    }

    /// The file concerned.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

/// What is wrong with a file. Each kind has its own remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    /// The operating system could not open, read or write the file.
    #[error(transparent)]
    Io(#[from] io::Error),

    /// The file got shorter after it was opened.
    #[error("the file was cut short while it was being read. Read it again once it is whole")]
    CutShort,

    /// Bytes are missing, contradict each other or break the format.
    #[error("{0}. The file is damaged or incomplete: download or copy it again")]
    Damaged(String),

    /// The file may be sound, but this reader does not support it.
    #[error("{what}. To fix it, {remedy}")]
    Unsupported {
        /// What was found.
        what: String,
        /// How to make a file that can be read.
        remedy: &'static str,
    },

    /// A pickle names a function or class that no state dict needs. Nothing was called.
    #[error("the file wants to call {0}; refused. To fix it, {RESAVE}")]
    Refused(String),
}

/// The remedy for nearly every file that PyTorch can read and this reader cannot.
pub(super) const RESAVE: &str = "re-save it with torch.save(model.state_dict(), path)";

impl Problem {
    pub(super) fn damaged(what: impl Into<String>) -> Problem {
        Problem::Damaged(what.into())
    }

    /// The file should have `len` bytes from byte `start` on, but has only `left`.
    pub(super) fn missing_bytes(start: usize, len: usize, left: usize) -> Problem {
        Problem::Damaged(format!("{len} bytes are due at byte {start}, but {left} remain"))
    }

    pub(super) fn unsupported(what: impl Into<String>) -> Problem {
        Problem::Unsupported { what: what.into(), remedy: RESAVE }
    }

    /// Adds the name of the tensor to the message.
    pub(super) fn in_tensor(self, name: &str) -> Problem {
        let label = |what| format!("tensor `{}`: {what}", clip(name));
        match self {
            Problem::Damaged(what) => Problem::Damaged(label(what)),
            Problem::Unsupported { what, remedy } => Problem::Unsupported { what: label(what), remedy },
            other => other,
        }
    }
}

/// The first 80 characters of a name from a file, which may be megabytes long.
pub(super) fn clip(name: &str) -> &str {
    match name.char_indices().nth(80) {
        Some((end, _)) => &name[..end],
        None => name,
    }
}
