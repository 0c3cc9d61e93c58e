//! The figure's face and hair.

use crate::canvas::{Canvas, Rgb, Surface, lit, mix};
use crate::figure::{Figure, Hair, KEPT};
use crate::shape::{End, Outline, Point, Shape, at, blob, ellipse, limb};

const HAIR: Surface = Surface { label: 3, kept: true, relief: 0.22 };

impl Figure {
    /// Draws hair that hangs behind the neck.
    pub(super) fn draw_hair_behind(&self, canvas: &mut Canvas) {
        let length = match self.hair {
            Hair::Bob => 0.100,
            Hair::Long => 0.175,
            _ => return,
        };
        let (h, w, top) = (self.body.head, self.body.head_width + 0.014, self.body.head_height + 0.014);
        let half =
            [(0.0, -top), (0.72 * w, -0.76 * top), (1.02 * w, 0.0), (1.10 * w, 0.6 * length), (0.92 * w, length)];
        let right = half.iter().map(|&(x, y)| h + at(x, y));
        let left = half[1..].iter().rev().map(|&(x, y)| h + at(-x, y));
        let points: Vec<Point> = right.chain([h + at(0.0, length - 0.005)]).chain(left).collect();
        let mask = canvas.mask(&blob(&points));
        let dark = lit(self.hair_colour, 0.78);
        canvas.paint(&mask, HAIR, |_| dark);
    }

    /// Draws ears and face.
    pub(super) fn draw_head(&self, canvas: &mut Canvas) {
        let ears = canvas.mask(&self.body.ears());
        canvas.paint(&ears, KEPT, |_| lit(self.skin, 0.95));
        let face = canvas.mask(&self.body.face());
        canvas.paint(&face, KEPT, |_| self.skin);
        let h = self.body.head;
        let mut draw = |shape: Shape, colour: Rgb, strength: f32, soft: f32| {
            let mask = canvas.mask(&shape);
            let mask = if soft > 0.0 { canvas.soft(&mask, soft) } else { mask };
            canvas.tint(&mask, colour, strength);
        };
        let line = |points: &[(f32, f32)], r: f32| {
            let [a, b, c] = [0, 1, 2].map(|i| h + at(points[i].0, points[i].1));
            let line: Vec<_> = Outline::from(a).curve(b, c).points().into_iter().map(|p| (p, r)).collect();
            limb(&line, End::Round)
        };
        let dark = lit(self.skin, 0.66);
        for side in [-1.0, 1.0] {
            let eye = h + at(side * 0.0255, 0.006);
            draw(ellipse(h + at(side * 0.033, 0.038), 0.012, 0.008), [0.88, 0.40, 0.36], 0.22, 0.012);
            draw(ellipse(eye, 0.0105, 0.0062), [0.97, 0.96, 0.95], 1.0, 0.0);
            draw(ellipse(eye, 0.0052, 0.0058), self.iris, 1.0, 0.0);
            draw(ellipse(eye, 0.0024, 0.0026), [0.05; 3], 1.0, 0.0);
            draw(ellipse(eye + at(-0.0016, -0.0018), 0.0012, 0.0012), [1.0; 3], 0.9, 0.0);
            let lid = [(side * 0.0145, 0.0055), (side * 0.0255, -0.0060), (side * 0.0375, 0.0065)];
            draw(line(&lid, 0.0013), [0.12, 0.08, 0.07], 0.9, 0.0);
            let brow = [(side * 0.0125, -0.0125), (side * 0.0255, -0.0220), (side * 0.0395, -0.0125)];
            draw(line(&brow, 0.0022), mix(self.hair_colour, dark, 0.25), 0.9, 0.0);
        }
        draw(line(&[(0.003, 0.008), (0.010, 0.030), (0.0065, 0.0335)], 0.0012), dark, 0.55, 0.003);
        draw(line(&[(-0.0065, 0.0340), (0.0, 0.0395), (0.0065, 0.0340)], 0.0014), dark, 0.8, 0.002);
        let upper = Outline::from(h + at(-0.0185, 0.0530)).curve(h + at(-0.006, 0.0475), h + at(0.0, 0.0505));
        let upper = upper.curve(h + at(0.006, 0.0475), h + at(0.0185, 0.0530));
        draw(upper.curve(h + at(0.0, 0.0700), h + at(-0.0185, 0.0530)).close(), self.lips, 1.0, 0.0);
        draw(line(&[(-0.0185, 0.0530), (0.0, 0.0590), (0.0185, 0.0530)], 0.0009), lit(self.lips, 0.6), 0.9, 0.0);
    }

