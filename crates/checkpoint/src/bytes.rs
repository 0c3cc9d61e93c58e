//! Bytes of a file: shared slices of it, and a cursor over it that never panics.

use std::fs::File;
use std::io::Read;
use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;

use super::error::Problem;

/// A slice of a buffer that it keeps alive, so that tensors need no copy of the file.
#[derive(Clone, Debug)]
pub(super) struct SharedBytes {
    buffer: Arc<Buffer>,
    range: Range<usize>,
}

#[derive(Debug)]
enum Buffer {
    Memory(Vec<u8>),
    File(Mmap),
}

impl SharedBytes {
    /// The content of a regular file, each page of it read when it is first used.
    pub(super) fn map(file: &File) -> Result<SharedBytes, Problem> {
        // SAFETY: Nobody may write to a checkpoint that is being read, as `Checkpoint::read` says.
        #[expect(unsafe_code, reason = "a checkpoint is several hundred megabytes, and most of it is read once")]
        if let Ok(file) = unsafe { Mmap::map(file) } {
            return Ok(SharedBytes { range: 0..file.len(), buffer: Arc::new(Buffer::File(file)) });
        }
        // Some file systems do not map.
        let (mut file, mut bytes) = (file, Vec::new());
        file.read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    /// Lets go of the memory that these bytes of a file were read into, until they are read again.
    pub(super) fn release(&self) {
        #[cfg(unix)]
        if let Buffer::File(file) = &*self.buffer {
            let what = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: The map is shared and read-only: what is dropped is a copy of the file. That it could not be dropped is no
            // matter.
            #[expect(unsafe_code, reason = "else the whole file stays in memory beside what is made of it")]
            let _ = unsafe { file.unchecked_advise_range(what, self.range.start, self.range.len()) };
        }
    }

    /// The part of these bytes at `range`, or `None` if it reaches outside them.
    pub(super) fn slice(&self, range: Range<usize>) -> Option<SharedBytes> {
        self.get(range.clone())?;
        Some(SharedBytes {
            buffer: Arc::clone(&self.buffer),
            range: self.range.start + range.start..self.range.start + range.end,
        })
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(buffer: Vec<u8>) -> SharedBytes {
        SharedBytes { range: 0..buffer.len(), buffer: Arc::new(Buffer::Memory(buffer)) }
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &*self.buffer {
            Buffer::Memory(bytes) => bytes,
            Buffer::File(bytes) => bytes,
        };
        &all[self.range.clone()]
    }
}

/// A cursor over bytes whose every read is checked against their end.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, position: 0 }
    }

    /// A cursor that starts `position` bytes in; past the end, every read fails.
    pub(super) fn at(bytes: &'a [u8], position: usize) -> Reader<'a> {
        Reader { bytes, position }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], Problem> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let taken = rest.get(..n).ok_or_else(|| {
            let (at, left) = (self.position, rest.len());
            Problem::damaged(format!("{n} bytes are due at byte {at}, but {left} remain"))
        })?;
        self.position += n;
        Ok(taken)
    }

    /// The next `N` bytes, for the `from_le_bytes` family.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Problem> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Problem> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Problem> {
        self.array().map(u32::from_le_bytes)
    }

    /// A 32-bit length; where `usize` cannot hold it, no file can be that long either.
    pub(super) fn len32(&mut self) -> Result<usize, Problem> {
        self.u32().map(|n| usize::try_from(n).unwrap_or(usize::MAX))
    }

    /// A 64-bit length; where `usize` cannot hold it, no file can be that long either.
    pub(super) fn len64(&mut self) -> Result<usize, Problem> {
        let n = self.array().map(u64::from_le_bytes)?;
        Ok(usize::try_from(n).unwrap_or(usize::MAX))
    }

    /// The text up to the next newline, which is skipped.
    pub(super) fn line(&mut self) -> Result<&'a str, Problem> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let length = rest.iter().position(|&b| b == b'\n');
        let line = self.take(length.unwrap_or(rest.len() + 1))?;
        self.position += 1;
        utf8(line)
    }
}

/// `bytes` as text.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    str::from_utf8(bytes).map_err(|_| Problem::damaged("a string is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_stays_inside_its_bytes() {
        let bytes = SharedBytes::from(vec![0, 1, 2, 3, 4]);
        let middle = bytes.slice(1..4).unwrap();
        assert_eq!(*middle.slice(1..3).unwrap(), [2, 3]);
        assert!(middle.slice(1..4).is_none());
        assert!(middle.slice(2..usize::MAX).is_none());
    }

    #[test]
    fn a_reader_stops_at_the_end() {
        let mut reader = Reader::new(b"ab\ncd");
        assert_eq!(reader.line().unwrap(), "ab");
        assert!(reader.line().is_err());
        assert!(reader.take(usize::MAX).is_err());
        assert_eq!(reader.take(2).unwrap(), b"cd");
        assert!(reader.u8().is_err());
        assert!(Reader::at(b"ab", usize::MAX).u8().is_err());
    }
}
