//! Bytes of a checkpoint: in an open file or in memory.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use flate2::Crc;

use super::error::{CheckpointError, Problem};
use super::limits::{MAX_DESCRIPTION, SLACK};

/// A range of bytes of an open file, which are read when they are needed, or of a buffer. Cheap to clone.
///
/// Files are not mapped into memory. Another process may cut a file short at any time; then a read returns an error,
/// while access to a mapped page would kill this process.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    origin: Arc<Origin>,
    start: usize,
    len: usize,
    checksum: Option<Arc<Checksum>>,
}

#[derive(Debug)]
enum Origin {
    Memory(Vec<u8>),
    File { file: File, path: PathBuf },
}

/// The CRC-32 that the bytes must have.
#[derive(Debug)]
struct Checksum {
    crc: u32,
    /// What the error calls the bytes.
    name: String,
    /// Set when the bytes were found to match.
    matched: OnceLock<()>,
}

impl Contents {
    /// The bytes of a regular file. A device or a pipe is refused, since it might never end.
    pub(super) fn open(path: &Path) -> Result<Contents, Problem> {
        // Checked before opening: to open a pipe would wait for a writer.
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(not_a_file(path, metadata.is_dir()));
        }
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let len = usize::try_from(len).map_err(|_| Problem::Unsupported {
            what: format!("a 32-bit program cannot read a file of {len} bytes"),
            remedy: "use a 64-bit one",
        })?;
        let origin = Arc::new(Origin::File { file, path: path.to_owned() });
        Ok(Contents { origin, start: 0, len, checksum: None })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The public error for `problem`, which names the file.
    pub(super) fn error(&self, problem: Problem) -> CheckpointError {
        let file = match &*self.origin {
            Origin::Memory(_) => Path::new("checkpoint in memory"),
            Origin::File { path, .. } => path,
        };
        CheckpointError::new(file, problem)
    }

    /// The `len` bytes from `start` on, without a checksum.
    pub(super) fn slice(&self, start: usize, len: usize) -> Result<Contents, Problem> {
        match self.len.checked_sub(start) {
            Some(left) if len <= left => {
                Ok(Contents { origin: Arc::clone(&self.origin), start: self.start + start, len, checksum: None })
            }
            left => Err(Problem::missing_bytes(start, len, left.unwrap_or(0))),
        }
    }

    /// The same bytes with a checksum. Bytes in memory are checked now, so that reading them later cannot fail. Bytes
    /// of a file are checked when they are read for the first time.
    pub(super) fn with_checksum(self, crc: u32, name: String) -> Result<Contents, Problem> {
        let checksum = Checksum { crc, name, matched: OnceLock::new() };
        match &*self.origin {
            Origin::Memory(_) => {
                checksum.compare(self.crc()?)?;
                Ok(self)
            }
            Origin::File { .. } => Ok(Contents { checksum: Some(Arc::new(checksum)), ..self }),
        }
    }

