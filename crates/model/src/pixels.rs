//! Conversion of pictures from bytes to what networks read, and back.

use crate::sample::check_pixels;
use crate::{InputError, Result, Sample};

/// A person and a garment as bytes, as picture files hold them: rows from top to bottom, pixels from left to right.
#[derive(Clone, Copy, Debug)]
pub struct Rgb8Pictures<'a> {
    /// Height of all pictures.
    pub height: usize,
    /// Width of all pictures.
    pub width: usize,
    /// The person with torso and arms blanked out: RGB, 3 bytes per pixel.
    pub agnostic: &'a [u8],
    /// The drawn skeleton: RGB.
    pub pose: &'a [u8],
    /// The garment, warped roughly into place: RGB.
    pub warped_cloth: &'a [u8],
    /// Where the warped garment is: a byte per pixel, 0 to 255.
    pub warped_mask: &'a [u8],
    /// The segmentation of the result: a class per pixel, 0 to 6.
    pub labels: &'a [u8],
}

impl Sample {
    /// A sample of one picture from bytes.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::{Rgb8Pictures, Sample};
    ///
    /// let (height, width) = (128, 128);
    /// let gray = vec![128; 3 * height * width];
    /// let pictures = Rgb8Pictures {
    ///     height,
    ///     width,
    ///     agnostic: &gray,
    ///     pose: &gray,
    ///     warped_cloth: &gray,
    ///     warped_mask: &vec![255; height * width],
    ///     labels: &vec![2; height * width],
    /// };
    /// let sample = Sample::from_rgb8(&pictures)?;
    /// assert!((sample.agnostic[0] - 0.0039).abs() < 1e-4);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a picture does not have as many bytes as its size needs, or a label is
    /// not a class.
    pub fn from_rgb8(pictures: &Rgb8Pictures) -> Result<Sample> {
        let Rgb8Pictures { height, width, agnostic, pose, warped_cloth, warped_mask, labels } = *pictures;
        let plane = check_pixels(1, height, width)?;
        for (name, bytes, channels) in [
            ("agnostic", agnostic, 3),
            ("pose", pose, 3),
            ("warped_cloth", warped_cloth, 3),
            ("warped_mask", warped_mask, 1),
            ("labels", labels, 1),
        ] {
            let (got, expected) = (bytes.len(), plane * channels);
            if got != expected {
                return Err(InputError::Elements {
                    name: name.into(),
                    got,
                    expected,
                    shape: vec![height, width, channels],
                }
                .into());
            }
        }
        let sample = Sample {
            batch: 1,
            height,
            width,
            agnostic: rgb8_to_planes(agnostic),
            pose: rgb8_to_planes(pose),
            warped_cloth: rgb8_to_planes(warped_cloth),
            warped_mask: warped_mask.iter().map(|&v| f32::from(v) / 255.0).collect(),
            labels: labels.to_vec(),
        };
        sample.verify()?;
        Ok(sample)
    }

    /// A sample of one picture from the `image` crate's pictures. `labels` holds classes, 0 to 6. That crate turns a
    /// palette PNG, as parse maps are, into colours; `alias_pictures::images::read_labels` reads its indices.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::{GARMENT, Sample};
    /// use image::{GrayImage, Luma, Rgb, RgbImage};
    ///
    /// let white = RgbImage::from_pixel(64, 128, Rgb([255; 3]));
    /// let mask = GrayImage::from_pixel(64, 128, Luma([255]));
    /// let labels = GrayImage::from_pixel(64, 128, Luma([GARMENT])); // classes, not shades
    /// let sample = Sample::from_images(&white, &white, &white, &mask, &labels)?;
    /// assert_eq!((sample.height, sample.width), (128, 64));
    /// assert_eq!((sample.warped_cloth[0], sample.warped_mask[0], sample.labels[0]), (1.0, 1.0, GARMENT));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InputError::PictureSize`] if the pictures differ in size; else as [`Sample::from_rgb8`].
    #[cfg(feature = "image")]
    pub fn from_images(
        agnostic: &image::RgbImage,
        pose: &image::RgbImage,
        warped_cloth: &image::RgbImage,
        warped_mask: &image::GrayImage,
        labels: &image::GrayImage,
    ) -> Result<Sample> {
        let (width, height) = agnostic.dimensions();
        for (name, size) in [
            ("pose", pose.dimensions()),
            ("warped_cloth", warped_cloth.dimensions()),
            ("warped_mask", warped_mask.dimensions()),
            ("labels", labels.dimensions()),
        ] {
            if size != (width, height) {
                return Err(InputError::PictureSize { name, got: size.into(), expected: [width, height] }.into());
            }
        }
        Sample::from_rgb8(&Rgb8Pictures {
            height: height as usize,
            width: width as usize,
            agnostic: agnostic.as_raw(),
            pose: pose.as_raw(),
            warped_cloth: warped_cloth.as_raw(),
            warped_mask: warped_mask.as_raw(),
            labels: labels.as_raw(),
        })
    }
}

