//! Repeating patterns and single prints on garments.

use crate::canvas::{Canvas, Rgb, lit, mix};
use crate::mask::Mask;
use crate::rng::Rng;
use crate::shape::{End, Outline, Point, Shape, at, ellipse, limb};

/// A colour for every place on the cloth. Lengths are in figure coordinates.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Pattern {
    /// One colour.
    Plain,
    /// Stripes across or along the body.
    Stripes {
        /// Up and down rather than across.
        along: bool,
        /// From one stripe to the next.
        period: f32,
        /// The share of the period that has the accent colour.
        part: f32,
    },
    /// Two crossing sets of translucent stripes.
    Checks {
        /// From one stripe to the next.
        period: f32,
    },
    /// Polka dots in a staggered grid.
    Dots {
        /// From one dot to the next in a row.
        period: f32,
        /// Radius of a dot.
        radius: f32,
    },
    /// From the base colour at the top to the accent at the bottom.
    Gradient,
    /// A broad band across the chest between two narrow ones.
    Band {
        /// Height of the band's middle.
        y: f32,
    },
}

/// The share of a pixel on the positive side of an edge at the signed distance `d`.
fn edge(d: f32, pixel: f32) -> f32 {
    (d / pixel + 0.5).clamp(0.0, 1.0)
}

/// The distance from `x` to the nearest multiple of `period`.
fn off_line(x: f32, period: f32) -> f32 {
    (x - (x / period).round() * period).abs()
}

impl Pattern {
    /// A random pattern, and a print that suits it.
    pub(super) fn random(rng: &mut Rng) -> (Pattern, Print) {
        let pattern = match rng.unit() {
            u if u < 0.34 => Pattern::Plain,
            u if u < 0.52 => {
                Pattern::Stripes { along: rng.chance(0.3), period: rng.range(0.026, 0.060), part: rng.range(0.3, 0.5) }
            }
            u if u < 0.64 => Pattern::Checks { period: rng.range(0.034, 0.066) },
            u if u < 0.78 => {
                let period = rng.range(0.034, 0.056);
                Pattern::Dots { period, radius: period * rng.range(0.18, 0.27) }
            }
            u if u < 0.90 => Pattern::Gradient,
            _ => Pattern::Band { y: rng.range(0.43, 0.50) },
        };
        let print = match pattern {
            Pattern::Plain if rng.chance(0.4) => Print::Letter(rng.pick(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])),
            Pattern::Plain => rng.pick(&[Print::Heart, Print::Star, Print::Sun]),
            Pattern::Gradient => rng.pick(&[Print::None, Print::Star, Print::Sun]),
            _ => Print::None,
        };
        (pattern, print)
    }

    /// The colour at `p`; edges are antialiased for pixels of width `pixel`.
    pub(super) fn colour(&self, p: Point, pixel: f32, base: Rgb, accent: Rgb) -> Rgb {
        match *self {
            Pattern::Plain => base,
            Pattern::Stripes { along, period, part } => {
                let d = off_line(if along { p.x } else { p.y }, period);
                mix(base, accent, edge(period * part / 2.0 - d, pixel))
            }
            Pattern::Checks { period } => {
                let stripes = [p.x, p.y].map(|v| edge(period / 4.0 - off_line(v, period), pixel));
                let fine = [p.x, p.y].map(|v| edge(period / 40.0 - off_line(v + period / 2.0, period), pixel));
                let cloth = mix(base, accent, 0.42 * (stripes[0] + stripes[1]));
                mix(cloth, lit(accent, 1.15), 0.5 * fine[0].max(fine[1]))
            }
            Pattern::Dots { period, radius } => {
                let grid = |shift: f32| at(off_line(p.x + shift, period), off_line(p.y + shift, period)).norm();
                let d = grid(0.0).min(grid(period / 2.0));
                mix(base, accent, edge(radius - d, pixel))
            }
            Pattern::Gradient => mix(base, accent, ((p.y - 0.34) / 0.36).clamp(0.0, 1.0)),
            Pattern::Band { y } => {
                let d = (p.y - y).abs();
                let narrow = edge(0.006 - (d - 0.045).abs(), pixel);
                mix(base, accent, edge(0.030 - d, pixel).max(narrow))
            }
        }
    }
}

