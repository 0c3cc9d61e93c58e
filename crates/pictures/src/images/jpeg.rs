//! Reads JPEG files, which VITON-HD's photos are.

use super::image::MAX_PIXELS;
use super::orientation::Orientation;
use super::{Error, Result};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// A JPEG whose header was read.
pub(super) struct Jpeg {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) orientation: Orientation,
    decoder: JpegDecoder<BufReader<File>>,
}

/// Reads the header of a JPEG, and refuses a declared size above `MAX_PIXELS`.
pub(super) fn open(path: &Path) -> Result<Jpeg> {
    let io = |cause| Error::Io { path: path.into(), cause };
    // Sides are limited below, by the number of pixels.
    let options = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX);
    let options = options.set_strict_mode(true).jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(BufReader::new(File::open(path).map_err(io)?), options);
    decoder.decode_headers().map_err(|cause| fail(path, &cause))?;
    let info = decoder.info().ok_or_else(|| fail(path, &"no header"))?;
    let (width, height) = (info.width, info.height);
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        let (width, height) = (width.into(), height.into());
        return Err(Error::TooLarge { path: path.into(), width, height, limit: MAX_PIXELS });
    }
    let orientation = Orientation::of_exif(decoder.exif().map(Vec::as_slice));
    Ok(Jpeg { height: height.into(), width: width.into(), orientation, decoder })
}

fn fail(path: &Path, cause: &dyn std::fmt::Display) -> Error {
    Error::Decode { path: path.into(), format: "JPEG", cause: cause.to_string().trim_end().into() }
}

impl Jpeg {
    /// Red, green and blue of every pixel, as stored.
    pub(super) fn decode(mut self, path: &Path) -> Result<Vec<u8>> {
        self.decoder.decode().map_err(|cause| fail(path, &cause))
    }
}