    /// Draws the hair around the face, and locks that fall over the shoulders.
    pub(super) fn draw_hair(&self, canvas: &mut Canvas) {
        let (h, w, t) = (self.body.head, self.body.head_width, self.body.head_height);
        let p = |x: f32, y: f32| h + at(x * w, y * t);
        let part = 0.45 * self.parting;
        // The outer edge from ear to ear over the top, then back along the hairline.
        let side_low = if matches!(self.hair, Hair::Bob | Hair::Long) { 0.25 } else { 0.02 };
        let cap = Outline::from(p(-1.04, side_low))
            .curve(p(-1.22, -0.55), p(-0.72, -0.98))
            .curve(p(-0.30, -1.26), p(0.0, -1.20))
            .curve(p(0.42, -1.26), p(0.74, -0.96))
            .curve(p(1.22, -0.55), p(1.04, side_low))
            .curve(p(0.90, -0.20), p(0.80, -0.34))
            .curve(p(0.55, -0.42), p(part, -0.74))
            .curve(p(-0.55, -0.42), p(-0.80, -0.34))
            .curve(p(-0.90, -0.20), p(-1.04, side_low))
            .close();
        let extra = match self.hair {
            Hair::Short | Hair::Bob => Shape::default(),
            Hair::Bun => ellipse(p(0.0, -1.30), 0.034, 0.030),
            Hair::Curls => self.curls(),
            Hair::Long => {
                let end = 1.95 + 0.25 * self.parting;
                let lock = Outline::from(p(0.92, -0.55))
                    .curve(p(1.30, 0.10), p(1.22, 0.9))
                    .curve(p(1.30, 1.5), p(1.02, end))
                    .curve(p(0.72, 1.5), p(0.90, 0.9))
                    .curve(p(1.02, 0.2), p(0.84, -0.40));
                lock.mirrored(h.x)
            }
        };
        let face = canvas.mask(&self.body.face());
        let mask = canvas.mask(&cap.with(extra));
        canvas.shade(&mask, &face, 0.016, 0.22);
        canvas.paint(&mask, HAIR, |_| self.hair_colour);
        // Strands.
        for i in 0..9 {
            let x = (i as f32 - 4.0) / 4.4;
            let strand = Outline::from(p(0.5 * part + 0.2 * x, -1.12)).curve(p(0.9 * x, -1.02), p(1.08 * x, -0.25));
            let strand: Vec<_> = strand.points().into_iter().map(|q| (q, 0.0012)).collect();
            let strand = canvas.mask(&limb(&strand, End::Round)).and(&mask);
            let k = if i % 2 == 0 { 1.30 } else { 0.74 };
            canvas.tint(&strand, lit(self.hair_colour, k), 0.45);
        }
    }

    fn curls(&self) -> Shape {
        let (h, w, t) = (self.body.head, self.body.head_width, self.body.head_height);
        // Around the upper half of the head, one side; the other is its mirror image.
        let places = [(-1.12, 0.10), (-1.18, -0.24), (-1.06, -0.58), (-0.82, -0.86), (-0.48, -1.08), (-0.1, -1.18)];
        let both = places.iter().flat_map(|&(x, y)| [(x, y), (-x, y)]);
        both.fold(Shape::default(), |shape, (x, y)| shape.with(ellipse(h + at(x * w, y * t), 0.0215, 0.0215)))
    }
}