    /// All bytes, borrowed if they are in memory.
    pub(super) fn read(&self) -> Result<Cow<'_, [u8]>, Problem> {
        self.read_range(0, self.len)
    }

    /// As [`Contents::read`], for a header, directory or pickle: at most [`MAX_DESCRIPTION`] bytes.
    pub(super) fn read_description(&self) -> Result<Cow<'_, [u8]>, Problem> {
        if self.len > MAX_DESCRIPTION {
            let len = self.len;
            let what = format!("the description of the tensors takes {len} bytes, over {MAX_DESCRIPTION}");
            return Err(Problem::unsupported(what));
        }
        self.read()
    }

    /// The `len` bytes from `start` on, borrowed if they are in memory.
    pub(super) fn read_range(&self, start: usize, len: usize) -> Result<Cow<'_, [u8]>, Problem> {
        let range = self.slice(start, len)?;
        if let Origin::Memory(bytes) = &*self.origin {
            return Ok(Cow::Borrowed(&bytes[range.start..][..len]));
        }
        let mut buffer = zeros(len)?;
        self.read_into(start, &mut buffer)?;
        Ok(Cow::Owned(buffer))
    }

    /// Fills `buffer` with the bytes from `start` on.
    pub(super) fn read_into(&self, start: usize, buffer: &mut [u8]) -> Result<(), Problem> {
        let range = self.slice(start, buffer.len())?;
        let Some(checksum) = &self.checksum else { return range.copy_to(buffer) };
        if range.len == self.len {
            range.copy_to(buffer)?;
            return checksum.compare(crc32(buffer));
        }
        // The checksum is of all bytes. They are read once for it, not for every part: a storage may have many small
        // tensors.
        if checksum.matched.get().is_none() {
            checksum.compare(self.crc()?)?;
        }
        range.copy_to(buffer)
    }

    /// Reads all bytes in order.
    pub(super) fn stream(&self) -> impl io::Read + '_ {
        Stream { contents: self, position: 0 }
    }

    /// Copies all bytes to `buffer`, which has their length, without checking them.
    fn copy_to(&self, buffer: &mut [u8]) -> Result<(), Problem> {
        match &*self.origin {
            Origin::Memory(bytes) => buffer.copy_from_slice(&bytes[self.start..][..self.len]),
            Origin::File { file, .. } => read_exact_at(file, buffer, self.start as u64).map_err(|error| {
                if error.kind() == io::ErrorKind::UnexpectedEof { Problem::CutShort } else { error.into() }
            })?,
        }
        Ok(())
    }

    /// The CRC-32 of all bytes, read in pieces of 64 KiB.
    fn crc(&self) -> Result<u32, Problem> {
        let mut crc = Crc::new();
        for start in (0..self.len).step_by(SLACK) {
            crc.update(&self.slice(start, SLACK.min(self.len - start))?.read()?);
        }
        Ok(crc.sum())
    }
}

impl From<Vec<u8>> for Contents {
    fn from(buffer: Vec<u8>) -> Contents {
        Contents { start: 0, len: buffer.len(), origin: Arc::new(Origin::Memory(buffer)), checksum: None }
    }
}

/// The error for a folder, a device or a pipe in place of a file.
fn not_a_file(path: &Path, is_folder: bool) -> Problem {
    if !is_folder {
        let remedy = "name a checkpoint file";
        return Problem::Unsupported { what: "this is not a regular file".into(), remedy };
    }
    // Some browsers unpack zip files, which checkpoints are.
    if path.join("data.pkl").is_file() {
        let what = "this is a checkpoint that was unpacked into a folder".into();
        return Problem::Unsupported { what, remedy: "download the file again, without unpacking it" };
    }
    Problem::Unsupported { what: "this is a folder".into(), remedy: "name a checkpoint file, such as one in it" }
}

struct Stream<'a> {
    contents: &'a Contents,
    position: usize,
}

impl io::Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = buffer.len().min(self.contents.len - self.position);
        self.contents.read_into(self.position, &mut buffer[..n]).map_err(io::Error::other)?;
        self.position += n;
        Ok(n)
    }
}

impl Checksum {
    fn compare(&self, crc: u32) -> Result<(), Problem> {
        if crc != self.crc {
            return Err(Problem::Damaged(format!("{}: its content does not match its CRC-32", self.name)));
        }
        self.matched.get_or_init(|| ());
        Ok(())
    }
}

/// A vector of `len` zeros, or an error where memory is short: a sparse file may be larger than memory.
pub(super) fn zeros<T: bytemuck::Zeroable>(len: usize) -> Result<Vec<T>, Problem> {
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| Problem::Io(io::ErrorKind::OutOfMemory.into()))
}

pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Reads at `offset` without using the file's cursor, so threads can share the file.
#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Reads at `offset`. Each call moves the file's cursor, but none depends on it, so threads can share the file.
#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                buffer = &mut buffer[n..];
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads at `offset`. Threads take turns, since they share the file's cursor.
#[cfg(not(any(unix, windows)))]
fn read_exact_at(mut file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    use std::sync::{Mutex, PoisonError};
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_stays_inside_its_bytes() {
        let bytes = Contents::from(vec![0, 1, 2, 3, 4]);
        let middle = bytes.slice(1, 3).unwrap();
        assert_eq!(*middle.slice(1, 2).unwrap().read().unwrap(), [2, 3]);
        assert!(middle.slice(1, 3).is_err());
        assert!(middle.slice(2, usize::MAX).is_err());
        assert!(middle.slice(usize::MAX, 0).is_err());
    }

    #[test]
    fn more_bytes_than_memory_are_an_error() {
        let error = zeros::<u8>(usize::MAX / 4).unwrap_err();
        assert!(error.to_string().contains("memory"), "{error}");
    }
}
