//! Zip archives as `torch.save` and ordinary archivers write them: stored and deflated entries, zip64.
//!
//! Entries are found through the central directory at the end of the file. The local header in front of an entry's data
//! is only needed to find where the data starts.
//!
//! A general-purpose zip reader takes several times a hostile file's size in memory and copies what it reads. This one
//! allocates in proportion to the directory, leaves stored entries in the file, and limits the size of inflated ones.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;

use flate2::read::DeflateDecoder;

use super::bytes::Reader;
use super::contents::{Contents, zeros};
use super::error::{Problem, clip};

const END_SIGNATURE: u32 = 0x0605_4b50;
const END64_SIGNATURE: u32 = 0x0606_4b50;
const END64_LOCATOR_SIGNATURE: u32 = 0x0706_4b50;
const DIRECTORY_SIGNATURE: u32 = 0x0201_4b50;
const LOCAL_SIGNATURE: u32 = 0x0403_4b50;

/// The size of the end record without its comment.
const END_LEN: usize = 22;
/// The size of the zip64 locator, which is in front of the end record.
const END64_LOCATOR_LEN: usize = 20;
/// The size of the zip64 end record without its extensions.
const END64_LEN: usize = 56;
/// The size of a local header without its name and extra fields.
const LOCAL_LEN: usize = 30;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const ENCRYPTED_FLAG: u16 = 1;
/// The id of the extra field with the sizes and offsets that need 64 bits.
const ZIP64_EXTRA: u16 = 1;

/// The entries of a zip file, by name.
pub(super) struct Archive {
    entries: BTreeMap<Vec<u8>, Entry>,
    /// How many more bytes entries may inflate to, all together.
    inflatable: usize,
}

/// An entry as the central directory describes it.
struct Entry {
    method: u16,
    encrypted: bool,
    crc: u32,
    /// The size of its content, after inflating it.
    size: usize,
    /// Its bytes in the file, before inflating them.
    data: Contents,
}

impl Archive {
    /// Reads the directory and checks that no two entries overlap.
    pub(super) fn open(file: &Contents) -> Result<Archive, Problem> {
        let Directory { start, size, entries: count } = Directory::find(file)?;
        let directory = file.slice(start, size)?;
        let directory = directory.read_description()?;
        let mut reader = Reader::new(&directory);
        let mut entries = BTreeMap::new();
        let mut spans = Vec::new();
        for _ in 0..count {
            let (name, span, entry) = read_entry(file, &mut reader)?;
            spans.push(span);
            if entries.insert(name.to_vec(), entry).is_some() {
                let name = lossy(name);
                return Err(Problem::Damaged(format!("zip: two entries `{name}`")));
            }
        }
        spans.sort_unstable_by_key(|span| span.start);
        spans.push(start..file.len());
        if spans.windows(2).any(|pair| pair[0].end > pair[1].start) {
            return Err(Problem::damaged("zip: entries overlap"));
        }
        Ok(Archive { entries, inflatable: 2 * file.len() })
    }

    /// The names that are UTF-8; PyTorch writes no others.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().filter_map(|name| str::from_utf8(name).ok())
    }

    /// The content of an entry, with its checksum. PyTorch writes a checksum of 0 if it was told to compute none
    /// (`set_crc32_options(False)`).
    pub(super) fn contents(&mut self, name: &str) -> Result<Contents, Problem> {
        let label = format!("zip entry `{}`", clip(name));
        let damaged = |what| Problem::Damaged(format!("{label}: {what}"));
        let entry = (self.entries.get(name.as_bytes())).ok_or_else(|| damaged("missing"))?;
        let content = match entry.method {
            _ if entry.encrypted => return Err(Problem::unsupported("zip: entries are encrypted")),
            STORED => entry.data.clone(),
            DEFLATED => {
                let Some(rest) = self.inflatable.checked_sub(entry.size) else {
                    return Err(Problem::unsupported(format!(
                        "{label} would inflate to {} bytes, too many for this file",
                        entry.size
                    )));
                };
                self.inflatable = rest;
                inflate(&entry.data, entry.size).ok_or_else(|| damaged("does not inflate"))?.into()
            }
            method => return Err(Problem::unsupported(format!("{label}: compression {method}"))),
        };
        if content.len() != entry.size {
            return Err(damaged("its content does not match its size and CRC-32"));
        }
        if entry.crc == 0 { Ok(content) } else { content.with_checksum(entry.crc, label) }
    }
}

/// Inflates to exactly `size` bytes; the caller has checked that they are not too many.
fn inflate(deflated: &Contents, size: usize) -> Option<Vec<u8>> {
    /// The most bytes that one deflated byte can become.
    const DENSEST: usize = 1032;
    if size / DENSEST > deflated.len() {
        return None;
    }
    let mut decoder = DeflateDecoder::new(deflated.stream());
    let mut content = zeros(size).ok()?;
    decoder.read_exact(&mut content).ok()?;
    let at_end = decoder.read(&mut [0]).ok()? == 0;
    at_end.then_some(content)
}

