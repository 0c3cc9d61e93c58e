//! Pictures, label maps and masks in memory.

use crate::error::{Error, Result};

/// Rows of pixels, top to bottom; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture<P> {
    height: usize,
    width: usize,
    pixels: Vec<P>,
}

/// A picture of bytes: red, green, blue.
pub type Rgb8 = Picture<[u8; 3]>;
/// One label a pixel.
pub type Labels = Picture<u8>;
/// Whether each pixel belongs to something.
pub type Mask = Picture<bool>;

impl<P: Copy> Picture<P> {
    /// A picture of these pixels, row by row.
    ///
    /// # Errors
    /// If it has no pixel, or not as many as `height` times `width`.
    pub fn new(height: usize, width: usize, pixels: Vec<P>) -> Result<Self> {
        let count = height.checked_mul(width);
        if height == 0 || width == 0 || count != Some(pixels.len()) {
            return Err(Error::PixelCount { height, width, count: pixels.len() });
        }
        Ok(Self { height, width, pixels })
    }

    /// A picture of one colour.
    ///
    /// # Panics
    /// If it has no pixel.
    pub fn filled(height: usize, width: usize, pixel: P) -> Self {
        assert!(height > 0 && width > 0, "a picture needs a size, not {height}x{width}");
        Self { height, width, pixels: vec![pixel; height * width] }
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height and width.
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// The pixels, row by row.
    pub fn pixels(&self) -> &[P] {
        &self.pixels
    }

    /// The pixels, row by row.
    pub fn into_pixels(self) -> Vec<P> {
        self.pixels
    }

    /// The pixel in row `y`, column `x`.
    ///
    /// # Panics
    /// If it is outside of the picture.
    pub fn pixel(&self, y: usize, x: usize) -> P {
        self.row(y)[x]
    }

    /// Row `y`.
    ///
    /// # Panics
    /// If there is none.
    pub fn row(&self, y: usize) -> &[P] {
        &self.pixels[y * self.width..][..self.width]
    }

    pub(crate) fn row_mut(&mut self, y: usize) -> &mut [P] {
        &mut self.pixels[y * self.width..][..self.width]
    }

    /// The rows, top to bottom.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, P> {
        self.pixels.chunks_exact(self.width)
    }

    /// The picture of what `change` makes of each pixel.
    pub fn map<Q>(&self, change: impl FnMut(P) -> Q) -> Picture<Q> {
        Picture { height: self.height, width: self.width, pixels: self.pixels.iter().copied().map(change).collect() }
    }

    /// The picture of what `join` makes of each pixel and the other's in its place.
    pub(crate) fn zip<O: Copy, Q>(
        &self,
        other: &Picture<O>,
        what: &'static str,
        mut join: impl FnMut(P, O) -> Q,
    ) -> Result<Picture<Q>> {
        self.expect_size_of(other, what)?;
        let pixels = self.pixels.iter().zip(&other.pixels).map(|(&a, &b)| join(a, b)).collect();
        Ok(Picture { height: self.height, width: self.width, pixels })
    }

    /// Refuses another size than this picture's; `what` names the two, as in "the labels and the picture".
    pub(crate) fn expect_size_of<O: Copy>(&self, other: &Picture<O>, what: &'static str) -> Result<()> {
        let (size, other) = (self.size(), other.size());
        if size == other { Ok(()) } else { Err(Error::Sizes { what, size, other }) }
    }
}

impl Rgb8 {
    /// A picture of these bytes, row by row, three a pixel: red, green, blue.
    ///
    /// # Errors
    /// If it has no pixel, or not three bytes for each of `height` times `width`.
    pub fn from_bytes(height: usize, width: usize, bytes: &[u8]) -> Result<Self> {
        match bytes.as_chunks() {
            (pixels, []) => Self::new(height, width, pixels.to_vec()),
            _ => Err(Error::PixelCount { height, width, count: bytes.len() / 3 }),
        }
    }

    /// Three bytes a pixel, row by row.
    pub fn bytes(&self) -> &[u8] {
        self.pixels.as_flattened()
    }
}
