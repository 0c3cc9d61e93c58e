//! A cursor over bytes.

use super::error::Problem;

/// A cursor over bytes. Reading past their end is an error.
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
        let taken = rest.get(..n).ok_or_else(|| Problem::missing_bytes(self.position, n, rest.len()))?;
        self.position += n;
        Ok(taken)
    }

    /// The next `N` bytes.
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

    /// A 32-bit length. `usize::MAX` stands for lengths that `usize` cannot hold: no file is that long.
    pub(super) fn len32(&mut self) -> Result<usize, Problem> {
        self.u32().map(|n| usize::try_from(n).unwrap_or(usize::MAX))
    }

    /// A 64-bit length, likewise.
    pub(super) fn len64(&mut self) -> Result<usize, Problem> {
        let n = self.array().map(u64::from_le_bytes)?;
        Ok(usize::try_from(n).unwrap_or(usize::MAX))
    }

    /// The text up to the next newline; the cursor moves past the newline.
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
