//! Pictures in memory.

/// The most pixels that a file may declare: those of a photo of 33 megapixels, forty times VITON-HD's 1024x768.
pub(super) const MAX_PIXELS: u64 = 1 << 25;

/// A colour picture: (3, H, W), row-major, in [-1, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Red plane, green plane, blue plane.
    pub data: Vec<f32>,
}

/// One value per pixel: a mask (`Plane<f32>`, in [0, 1]) or a label map (`Plane<u8>`).
#[derive(Clone, Debug, PartialEq)]
pub struct Plane<T> {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// The values, row-major.
    pub data: Vec<T>,
}

impl Image {
    /// A picture of one colour, each channel in [-1, 1].
    pub fn filled(height: usize, width: usize, colour: [f32; 3]) -> Self {
        let data = colour.iter().flat_map(|&c| std::iter::repeat_n(c, height * width)).collect();
        Self { height, width, data }
    }

    /// The colour at a pixel.
    pub fn pixel(&self, y: usize, x: usize) -> [f32; 3] {
        [0, 1, 2].map(|c| self.data[(c * self.height + y) * self.width + x])
    }

    /// Sets the colour at a pixel.
    pub fn set_pixel(&mut self, y: usize, x: usize, colour: [f32; 3]) {
        for (c, value) in colour.into_iter().enumerate() {
            self.data[(c * self.height + y) * self.width + x] = value;
        }
    }
}
