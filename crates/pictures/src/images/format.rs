//! What a file is, by its content: names are often wrong.

use super::{Error, Result};
use image::ImageFormat;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
    /// Read by the `image` crate.
    Other(ImageFormat),
}

const CONVERT: &str = "convert it to PNG or JPEG";
const DOWNLOAD: &str = "download or copy the picture again";

/// Files that are not read: bytes and where they are, what they show, and the remedy.
const FOREIGN: [(usize, &[u8], &str, &str); 16] = [
    (4, b"ftypavif", "an AVIF picture", CONVERT),
    (4, b"ftypavis", "an AVIF picture", CONVERT),
    (4, b"ftyphei", "a HEIC picture, as phones take them", CONVERT),
    (4, b"ftyphev", "a HEIC picture, as phones take them", CONVERT),
    (4, b"ftypmif1", "a HEIF picture, as phones take them", CONVERT),
    (4, b"ftyp", "a video", CONVERT),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture", CONVERT),
    (0, b"\xff\x0a", "a JPEG XL picture", CONVERT),
    (0, b"\0\0\0\x0cjP", "a JPEG 2000 picture", CONVERT),
    (0, b"8BPS", "a Photoshop document", CONVERT),
    (0, b"%PDF", "a PDF", CONVERT),
    (0, b"PK\x03\x04", "a zip archive", "unpack it and name the picture"),
    (0, b"<svg", "an SVG drawing", CONVERT),
    (0, b"<", "a web page, perhaps a download page", DOWNLOAD),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file it points to", "run git lfs pull"),
    (0, b"\x93NUMPY", "a NumPy array", CONVERT),
];

impl Format {
    /// Recognizes a file by its first bytes.
    pub(super) fn of(path: &Path) -> Result<Format> {
        let io = |cause| Error::Io { path: path.into(), cause };
        let foreign = |found, remedy| Error::Format { path: path.into(), found, remedy };
        if path.is_dir() {
            return Err(foreign("a folder", "name a picture"));
        }
        let mut start = Vec::new();
        File::open(path).map_err(io)?.take(32).read_to_end(&mut start).map_err(io)?;
        let format = match &*start {
            [] => return Err(foreign("an empty file", DOWNLOAD)),
            [0xff, 0xd8, ..] => Format::Jpeg,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Format::Other(ImageFormat::WebP),
            [b'G', b'I', b'F', b'8', ..] => Format::Other(ImageFormat::Gif),
            [b'B', b'M', ..] => Format::Other(ImageFormat::Bmp),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Format::Other(ImageFormat::Tiff),
            start => {
                let is_there = |at: usize, bytes: &[u8]| start.get(at..).is_some_and(|rest| rest.starts_with(bytes));
                if let Some(&(.., found, remedy)) = FOREIGN.iter().find(|(at, bytes, ..)| is_there(*at, bytes)) {
                    return Err(foreign(found, remedy));
                }
                if !is_there(0, &b"\x89PNG"[..start.len().min(4)]) {
                    return Err(foreign("no picture of a known format, whatever its name", CONVERT));
                }
                Format::Png
            }
        };
        Ok(format)
    }

    /// Whether a file of this format is compressed with loss: WebP's VP8, and JPEG or WebP in a TIFF. Only the headers of
    /// its parts are read.
    pub(super) fn is_lossy(self, path: &Path) -> Result<bool> {
        let found = File::open(path).and_then(|mut file| match self {
            Format::Jpeg => Ok(true),
            Format::Other(ImageFormat::WebP) => is_lossy_webp(&mut file),
            Format::Other(ImageFormat::Tiff) => is_lossy_tiff(&mut file),
            Format::Png | Format::Other(_) => Ok(false),
        });
        match found {
            Ok(is_lossy) => Ok(is_lossy),
            // Cut off: reading the picture tells it.
            Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(cause) => Err(Error::Io { path: path.into(), cause }),
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Format::Png => "PNG",
            Format::Jpeg => "JPEG",
            Format::Other(ImageFormat::WebP) => "WebP",
            Format::Other(ImageFormat::Gif) => "GIF",
            Format::Other(ImageFormat::Bmp) => "BMP",
            Format::Other(_) => "TIFF",
        }
    }
}

/// Whether a WebP's picture, or the first one of an animation, is in a part `VP8 ` (with loss) and not `VP8L`.
fn is_lossy_webp(file: &mut File) -> std::io::Result<bool> {
    let mut at = 12;
    loop {
        file.seek(SeekFrom::Start(at))?;
        let mut header = [0; 8];
        file.read_exact(&mut header)?;
        let [name, length] = [[0, 1, 2, 3], [4, 5, 6, 7]].map(|part| part.map(|i: usize| header[i]));
        let length = u64::from(u32::from_le_bytes(length));
        match &name {
            b"VP8 " => return Ok(true),
            b"VP8L" => return Ok(false),
            // A frame of an animation: its parts come after 16 bytes of place and time.
            b"ANMF" => at += 8 + 16,
            _ => at += 8 + length + length % 2,
        }
    }
}

/// Whether the first picture of a TIFF says that it is compressed as JPEG (6, 7, 34892) or WebP (50001).
fn is_lossy_tiff(file: &mut File) -> std::io::Result<bool> {
    const COMPRESSION: u16 = 259;
    let mut start = [0; 8];
    file.read_exact(&mut start)?;
    let is_little = start[0] == b'I';
    let short = |bytes: [u8; 2]| if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) };
    let at = [4, 5, 6, 7].map(|i: usize| start[i]);
    let at = if is_little { u32::from_le_bytes(at) } else { u32::from_be_bytes(at) };
    file.seek(SeekFrom::Start(at.into()))?;
    let mut count = [0; 2];
    file.read_exact(&mut count)?;
    for _ in 0..short(count) {
        // Tag, type, count, and the value, left-justified.
        let mut entry = [0; 12];
        file.read_exact(&mut entry)?;
        if short([entry[0], entry[1]]) == COMPRESSION {
            return Ok(matches!(short([entry[8], entry[9]]), 6 | 7 | 34892 | 50001));
        }
    }
    Ok(false)
}