/// Where the central directory is in the file.
struct Directory {
    start: usize,
    size: usize,
    entries: usize,
}

impl Directory {
    fn find(file: &Contents) -> Result<Directory, Problem> {
        // After the end record there may be a comment of at most 65535 bytes; the record holds its length.
        let longest = END64_LOCATOR_LEN + END_LEN + usize::from(u16::MAX);
        let tail_start = file.len().saturating_sub(longest);
        let tail = file.read_range(tail_start, file.len() - tail_start)?;
        let last = tail.len().saturating_sub(END_LEN);
        let end = (last.saturating_sub(usize::from(u16::MAX))..=last)
            .rev()
            .find(|&at| {
                let mut reader = Reader::at(&tail, at);
                reader.u32().ok() == Some(END_SIGNATURE)
                    && reader.take(END_LEN - 6).is_ok()
                    && reader.u16().ok().map(usize::from) == Some(last - at)
            })
            .ok_or_else(|| Problem::damaged("zip: the directory at the end is missing"))?;

        let mut reader = Reader::at(&tail, end + 10);
        let mut entries = usize::from(reader.u16()?);
        let mut size = reader.len32()?;
        let mut start = reader.len32()?;
        let mut directory_end = tail_start + end;

        let mut locator = Reader::at(&tail, end.saturating_sub(END64_LOCATOR_LEN));
        if locator.u32()? == END64_LOCATOR_SIGNATURE {
            locator.take(4)?;
            directory_end = locator.len64()?;
            let end64 = file.read_range(directory_end, END64_LEN)?;
            let mut reader = Reader::new(&end64);
            if reader.u32()? != END64_SIGNATURE {
                return Err(Problem::damaged("zip: no zip64 end record where it should be"));
            }
            reader.take(28)?;
            entries = reader.len64()?;
            size = reader.len64()?;
            start = reader.len64()?;
        }
        if start.checked_add(size) != Some(directory_end) {
            return Err(Problem::damaged("zip: the directory is not where the end record says"));
        }
        Ok(Directory { start, size, entries })
    }
}

/// Reads the next entry of the central directory. Returns its name, the range of its local header and data in the file,
/// and the entry.
fn read_entry<'a>(file: &Contents, reader: &mut Reader<'a>) -> Result<(&'a [u8], Range<usize>, Entry), Problem> {
    if reader.u32()? != DIRECTORY_SIGNATURE {
        return Err(Problem::damaged("zip: a directory entry has a wrong signature"));
    }
    reader.take(4)?;
    let encrypted = reader.u16()? & ENCRYPTED_FLAG != 0;
    let method = reader.u16()?;
    reader.take(4)?;
    let crc = reader.u32()?;
    let mut packed_size = reader.len32()?;
    let mut size = reader.len32()?;
    let name_len = reader.u16()?;
    let extra_len = reader.u16()?;
    let comment_len = reader.u16()?;
    reader.take(8)?;
    let mut local_header = reader.len32()?;
    let name = reader.take(name_len.into())?;
    let mut extra = Reader::new(reader.take(extra_len.into())?);
    reader.take(comment_len.into())?;

    // A value that needs 64 bits is in the zip64 extra field, in this order, and all its bits are set here.
    let wide = [&mut size, &mut packed_size, &mut local_header];
    if wide.iter().any(|field| **field == u32::MAX as usize) {
        let mut extra = find_extra(&mut extra, ZIP64_EXTRA)?;
        for field in wide {
            if *field == u32::MAX as usize {
                *field = extra.len64()?;
            }
        }
    }

    let local = file.read_range(local_header, LOCAL_LEN)?;
    let mut local = Reader::new(&local);
    if local.u32()? != LOCAL_SIGNATURE {
        let name = lossy(name);
        return Err(Problem::Damaged(format!("zip: entry `{name}` is not where it should be")));
    }
    local.take(22)?;
    let (name_len, extra_len) = (local.u16()?, local.u16()?);
    let start = local_header + LOCAL_LEN + usize::from(name_len) + usize::from(extra_len);
    let data = file.slice(start, packed_size)?;
    let entry = Entry { method, encrypted, crc, size, data };
    Ok((name, local_header..start + packed_size, entry))
}

/// Finds the extra field with this `id`. Extra fields follow each other, each after its id and length.
fn find_extra<'a>(extras: &mut Reader<'a>, id: u16) -> Result<Reader<'a>, Problem> {
    loop {
        let found = extras.u16()?;
        let length = extras.u16()?;
        let extra = extras.take(length.into())?;
        if found == id {
            return Ok(Reader::new(extra));
        }
    }
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(80)]).into_owned()
}
