//! Reads pictures, masks and label maps from files, turned upright.

use super::format::Format;
use super::image::MAX_PIXELS;
use super::orientation::Orientation;
use super::palette::{self, Order};
use super::parse::{ParseLabels, labels_from_parse};
use super::{Error, Image, Note, Plane, Result, jpeg};
use alias_model::preprocess::Rgb8;
use alias_model::{Sample, rgb8_to_planes, to_byte};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use png::{BitDepth, ColorType, Decoder, Limits, Transformations};
use std::collections::BTreeSet;
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
    read_sample_noting(files, labels, &mut Vec::new())
}

/// As [`read_sample`]; adds to `notes` what was read otherwise than the files say, or looks wrong.
///
/// # Errors
/// As [`read_sample`].
pub fn read_sample_noting(files: &SampleFiles, labels: ParseLabels, notes: &mut Vec<Note>) -> Result<Sample> {
    let others = [files.pose, files.warped_cloth, files.warped_mask, files.parse];
    let (height, width) = same_size(files.agnostic, &others)?;
    let pose = read_rgb(files.pose)?;
    let [red, green, blue] = std::array::from_fn(|channel| &pose.data[channel * height * width..][..height * width]);
    let largest = red.iter().zip(green).zip(blue).map(|((red, green), blue)| red.max(*green).max(*blue));
    notes.extend(skeleton_note(largest.map(|value| value > BRIGHT * 2.0 - 1.0), files.pose));
    Ok(Sample {
        batch: 1,
        height,
        width,
        agnostic: read_rgb(files.agnostic)?.data,
        pose: pose.data,
        warped_cloth: read_rgb(files.warped_cloth)?.data,
        warped_mask: read_mask_noting(files.warped_mask, notes)?.data,
        labels: labels_from_parse(&read_labels_noting(files.parse, notes)?, labels, files.parse)?.data,
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

/// The (height, width) of a picture, turned upright; only its header is read.
///
/// # Errors
/// What is wrong with the file.
pub fn read_size(path: &Path) -> Result<(usize, usize)> {
    let (height, width, orientation) = match Format::of(path)? {
        Format::Jpeg => {
            let jpeg = jpeg::open(path)?;
            (jpeg.height, jpeg.width, jpeg.orientation)
        }
        Format::Png => {
            let (decoder, height, width) = open(path)?;
            let reader = decoder.read_info().map_err(|cause| png_error(path, &cause))?;
            (height, width, Orientation::of_exif(reader.info().exif_metadata.as_deref()))
        }
        Format::Other(format) => {
            let (_, height, width, orientation) = open_other(path, format)?;
            (height, width, orientation)
        }
    };
    Ok(orientation.size(height, width))
}

/// Reads a PNG, JPEG, WebP, GIF, BMP or TIFF of any colour type as a picture. Transparent pixels are composited on white.
///
/// # Errors
/// What is wrong with the file.
pub fn read_rgb(path: &Path) -> Result<Image> {
    let pixels = Pixels::read(path)?;
    let (height, width) = (pixels.height, pixels.width);
    if (pixels.color, pixels.depth) == (ColorType::Rgb, BitDepth::Eight) {
        return Ok(Image { height, width, data: rgb8_to_planes(&pixels.bytes) });
    }
    pixels.expect_visible(path)?;
    let mut data = vec![0.0; 3 * height * width];
    for (i, [r, g, b, alpha]) in pixels.rgba().enumerate() {
        for (c, value) in [r, g, b].into_iter().enumerate() {
            data[c * height * width + i] = (value * alpha + (1.0 - alpha)) * 2.0 - 1.0;
        }
    }
    Ok(Image { height, width, data })
}

/// [`read_rgb`], as bytes: RGB row by row.
///
/// # Errors
/// What is wrong with the file.
pub fn read_rgb8(path: &Path) -> Result<Rgb8> {
    let pixels = Pixels::read(path)?;
    let (height, width) = (pixels.height, pixels.width);
    let bytes = if (pixels.color, pixels.depth) == (ColorType::Rgb, BitDepth::Eight) {
        pixels.bytes
    } else {
        pixels.expect_visible(path)?;
        let composited = |[r, g, b, alpha]: [f32; 4]| [r, g, b].map(|v| to_byte((v * alpha + 1.0 - alpha) * 2.0 - 1.0));
        pixels.rgba().flat_map(composited).collect()
    };
    Ok(Rgb8::from_bytes(height, width, &bytes).expect("a picture that was decoded has pixels"))
}

/// As [`read_rgb8`], for a drawn skeleton; adds to `notes` if it is not on black.
///
/// # Errors
/// What is wrong with the file.
pub fn read_skeleton_noting(path: &Path, notes: &mut Vec<Note>) -> Result<Rgb8> {
    let picture = read_rgb8(path)?;
    let is_bright = |pixel: &[u8; 3]| pixel.iter().any(|&value| f32::from(value) > BRIGHT * 255.0);
    notes.extend(skeleton_note(picture.pixels().iter().map(is_bright), path));
    Ok(picture)
}

/// Values above this share of white are not black, not even that of a JPEG beside a coloured line.
const BRIGHT: f32 = 0.15;

/// What to tell of a skeleton whose pixels are bright or not.
fn skeleton_note(is_bright: impl ExactSizeIterator<Item = bool>, path: &Path) -> Option<Note> {
    let pixels = is_bright.len();
    let bright = is_bright.filter(|&is_bright| is_bright).count();
    (2 * bright > pixels).then(|| Note::SkeletonNotOnBlack { path: path.into() })
}

/// Reads a file that [`read_rgb`] reads as a mask: its luminance times alpha, white being 1. A mask of 0 and 1, or a
/// palette's mask of black and another colour, is read as black and white.
///
/// # Errors
/// What is wrong with the file.
pub fn read_mask(path: &Path) -> Result<Plane<f32>> {
    read_mask_noting(path, &mut Vec::new())
}

/// As [`read_mask`]; adds to `notes` what was read otherwise than the file says, or looks wrong.
///
/// # Errors
/// As [`read_mask`].
pub fn read_mask_noting(path: &Path, notes: &mut Vec<Note>) -> Result<Plane<f32>> {
    let pixels = Pixels::read(path)?;
    pixels.expect_visible(path)?;
    // Gray must stay exactly as it is, which the sum of rounded weights would not guarantee.
    let luminance = |[r, g, b]: [f32; 3]| {
        if r == g && g == b { r } else { 0.299 * r + 0.587 * g + 0.114 * b }
    };
    let mut data: Vec<f32> = pixels.rgba().map(|[r, g, b, alpha]| luminance([r, g, b]) * alpha).collect();
    let white = data.iter().copied().fold(0.0, f32::max);
    // Of 16 bits, 0 and 255 are as dark.
    let is_scaled = white <= 1.0 / 255.0
        || pixels.is_palette && white < 1.0 && data.iter().all(|&value| value == 0.0 || value == white);
    let largest = (white * 255.0 * 1000.0).round() / 1000.0;
    if white > 0.0 && is_scaled {
        data.iter_mut().for_each(|value| *value /= white);
        notes.push(Note::MaskScaled { path: path.into(), largest });
    } else if white > 0.0 && white < 0.5 {
        notes.push(Note::MaskDark { path: path.into(), largest });
    } else {
        let gray = in_gray_areas(&data, pixels.height, pixels.width);
        if 20 * gray > data.len() {
            notes.push(Note::MaskGray { path: path.into(), share: (100 * gray / data.len()) as u8 });
        }
    }
    Ok(Plane { height: pixels.height, width: pixels.width, data })
}

/// How many values are neither dark nor bright, and lie in areas of such values. Masks have none: their edges are gray where
/// they are smooth and where JPEG rings, but narrow.
fn in_gray_areas(mask: &[f32], height: usize, width: usize) -> usize {
    let edge = (height.min(width) / 96).max(2);
    let is_gray = |value: f32| (0.25..0.75).contains(&value);
    let row = |y: usize| &mask[y * width..][..width];
    let in_row = |y: usize| {
        let (above, here) = (row(y - edge), row(y));
        let near = here.iter().zip(here.iter().skip(edge)).zip(above.iter().skip(edge));
        near.filter(|&((&left, &here), &above)| is_gray(here) && is_gray(left) && is_gray(above)).count()
    };
    (edge..height).map(in_row).sum()
}

/// Reads a label map: the indices of a palette PNG, or the values of a gray PNG of up to 8 bits. Where a program has
/// changed the indices, or has saved colours alone, labels are found by the colours of LIP and CIHP, of PASCAL VOC, or
/// of [`PALETTE`](super::PALETTE).
///
/// # Errors
/// [`Error::NotIndices`] for any other picture; what is wrong with the file.
pub fn read_labels(path: &Path) -> Result<Plane<u8>> {
    read_labels_noting(path, &mut Vec::new())
}

/// As [`read_labels`]; adds to `notes` what was read otherwise than the file says, or looks wrong.
///
/// # Errors
/// As [`read_labels`].
pub fn read_labels_noting(path: &Path, notes: &mut Vec<Note>) -> Result<Plane<u8>> {
    let refused = |found: &str| Error::NotIndices { path: path.into(), found: found.into() };
    match Format::of(path)? {
        Format::Png => read_png_labels(path, notes),
        Format::Jpeg => Err(refused("a JPEG, which changes labels")),
        format @ Format::Other(_) => {
            if format.is_lossy(path)? {
                return Err(refused(&format!("a {} with lossy compression, which changes labels", format.name())));
            }
            let pixels = Pixels::read(path)?;
            let labels = labels_of_colours(&pixels, path, notes);
            labels.ok_or_else(|| refused(&format!("a {} in full colour", format.name())))
        }
    }
}

fn read_png_labels(path: &Path, notes: &mut Vec<Note>) -> Result<Plane<u8>> {
    let (mut decoder, height, width) = open(path)?;
    decoder.set_transformations(Transformations::IDENTITY);
    let (mut pixels, orientation, colours) = Pixels::decode(decoder, path, height, width)?;
    let found = match (pixels.color, pixels.depth) {
        (_, BitDepth::Sixteen) => "a PNG 16 bits deep",
        (ColorType::GrayscaleAlpha, _) => "a PNG, gray with transparency",
        (ColorType::Rgb | ColorType::Rgba, _) => {
            pixels.turn(orientation);
            let labels = labels_of_colours(&pixels, path, notes);
            let refused = || Error::NotIndices { path: path.into(), found: "a PNG in full colour".into() };
            return labels.ok_or_else(refused);
        }
        (ColorType::Indexed | ColorType::Grayscale, depth) => {
            if depth != BitDepth::Eight {
                pixels =
                    Pixels { bytes: unpacked(&pixels.bytes, width, depth as usize), depth: BitDepth::Eight, ..pixels };
            }
            pixels.turn(orientation);
            let mut labels = Plane { height: pixels.height, width: pixels.width, data: pixels.bytes };
            if pixels.color == ColorType::Indexed {
                order_by_colours(&mut labels, &colours, path, notes);
            }
            return Ok(labels);
        }
    };
    Err(Error::NotIndices { path: path.into(), found: found.into() })
}

/// The values of rows in which each pixel takes `bits` bits, a byte each.
fn unpacked(rows: &[u8], width: usize, bits: usize) -> Vec<u8> {
    let mask = (0xff_u16 >> (8 - bits)) as u8;
    let row_values = |row: &[u8]| {
        // The leftmost pixel is in a byte's highest bits.
        (0..width).map(|x| (row[x * bits / 8] >> (8 - bits - x * bits % 8)) & mask).collect::<Vec<_>>()
    };
    rows.chunks_exact((width * bits).div_ceil(8)).flat_map(row_values).collect()
}

/// Makes labels of the indices of a palette that a program has brought into another order.
fn order_by_colours(indices: &mut Plane<u8>, palette: &[u8], path: &Path, notes: &mut Vec<Note>) {
    let used = distinct(indices.data.iter().copied());
    let colour = |index: u8| palette.as_chunks::<3>().0.get(usize::from(index)).copied();
    let Some(colours) = used.into_iter().map(|index| Some((index, colour(index)?))).collect() else { return };
    match palette::order(&colours) {
        Order::AsStored => {}
        Order::Unsure => notes.push(Note::LabelsUnsure { path: path.into() }),
        Order::Other(palette, labels) => {
            indices.data.iter_mut().for_each(|index| *index = labels[&colours[index]]);
            notes.push(Note::LabelsByColour { path: path.into(), palette });
        }
    }
}

/// The labels of a picture in a known palette's colours, or of a gray one that was stored in colour; None for any other.
fn labels_of_colours(pixels: &Pixels, path: &Path, notes: &mut Vec<Note>) -> Option<Plane<u8>> {
    let Pixels { height, width, depth: BitDepth::Eight, color, ref bytes, .. } = *pixels else { return None };
    let plane = |data| Some(Plane { height, width, data });
    if color == ColorType::Grayscale {
        return plane(bytes.clone());
    }
    let rgb = bytes.chunks_exact(color.samples()).map(|pixel| [pixel[0], pixel[1], pixel[2]]);
    if color == ColorType::Rgba && bytes.as_chunks::<4>().0.iter().any(|pixel| pixel[3] != 255) {
        return None;
    }
    let colours = distinct(rgb.clone());
    if colours.len() > 1 && colours.iter().all(palette::is_gray_label) {
        return plane(rgb.map(|[gray, ..]| gray).collect());
    }
    let (palette, labels) = palette::of_colours(&colours)?;
    notes.push(Note::LabelsByColour { path: path.into(), palette });
    plane(rgb.map(|colour| labels[&colour]).collect())
}

/// The values that there are. Neighbours in a label map are mostly equal, and a set is slow.
fn distinct<T: Copy + Ord>(values: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut last = None;
    values.filter(|&value| last.replace(value) != Some(value)).collect()
}

type PngDecoder = Decoder<BufReader<File>>;

/// Opens a PNG and refuses a declared size above `MAX_PIXELS`, before anything of that size is allocated.
fn open(path: &Path) -> Result<(PngDecoder, usize, usize)> {
    let file = File::open(path).map_err(|cause| Error::Io { path: path.into(), cause })?;
    let limits = Limits { bytes: MAX_DECODER_BYTES };
    let mut decoder = Decoder::new_with_limits(BufReader::new(file), limits);
    let info = decoder.read_header_info().map_err(|cause| png_error(path, &cause))?;
    let (width, height) = (info.width, info.height);
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Error::TooLarge { path: path.into(), width, height, limit: MAX_PIXELS });
    }
    Ok((decoder, height as usize, width as usize))
}

fn png_error(path: &Path, cause: &dyn std::fmt::Display) -> Error {
    Error::Decode { path: path.into(), format: "PNG", cause: cause.to_string() }
}

/// Opens a picture that is neither PNG nor JPEG, and refuses a declared size above `MAX_PIXELS`.
fn open_other(path: &Path, format: ImageFormat) -> Result<(impl ImageDecoder, usize, usize, Orientation)> {
    let fail = |cause: image::ImageError| other_error(path, format, &cause);
    let file = File::open(path).map_err(|cause| Error::Io { path: path.into(), cause })?;
    let mut decoder = ImageReader::with_format(BufReader::new(file), format).into_decoder().map_err(fail)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Error::TooLarge { path: path.into(), width, height, limit: MAX_PIXELS });
    }
    let orientation = decoder.orientation().map_err(fail)?;
    Ok((decoder, height as usize, width as usize, orientation.into()))
}