/// The value in [-1, 1] of each byte.
pub(crate) const OF_BYTE: [f32; 256] = {
    let mut values = [0.0; 256];
    let mut byte = 0;
    while byte < 256 {
        values[byte] = byte as f32 / 127.5 - 1.0;
        byte += 1;
    }
    values
};

/// RGB8 pixels as planes (3, H, W) in [-1, 1].
///
/// ```
/// use alias_model::{planes_to_rgb8, rgb8_to_planes};
///
/// let pixels = [255, 0, 0, 255, 255, 0]; // red, yellow
/// let planes = rgb8_to_planes(&pixels);
/// assert_eq!(planes, [1.0, 1.0, -1.0, 1.0, -1.0, -1.0]); // red, green, blue
/// assert_eq!(planes_to_rgb8(&planes), pixels);
/// ```
pub fn rgb8_to_planes(pixels: &[u8]) -> Vec<f32> {
    let mut planes = Vec::with_capacity(pixels.len());
    for c in 0..3 {
        planes.extend(pixels.as_chunks::<3>().0.iter().map(|pixel| OF_BYTE[usize::from(pixel[c])]));
    }
    planes
}

/// One image (3, H, W) in [-1, 1] as RGB8 pixels, each value by [`to_byte`]. A batch has to be split first, for
/// instance by [`chunks`](slice::chunks) of 3 H W.
///
/// # Panics
/// If the number of values is not a multiple of 3.
pub fn planes_to_rgb8(planes: &[f32]) -> Vec<u8> {
    assert!(planes.len().is_multiple_of(3), "{} values are not three planes", planes.len());
    let (red, others) = planes.split_at(planes.len() / 3);
    let (green, blue) = others.split_at(red.len());
    let pixel = |((&r, &g), &b): ((&f32, &f32), &f32)| [r, g, b].map(to_byte);
    red.iter().zip(green).zip(blue).map(pixel).collect::<Vec<_>>().into_flattened()
}

/// A value in [-1, 1] as a byte, rounded: -1 becomes 0, 1 becomes 255. Values outside are clamped.
pub fn to_byte(value: f32) -> u8 {
    let scaled = (value + 1.0) / 2.0 * 255.0;
    // `round` would call a library function for each value: x86-64's baseline has no instruction for it. The cast
    // truncates and saturates, which clamps, and the difference is exact.
    let below = scaled as u8;
    below.saturating_add(u8::from(scaled - f32::from(below) >= 0.5))
}

#[cfg(test)]
mod tests {
    use super::{planes_to_rgb8, rgb8_to_planes, to_byte};

    #[test]
    fn bytes_come_back() {
        let pixels: Vec<u8> = (0..=255).chain([7, 8]).collect();
        let planes = rgb8_to_planes(&pixels);
        assert_eq!((planes[0], planes[86], planes[85]), (-1.0, 1.0 / 127.5 - 1.0, 1.0));
        assert_eq!(planes_to_rgb8(&planes), pixels);
    }

    #[test]
    fn bytes_are_rounded_as_round_does() {
        for byte in -3..260 {
            let half = (byte as f32 + 0.5) / 255.0 * 2.0 - 1.0;
            for value in [half, half.next_up(), half.next_down(), 1e-9, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
                assert_eq!(to_byte(value), ((value + 1.0) / 2.0 * 255.0).round() as u8, "{value}");
            }
        }
    }

    #[test]
    #[cfg(feature = "image")]
    fn pictures_of_two_sizes_are_refused() {
        let (rgb, gray) = (|w, h| image::RgbImage::new(w, h), |w, h| image::GrayImage::new(w, h));
        let sample = |pose: &image::RgbImage, labels: &image::GrayImage| {
            crate::Sample::from_images(&rgb(64, 128), pose, &rgb(64, 128), &gray(64, 128), labels)
        };
        assert!(sample(&rgb(64, 128), &gray(64, 128)).is_ok());
        let error = sample(&rgb(128, 64), &gray(64, 128)).unwrap_err().to_string();
        assert!(error.contains("pose is 128x64, but agnostic is 64x128"), "{error}");
        assert!(sample(&rgb(64, 128), &gray(128, 64)).unwrap_err().to_string().contains("labels is 128x64"));
    }
}
