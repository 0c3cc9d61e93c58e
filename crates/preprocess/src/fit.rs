//! From pictures of any size to the size that the networks work at, and back.

use crate::error::{Error, Result};
use crate::joint::Joint;
use crate::keypoints::Keypoints;
use crate::picture::{Labels, Mask, Picture, Rgb8};
use crate::resample::{bilinear, nearest};

/// Where a picture of some size lies in one of the fine size: scaled with its aspect kept, in the middle, the rest
/// padded. Where both sizes are equal, every method returns what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    own: [usize; 2],
    fine: [usize; 2],
    /// Height and width of the picture after scaling.
    scaled: [usize; 2],
    /// The row and column of its upper left corner.
    corner: [usize; 2],
}

/// What is around a picture that does not fill the fine size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// The pixels of the edge, repeated: for a person.
    Edge,
    /// A colour: for a garment, that of its background.
    Colour([u8; 3]),
}

/// The least height and width, in pixels, that is left of a picture.
const LEAST: usize = 16;

impl Fit {
    /// How a picture of `own` height and width lies in one of the `fine` height and width.
    ///
    /// # Errors
    /// If the fine size is no multiple of 128, or if the picture is so long and narrow that nothing is left of it.
    pub fn new(own: [usize; 2], fine: [usize; 2]) -> Result<Self> {
        let [height, width] = fine;
        if fine.iter().any(|&length| length == 0 || length % 128 != 0) {
            return Err(Error::FineSize { height, width });
        }
        let scale = (0..2).map(|axis| fine[axis] as f64 / own[axis] as f64).fold(f64::INFINITY, f64::min);
        let scaled = [0, 1].map(|axis| ((own[axis] as f64 * scale).round() as usize).min(fine[axis]));
        if own.contains(&0) || scaled.iter().any(|&length| length < LEAST) {
            return Err(Error::TooNarrow { height: own[0], width: own[1] });
        }
        let corner = [0, 1].map(|axis| (fine[axis] - scaled[axis]) / 2);
        Ok(Self { own, fine, scaled, corner })
    }

    /// A picture at the fine size, resized as Pillow's antialiased bilinear filter does.
    ///
    /// # Errors
    /// If the picture is not of the own size.
    pub fn picture(&self, picture: &Rgb8, padding: Padding) -> Result<Rgb8> {
        expect(picture.size(), self.own, "the picture and the photo that it belongs to")?;
        let padding = match padding {
            Padding::Edge => None,
            Padding::Colour(colour) => Some(colour),
        };
        Ok(self.padded(bilinear(picture, self.scaled), padding))
    }

    /// Labels at the fine size: those of the nearest pixels, padded with background.
    ///
    /// # Errors
    /// If the map is not of the own size.
    pub fn labels(&self, labels: &Labels) -> Result<Labels> {
        expect(labels.size(), self.own, "the label map and the photo")?;
        Ok(self.padded(nearest(labels, self.scaled), Some(0)))
    }

    /// A mask at the fine size: that of the nearest pixels, padded with nothing.
    ///
    /// # Errors
    /// If the mask is not of the own size.
    pub fn mask(&self, mask: &Mask) -> Result<Mask> {
        expect(mask.size(), self.own, "the mask and the photo")?;
        Ok(self.padded(nearest(mask, self.scaled), Some(false)))
    }

    /// Joints at the fine size; those that were not found stay so.
    pub fn keypoints(&self, keypoints: &Keypoints) -> Keypoints {
        let coordinate = |v: f64, axis: usize| {
            let (own, scaled, corner) = (self.own[axis], self.scaled[axis], self.corner[axis] as f64);
            // Whole numbers are the middles of pixels.
            let at = if own == scaled { v } else { (v + 0.5) * scaled as f64 / own as f64 - 0.5 };
            at + corner
        };
        let point = |joint| keypoints.get(joint).map_or([0.0; 2], |[x, y]| [coordinate(x, 1), coordinate(y, 0)]);
        Keypoints(Joint::ALL.map(point))
    }

    /// A picture of the fine size at the own size, without its padding.
    ///
    /// # Errors
    /// If the picture is not of the fine size.
    pub fn picture_back(&self, picture: &Rgb8) -> Result<Rgb8> {
        expect(picture.size(), self.fine, "the networks' picture and what they were to draw")?;
        Ok(if self.own == self.fine { picture.clone() } else { bilinear(&self.cropped(picture), self.own) })
    }

    /// A mask of the fine size at the own size, without its padding: that of the nearest pixels.
    ///
    /// # Errors
    /// If the mask is not of the fine size.
    pub fn mask_back(&self, mask: &Mask) -> Result<Mask> {
        expect(mask.size(), self.fine, "the mask and the networks' picture")?;
        Ok(if self.own == self.fine { mask.clone() } else { nearest(&self.cropped(mask), self.own) })
    }

    /// The picture in the middle of the fine size, around it `padding`, or else its edge pixels.
    fn padded<P: Copy>(&self, picture: Picture<P>, padding: Option<P>) -> Picture<P> {
        if picture.size() == self.fine {
            return picture;
        }
        let mut out = Picture::filled(self.fine[0], self.fine[1], padding.unwrap_or(picture.pixel(0, 0)));
        let ([height, width], [top, left]) = (picture.size(), self.corner);
        for y in 0..self.fine[0] {
            let source = y.saturating_sub(top).min(height - 1);
            if padding.is_some() && source + top != y {
                continue;
            }
            let (source, row) = (picture.row(source), out.row_mut(y));
            row[left..left + width].copy_from_slice(source);
            if padding.is_none() {
                row[..left].fill(source[0]);
                row[left + width..].fill(source[width - 1]);
            }
        }
        out
    }

    fn cropped<P: Copy>(&self, picture: &Picture<P>) -> Picture<P> {
        let ([height, width], [top, left]) = (self.scaled, self.corner);
        let mut out = Picture::filled(height, width, picture.pixel(top, left));
        for y in 0..height {
            out.row_mut(y).copy_from_slice(&picture.row(top + y)[left..left + width]);
        }
        out
    }
}

/// Refuses another size than expected; `what` names the two pictures.
fn expect(size: [usize; 2], expected: [usize; 2], what: &'static str) -> Result<()> {
    if size == expected { Ok(()) } else { Err(Error::Sizes { what, size, other: expected }) }
}

#[cfg(test)]
mod tests;