fn other_error(path: &Path, format: ImageFormat, cause: &dyn std::fmt::Display) -> Error {
    Error::Decode { path: path.into(), format: Format::Other(format).name(), cause: cause.to_string() }
}

/// Decoded pixels as the file stores them, turned upright.
struct Pixels {
    height: usize,
    width: usize,
    color: ColorType,
    depth: BitDepth,
    /// Whether the file is a PNG with a palette.
    is_palette: bool,
    bytes: Vec<u8>,
}

impl Pixels {
    /// Reads a file; expands palettes to colours, small depths to 8 bits, and transparent colours to alpha.
    fn read(path: &Path) -> Result<Self> {
        let format = Format::of(path)?;
        let (mut pixels, orientation) = match format {
            Format::Jpeg => {
                let jpeg = jpeg::open(path)?;
                let (height, width, orientation) = (jpeg.height, jpeg.width, jpeg.orientation);
                (Pixels::eight_bits(height, width, ColorType::Rgb, jpeg.decode(path)?), orientation)
            }
            Format::Png => {
                let (mut decoder, height, width) = open(path)?;
                decoder.set_transformations(Transformations::EXPAND);
                let (pixels, orientation, _) = Self::decode(decoder, path, height, width)?;
                (pixels, orientation)
            }
            Format::Other(format) => {
                let (decoder, height, width, orientation) = open_other(path, format)?;
                let picture = DynamicImage::from_decoder(decoder).map_err(|cause| other_error(path, format, &cause))?;
                let (color, bytes) = match picture.color() {
                    color if color.has_alpha() => (ColorType::Rgba, picture.into_rgba8().into_raw()),
                    color if color.has_color() => (ColorType::Rgb, picture.into_rgb8().into_raw()),
                    _ => (ColorType::Grayscale, picture.into_luma8().into_raw()),
                };
                (Pixels::eight_bits(height, width, color, bytes), orientation)
            }
        };
        pixels.turn(orientation);
        Ok(pixels)
    }