/// A single picture on the chest.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Print {
    /// Nothing.
    None,
    /// The letter with this index in `LETTERS`.
    Letter(usize),
    /// A heart.
    Heart,
    /// A star.
    Star,
    /// A sun setting behind waves.
    Sun,
}

/// Letters as strokes in a square from -1 to 1.
const LETTERS: [&[&[(f32, f32)]]; 10] = [
    &[&[(-0.8, 1.0), (0.0, -1.0), (0.8, 1.0)], &[(-0.45, 0.3), (0.45, 0.3)]],
    &[&[(0.7, -1.0), (-0.7, -1.0), (-0.7, 1.0), (0.7, 1.0)], &[(-0.7, 0.0), (0.4, 0.0)]],
    &[&[(0.7, -1.0), (-0.7, -1.0), (-0.7, 1.0)], &[(-0.7, 0.0), (0.4, 0.0)]],
    &[&[(-0.7, -1.0), (-0.7, 1.0)], &[(0.7, -1.0), (0.7, 1.0)], &[(-0.7, 0.0), (0.7, 0.0)]],
    &[&[(-0.7, -1.0), (-0.7, 1.0)], &[(0.7, -1.0), (-0.7, 0.1), (0.7, 1.0)]],
    &[&[(-0.9, 1.0), (-0.7, -1.0), (0.0, 0.5), (0.7, -1.0), (0.9, 1.0)]],
    &[&[(-0.7, 1.0), (-0.7, -1.0), (0.7, 1.0), (0.7, -1.0)]],
    &[&[(-0.8, -1.0), (0.8, -1.0)], &[(0.0, -1.0), (0.0, 1.0)]],
    &[&[(-0.8, -1.0), (0.8, 1.0)], &[(0.8, -1.0), (-0.8, 1.0)]],
    &[&[(-0.8, -1.0), (0.8, -1.0), (-0.8, 1.0), (0.8, 1.0)]],
];

impl Print {
    fn shape(self) -> Shape {
        let center = at(0.0, 0.465);
        let place = |x: f32, y: f32| center + at(x, y);
        match self {
            Print::None => Shape::default(),
            Print::Letter(letter) => LETTERS[letter].iter().fold(Shape::default(), |shape, stroke| {
                let line: Vec<_> = stroke.iter().map(|&(x, y)| (place(0.045 * x, 0.052 * y), 0.0095)).collect();
                shape.with(limb(&line, End::Round))
            }),
            Print::Heart => Outline::from(place(0.0, 0.052))
                .curve(place(0.062, 0.004), place(0.050, -0.026))
                .curve(place(0.030, -0.060), place(0.0, -0.024))
                .curve(place(-0.030, -0.060), place(-0.050, -0.026))
                .curve(place(-0.062, 0.004), place(0.0, 0.052))
                .close(),
            Print::Star => {
                // Directions of the outer corners. Each inner corner lies opposite an outer one, at 0.42 of the radius.
                const TIPS: [(f32, f32); 5] =
                    [(0.0, -1.0), (0.951, -0.309), (0.588, 0.809), (-0.588, 0.809), (-0.951, -0.309)];
                let tips = (0..10).map(|i| match i % 2 {
                    0 => (TIPS[i / 2], 0.056),
                    _ => (TIPS[(i / 2 + 3) % 5], -0.056 * 0.42),
                });
                Shape(vec![tips.map(|((x, y), r)| place(x * r, y * r)).collect()])
            }
            Print::Sun => ellipse(center, 0.050, 0.050),
        }
    }

    /// Draws the print on the garment's trunk, whose mask is `on`.
    pub(super) fn draw(self, canvas: &mut Canvas, on: &Mask, accent: Rgb, base: Rgb) {
        let mask = canvas.mask(&self.shape()).and(on);
        canvas.tint(&mask, accent, 1.0);
        if self == Print::Sun {
            for (y, thick) in [(0.472, 0.0030), (0.487, 0.0045), (0.503, 0.0060)] {
                let wave = Outline::from(at(-0.06, y))
                    .curve(at(-0.03, y - 0.010), at(0.0, y))
                    .curve(at(0.03, y + 0.010), at(0.06, y));
                let line: Vec<_> = wave.points().into_iter().map(|p| (p, thick)).collect();
                let mask = canvas.mask(&limb(&line, End::Round)).and(&mask);
                canvas.tint(&mask, base, 1.0);
            }
        }
    }
}
