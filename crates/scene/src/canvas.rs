//! A picture painted surface by surface, back to front.

use crate::mask::Mask;
use crate::shape::{Affine, Point, Shape, at};

/// Red, green and blue in [0, 1], as stored in a PNG.
pub(super) type Rgb = [f32; 3];

/// `a` and `b` mixed, `t` of it `b`.
pub(super) fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * t)
}

/// `colour` made brighter (`k` over 1) or darker.
pub(super) fn lit(colour: Rgb, k: f32) -> Rgb {
    colour.map(|v| (v * k).clamp(0.0, 1.0))
}

/// A colour by hue, saturation and value, each in [0, 1].
pub(super) fn hsv(hue: f32, saturation: f32, value: f32) -> Rgb {
    [5.0, 3.0, 1.0].map(|n| {
        let k = (n + hue * 6.0) % 6.0;
        value * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0))
    })
}

/// What is painted, besides its shape and colour.
#[derive(Clone, Copy)]
pub(super) struct Surface {
    /// The class of its pixels.
    pub label: u8,
    /// Whether the agnostic picture shows it.
    pub kept: bool,
    /// How strongly its edges are shaded by light from the upper left; 0 is flat.
    pub relief: f32,
}

/// A picture, its label map, and the share of each pixel that the agnostic picture keeps.
pub(super) struct Canvas {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// From figure coordinates to pixels.
    pub view: Affine,
    /// The colours.
    pub rgb: Vec<Rgb>,
    /// The class of each pixel: that of the topmost surface that covers at least half of it.
    pub labels: Vec<u8>,
    /// The share of each pixel, in [0, 1], whose topmost surface is kept.
    pub kept: Vec<f32>,
}

impl Canvas {
    /// A canvas of one colour and class 0.
    pub(super) fn new(height: usize, width: usize, view: Affine, colour: Rgb) -> Self {
        let n = height * width;
        Self { height, width, view, rgb: vec![colour; n], labels: vec![0; n], kept: vec![0.0; n] }
    }

    /// Pixels per unit of figure coordinates.
    pub(super) fn scale(&self) -> f32 {
        self.view.down.norm()
    }

    /// The pixels covered by `shape`.
    pub(super) fn mask(&self, shape: &Shape) -> Mask {
        Mask::draw(self.height, self.width, shape, &self.view)
    }

    /// `mask` with its edge softened over `radius`, in figure coordinates.
    pub(super) fn soft(&self, mask: &Mask, radius: f32) -> Mask {
        mask.blurred(radius * self.scale() / 2.0)
    }

    /// Paints `mask` over everything so far. `colour` takes figure coordinates.
    pub(super) fn paint(&mut self, mask: &Mask, surface: Surface, colour: impl Fn(Point) -> Rgb) {
        let back = self.view.inverse();
        let (radius, lit_from) = (0.014 * self.scale(), 0.010 * self.scale());
        let rounded = (surface.relief > 0.0).then(|| mask.blurred(radius));
        for i in mask.pixels() {
            let cover = mask.cover[i];
            if cover == 0.0 {
                continue;
            }
            let (x, y) = ((i % self.width) as f32 + 0.5, (i / self.width) as f32 + 0.5);
            let mut c = colour(back.apply(at(x, y)));
            if let Some(round) = &rounded {
                // Going away from the light, the blurred coverage rises at the lit edge and falls at the opposite one.
                let (dx, dy) = (0.6 * lit_from, 0.8 * lit_from);
                let slope = round.nearest(x + dx, y + dy) - round.nearest(x - dx, y - dy);
                c = lit(c, 1.0 + surface.relief * slope);
            }
            self.rgb[i] = mix(self.rgb[i], c, cover);
            self.kept[i] += (f32::from(u8::from(surface.kept)) - self.kept[i]) * cover;
            if cover >= 0.5 {
                self.labels[i] = surface.label;
            }
        }
    }

    /// Mixes `colour` into `mask` without changing its classes; at `strength` 1 it covers.
    pub(super) fn tint(&mut self, mask: &Mask, colour: Rgb, strength: f32) {
        for i in mask.pixels() {
            self.rgb[i] = mix(self.rgb[i], colour, mask.cover[i] * strength);
        }
    }

    /// Casts the shadow of `caster` down and to the right, onto the pixels of `on` only.
    pub(super) fn shade(&mut self, caster: &Mask, on: &Mask, radius: f32, strength: f32) {
        let soft = self.soft(caster, radius);
        let shift = 0.4 * radius * self.scale();
        for i in on.pixels() {
            if on.cover[i] > 0.0 {
                let (x, y) = ((i % self.width) as f32, (i / self.width) as f32);
                let dark = soft.nearest(x - 0.6 * shift, y - 1.2 * shift);
                self.rgb[i] = lit(self.rgb[i], 1.0 - strength * dark * on.cover[i]);
            }
        }
    }
}