    fn eight_bits(height: usize, width: usize, color: ColorType, bytes: Vec<u8>) -> Self {
        Self { height, width, color, depth: BitDepth::Eight, is_palette: false, bytes }
    }

    /// The pixels as stored, their orientation, and the palette: red, green and blue of each entry.
    fn decode(decoder: PngDecoder, path: &Path, height: usize, width: usize) -> Result<(Self, Orientation, Vec<u8>)> {
        let fail = |cause| png_error(path, &cause);
        let mut reader = decoder.read_info().map_err(fail)?;
        let size = reader.output_buffer_size().ok_or_else(|| fail(png::DecodingError::LimitsExceeded))?;
        let mut bytes = vec![0; size];
        reader.next_frame(&mut bytes).map_err(fail)?;
        // Reads on to the end, to verify the last checksums.
        reader.finish().map_err(fail)?;
        let (color, depth) = reader.output_color_type();
        let info = reader.info();
        let orientation = Orientation::of_exif(info.exif_metadata.as_deref());
        let palette = info.palette.as_deref().unwrap_or_default().to_vec();
        let is_palette = info.color_type == ColorType::Indexed;
        Ok((Self { height, width, color, depth, is_palette, bytes }, orientation, palette))
    }

    /// Refuses pixels of which none shows anything.
    fn expect_visible(&self, path: &Path) -> Result<()> {
        let has_alpha = matches!(self.color, ColorType::Rgba | ColorType::GrayscaleAlpha);
        if has_alpha && self.rgba().all(|[.., alpha]| alpha == 0.0) {
            return Err(Error::Transparent { path: path.into() });
        }
        Ok(())
    }

