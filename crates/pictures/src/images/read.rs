//! Reads pictures and masks from PNG and JPEG files, label maps from PNG files.

use super::image::MAX_PIXELS;
use super::parse::{ParseLabels, labels_from_parse};
use super::{Error, Image, Plane, Result, jpeg};
use alias_model::{Sample, rgb8_to_planes};
use png::{BitDepth, ColorType, Decoder, Limits, Transformations};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// The most that the decoder may allocate besides the picture itself.
const MAX_DECODER_BYTES: usize = 16 << 20;

/// The files of one sample.
#[derive(Clone, Copy, Debug)]
pub struct SampleFiles<'a> {
    /// The person with torso and arms blanked out.
    pub agnostic: &'a Path,
    /// The skeleton, drawn on black.
    pub pose: &'a Path,
    /// The garment, warped roughly into place.
    pub warped_cloth: &'a Path,
    /// The mask of the warped garment: white.
    pub warped_mask: &'a Path,
    /// The parse map of the result.
    pub parse: &'a Path,
}

/// Reads a sample, a batch of one. Sizes are compared before any picture is decoded.
///
/// # Errors
/// If a file cannot be read, is not what it should be, or has another size than the first.
pub fn read_sample(files: &SampleFiles, labels: ParseLabels) -> Result<Sample> {
    let others = [files.pose, files.warped_cloth, files.warped_mask, files.parse];
    let (height, width) = same_size(files.agnostic, &others)?;
    Ok(Sample {
        batch: 1,
        height,
        width,
        agnostic: read_rgb(files.agnostic)?.data,
        pose: read_rgb(files.pose)?.data,
        warped_cloth: read_rgb(files.warped_cloth)?.data,
        warped_mask: read_mask(files.warped_mask)?.data,
        labels: labels_from_parse(&read_labels(files.parse)?, labels, files.parse)?.data,
    })
}

/// The (height, width) of `first`, which all `others` must have, too; only headers are read.
///
/// # Errors
/// [`Error::Sizes`] where they differ; what is wrong with a file.
pub fn same_size(first: &Path, others: &[&Path]) -> Result<(usize, usize)> {
    let size = read_size(first)?;
    for &path in others {
        let (height, width) = read_size(path)?;
        if (height, width) != size {
            return Err(Error::Sizes {
                path: path.into(),
                width,
                height,
                other: first.into(),
                other_width: size.1,
                other_height: size.0,
            });
        }
    }
    Ok(size)
}

/// The (height, width) in a file's header.
///
/// # Errors
/// What is wrong with the file.
pub fn read_size(path: &Path) -> Result<(usize, usize)> {
    if let Some(jpeg) = jpeg::open(path)? {
        return Ok((jpeg.height, jpeg.width));
    }
    let (_, height, width) = open(path)?;
    Ok((height, width))
}

/// Reads a PNG or JPEG of any colour type as a picture. Transparent pixels are composited on white.
///
/// # Errors
/// What is wrong with the file.
pub fn read_rgb(path: &Path) -> Result<Image> {
    let pixels = Pixels::read(path)?;
    let (height, width) = (pixels.height, pixels.width);
    if (pixels.color, pixels.depth) == (ColorType::Rgb, BitDepth::Eight) {
        return Ok(Image { height, width, data: rgb8_to_planes(&pixels.bytes) });
    }
    let mut data = vec![0.0; 3 * height * width];
    for (i, [r, g, b, alpha]) in pixels.rgba().enumerate() {
        for (c, value) in [r, g, b].into_iter().enumerate() {
            data[c * height * width + i] = (value * alpha + (1.0 - alpha)) * 2.0 - 1.0;
        }
    }
    Ok(Image { height, width, data })
}

/// Reads a PNG or JPEG of any colour type as a mask: its luminance times alpha, white being 1.
///
/// # Errors
/// What is wrong with the file.
pub fn read_mask(path: &Path) -> Result<Plane<f32>> {
    let pixels = Pixels::read(path)?;
    // Gray must stay exactly as it is, which the sum of rounded weights would not guarantee.
    let luminance = |[r, g, b]: [f32; 3]| {
        if r == g && g == b { r } else { 0.299 * r + 0.587 * g + 0.114 * b }
    };
    let data = pixels.rgba().map(|[r, g, b, alpha]| luminance([r, g, b]) * alpha).collect();
    Ok(Plane { height: pixels.height, width: pixels.width, data })
}

