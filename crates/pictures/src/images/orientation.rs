//! How a stored picture has to be turned to be upright, as cameras and phones note it in EXIF.

/// A value of EXIF's orientation: 1 for upright, 2 to 8 for the other turns and mirror images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation(u8);

impl Orientation {
    pub(super) const UPRIGHT: Orientation = Orientation(1);

    /// The orientation in a chunk of EXIF; upright where there is none.
    pub(super) fn of_exif(chunk: Option<&[u8]>) -> Orientation {
        let Some(chunk) = chunk else { return Orientation::UPRIGHT };
        let chunk = chunk.strip_prefix(b"Exif\0\0").unwrap_or(chunk);
        image::metadata::Orientation::from_exif_chunk(chunk).map_or(Orientation::UPRIGHT, Orientation::from)
    }

    /// Height and width of the upright picture, from those of the stored one.
    pub(super) fn size(self, height: usize, width: usize) -> (usize, usize) {
        if self.0 >= 5 { (width, height) } else { (height, width) }
    }

    /// The upright picture, from the stored one of this size, in which a pixel takes `bytes.len() / (height * width)`
    /// bytes.
    pub(super) fn apply(self, bytes: Vec<u8>, height: usize, width: usize) -> Vec<u8> {
        if self == Orientation::UPRIGHT {
            return bytes;
        }
        let pixel = bytes.len() / (height * width);
        let (rows, columns) = self.size(height, width);
        let mut upright = Vec::with_capacity(bytes.len());
        for y in 0..rows {
            for x in 0..columns {
                // Where the upright picture's pixel is stored.
                let (row, column) = match self.0 {
                    2 => (y, width - 1 - x),
                    3 => (height - 1 - y, width - 1 - x),
                    4 => (height - 1 - y, x),
                    5 => (x, y),
                    6 => (height - 1 - x, y),
                    7 => (height - 1 - x, width - 1 - y),
                    8 => (x, width - 1 - y),
                    _ => (y, x),
                };
                upright.extend_from_slice(&bytes[(row * width + column) * pixel..][..pixel]);
            }
        }
        upright
    }
}

impl From<image::metadata::Orientation> for Orientation {
    fn from(orientation: image::metadata::Orientation) -> Orientation {
        Orientation(orientation.to_exif())
    }
}

#[cfg(test)]
mod tests {
    use super::Orientation;
    use image::{DynamicImage, RgbImage};

    /// The `image` crate turns pictures in the same way.
    #[test]
    fn every_orientation_is_turned_upright() {
        let (width, height) = (4, 3);
        let bytes: Vec<u8> = (0..36).collect();
        for exif in 1..=8 {
            let orientation = image::metadata::Orientation::from_exif(exif).unwrap();
            let mut expected = DynamicImage::from(RgbImage::from_raw(width, height, bytes.clone()).unwrap());
            expected.apply_orientation(orientation);
            let orientation = Orientation::from(orientation);
            let size = orientation.size(height as usize, width as usize);
            assert_eq!(size, (expected.height() as usize, expected.width() as usize), "{exif}");
            let upright = orientation.apply(bytes.clone(), height as usize, width as usize);
            assert_eq!(upright, expected.into_bytes(), "{exif}");
        }
    }
}