    /// Turns the pixels, which take whole bytes each.
    fn turn(&mut self, orientation: Orientation) {
        self.bytes = orientation.apply(std::mem::take(&mut self.bytes), self.height, self.width);
        (self.height, self.width) = orientation.size(self.height, self.width);
    }

    /// Red, green, blue, alpha of every pixel, each in [0, 1].
    fn rgba(&self) -> impl Iterator<Item = [f32; 4]> {
        let wide = self.depth == BitDepth::Sixteen;
        let samples = self.color.samples();
        let of_byte: [f32; 256] = std::array::from_fn(|byte| byte as f32 / 255.0);
        let value = move |bytes: &[u8], i: usize| match wide {
            true => f32::from(u16::from_be_bytes([bytes[2 * i], bytes[2 * i + 1]])) / 65535.0,
            false => of_byte[usize::from(bytes[i])],
        };
        self.bytes.chunks_exact(samples * if wide { 2 } else { 1 }).map(move |p| match samples {
            1 => [value(p, 0), value(p, 0), value(p, 0), 1.0],
            2 => [value(p, 0), value(p, 0), value(p, 0), value(p, 1)],
            3 => [value(p, 0), value(p, 1), value(p, 2), 1.0],
            _ => [value(p, 0), value(p, 1), value(p, 2), value(p, 3)],
        })
    }
}