/// Reads a label map: the indices of a palette PNG, whatever its colours, or the values of a gray PNG of up to 8 bits.
///
/// # Errors
/// [`Error::NotIndices`] for any other PNG; what is wrong with the file.
pub fn read_labels(path: &Path) -> Result<Plane<u8>> {
    let (mut decoder, height, width) = open(path)?;
    decoder.set_transformations(Transformations::IDENTITY);
    let pixels = Pixels::decode(decoder, path, height, width)?;
    let found = match (pixels.color, pixels.depth) {
        (_, BitDepth::Sixteen) => Some("16 bits deep"),
        (ColorType::Indexed | ColorType::Grayscale, _) => None,
        (ColorType::GrayscaleAlpha, _) => Some("gray with transparency"),
        (ColorType::Rgb | ColorType::Rgba, _) => Some("in full colour"),
    };
    if let Some(found) = found {
        return Err(Error::NotIndices { path: path.into(), found });
    }
    let bits = pixels.depth as usize;
    if bits == 8 {
        return Ok(Plane { height, width, data: pixels.bytes });
    }
    let mask = (0xff_u16 >> (8 - bits)) as u8;
    let row_values = |row: &[u8]| {
        // The leftmost pixel is in a byte's highest bits.
        (0..width).map(|x| (row[x * bits / 8] >> (8 - bits - x * bits % 8)) & mask).collect::<Vec<_>>()
    };
    let data = pixels.bytes.chunks_exact((width * bits).div_ceil(8)).take(height).flat_map(row_values).collect();
    Ok(Plane { height, width, data })
}

type PngDecoder = Decoder<BufReader<File>>;

/// Opens a PNG and refuses a declared size above `MAX_PIXELS`, before anything of that size is allocated.
fn open(path: &Path) -> Result<(PngDecoder, usize, usize)> {
    let file = File::open(path).map_err(|cause| Error::Io { path: path.into(), cause })?;
    let limits = Limits { bytes: MAX_DECODER_BYTES };
    let mut decoder = Decoder::new_with_limits(BufReader::new(file), limits);
    let info = decoder.read_header_info().map_err(|cause| Error::Decode { path: path.into(), cause })?;
    let (width, height) = (info.width, info.height);
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Error::TooLarge { path: path.into(), width, height, limit: MAX_PIXELS });
    }
    Ok((decoder, height as usize, width as usize))
}

/// Decoded pixels as the file stores them.
struct Pixels {
    height: usize,
    width: usize,
    color: ColorType,
    depth: BitDepth,
    bytes: Vec<u8>,
}

impl Pixels {
    /// Reads a file; expands palettes to colours, small depths to 8 bits, and transparent colours to alpha.
    fn read(path: &Path) -> Result<Self> {
        if let Some(jpeg) = jpeg::open(path)? {
            let (height, width) = (jpeg.height, jpeg.width);
            let bytes = jpeg.decode(path)?;
            return Ok(Self { height, width, color: ColorType::Rgb, depth: BitDepth::Eight, bytes });
        }
        let (mut decoder, height, width) = open(path)?;
        decoder.set_transformations(Transformations::EXPAND);
        Self::decode(decoder, path, height, width)
    }

    fn decode(decoder: PngDecoder, path: &Path, height: usize, width: usize) -> Result<Self> {
        let fail = |cause| Error::Decode { path: path.into(), cause };
        let mut reader = decoder.read_info().map_err(fail)?;
        let size = reader.output_buffer_size().ok_or_else(|| fail(png::DecodingError::LimitsExceeded))?;
        let mut bytes = vec![0; size];
        reader.next_frame(&mut bytes).map_err(fail)?;
        // Reads on to the end, to verify the last checksums.
        reader.finish().map_err(fail)?;
        let (color, depth) = reader.output_color_type();
        Ok(Self { height, width, color, depth, bytes })
    }

    /// Red, green, blue, alpha of every pixel, each in [0, 1].
    fn rgba(&self) -> impl Iterator<Item = [f32; 4]> {
        let wide = self.depth == BitDepth::Sixteen;
        let samples = self.color.samples();
        let value = move |bytes: &[u8], i: usize| match wide {
            true => f32::from(u16::from_be_bytes([bytes[2 * i], bytes[2 * i + 1]])) / 65535.0,
            false => f32::from(bytes[i]) / 255.0,
        };
        self.bytes.chunks_exact(samples * if wide { 2 } else { 1 }).map(move |p| match samples {
            1 => [value(p, 0), value(p, 0), value(p, 0), 1.0],
            2 => [value(p, 0), value(p, 0), value(p, 0), value(p, 1)],
            3 => [value(p, 0), value(p, 1), value(p, 2), 1.0],
            _ => [value(p, 0), value(p, 1), value(p, 2), value(p, 3)],
        })
    }
}
