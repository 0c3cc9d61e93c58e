//! Reads JPEG files, which VITON-HD's photos are.

use super::image::MAX_PIXELS;
use super::{Error, Result};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// The first bytes of every JPEG.
const START: [u8; 2] = [0xff, 0xd8];

/// A JPEG whose header was read.
pub(super) struct Jpeg {
    pub(super) height: usize,
    pub(super) width: usize,
    decoder: JpegDecoder<BufReader<File>>,
}

/// Reads the header if the file is a JPEG, and refuses a declared size above `MAX_PIXELS`.
pub(super) fn open(path: &Path) -> Result<Option<Jpeg>> {
    let io = |cause| Error::Io { path: path.into(), cause };
    let mut start = [0; 2];
    if File::open(path).map_err(io)?.read_exact(&mut start).is_err() || start != START {
        return Ok(None);
    }
    let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(BufReader::new(File::open(path).map_err(io)?), options);
    let fail = |cause: &dyn std::fmt::Display| Error::DecodeJpeg {
        path: path.into(),
        cause: cause.to_string().trim_end().into(),
    };
    decoder.decode_headers().map_err(|cause| fail(&cause))?;
    let info = decoder.info().ok_or_else(|| fail(&"no header"))?;
    let (width, height) = (info.width, info.height);
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        let (width, height) = (width.into(), height.into());
        return Err(Error::TooLarge { path: path.into(), width, height, limit: MAX_PIXELS });
    }
    Ok(Some(Jpeg { height: height.into(), width: width.into(), decoder }))
}

impl Jpeg {
    /// Red, green and blue of every pixel.
    pub(super) fn decode(mut self, path: &Path) -> Result<Vec<u8>> {
        self.decoder
            .decode()
            .map_err(|cause| Error::DecodeJpeg { path: path.into(), cause: cause.to_string().trim_end().into() })
    }
}
