//! Upper garments: cut, pattern and print, in figure coordinates.

use crate::body::{Arm, Body, COLLAR};
use crate::canvas::{Canvas, Rgb, Surface, hsv, lit, mix};
use crate::mask::Mask;
use crate::pattern::{Pattern, Print};
use crate::rng::Rng;
use crate::shape::{End, Outline, Point, Shape, at, bar, limb};

const GARMENT: Surface = Surface { label: 2, kept: false, relief: 0.16 };

#[derive(Clone, Copy, PartialEq)]
enum Sleeves {
    None,
    Short,
    Long,
}

#[derive(Clone, Copy, PartialEq)]
enum Neckline {
    Crew,
    Vee,
    Scoop,
}

/// One garment, ready to be drawn on any body.
pub(super) struct Garment {
    sleeves: Sleeves,
    neckline: Neckline,
    /// How far it stands off the body.
    ease: f32,
    /// Height (y) of the hem.
    hem: f32,
    /// How far short sleeves reach down the upper arm, as a share of it.
    reach: f32,
    pattern: Pattern,
    print: Print,
    base: Rgb,
    accent: Rgb,
    trim: Rgb,
    sleeve: Rgb,
}

impl Garment {
    /// A random garment.
    pub(super) fn random(rng: &mut Rng) -> Self {
        let sleeves = rng.pick(&[Sleeves::None, Sleeves::Short, Sleeves::Short, Sleeves::Long, Sleeves::Long]);
        let neckline = match sleeves {
            Sleeves::None => Neckline::Scoop,
            _ => rng.pick(&[Neckline::Crew, Neckline::Crew, Neckline::Vee, Neckline::Scoop]),
        };
        let hue = rng.unit();
        let base = match rng.unit() {
            u if u < 0.12 => hsv(hue, 0.06, 0.93),
            u if u < 0.24 => hsv(hue, 0.30, 0.28),
            _ => hsv(hue, rng.range(0.35, 0.66), rng.range(0.60, 0.92)),
        };
        let light = base.iter().sum::<f32>() > 1.6;
        let away = hue + rng.pick(&[0.0, 0.08, 0.42, 0.5, 0.58]);
        let accent = match (rng.chance(0.4), light) {
            (true, true) => hsv(hue, 0.45, 0.25),
            (true, false) => hsv(hue, 0.05, 0.96),
            (false, true) => hsv(away, rng.range(0.5, 0.75), rng.range(0.30, 0.50)),
            (false, false) => hsv(away, rng.range(0.25, 0.5), 0.95),
        };
        let (pattern, print) = Pattern::random(rng);
        Self {
            sleeves,
            neckline,
            ease: rng.range(0.000, 0.016),
            hem: rng.range(0.655, 0.735),
            reach: rng.range(0.50, 0.85),
            pattern,
            print,
            base,
            accent,
            trim: if rng.chance(0.5) { accent } else { lit(base, 0.72) },
            sleeve: if print != Print::None && rng.chance(0.35) { accent } else { base },
        }
    }

    /// The neckline from the wearer's right to left; `drop` lowers all of it.
    fn neckline(&self, drop: f32) -> Outline {
        let (width, depth) = match self.neckline {
            Neckline::Crew => (0.046, 0.040),
            Neckline::Vee => (0.048, 0.100),
            Neckline::Scoop => (0.062, 0.085),
        };
        let y = COLLAR + if self.neckline == Neckline::Scoop { 0.006 } else { -0.002 };
        let (from, to) = (at(-width - 0.4 * drop, y), at(width + 0.4 * drop, y));
        match self.neckline {
            Neckline::Vee => {
                Outline::from(from).curve(at(-0.03, y + 0.04), at(0.0, y + depth + drop)).curve(at(0.03, y + 0.04), to)
            }
            _ => Outline::from(from)
                .curve(at(-width, y + depth + drop), at(0.0, y + depth + drop))
                .curve(at(width, y + depth + drop), to),
        }
    }

    /// All but the sleeves.
    fn trunk(&self, body: &Body) -> Shape {
        let s = body.shoulder;
        let edge = self.neckline(0.0);
        let armpit = at(s - 0.012 + 0.4 * self.ease, 0.412);
        let waist = at(body.waist - 0.012 + self.ease, 0.53);
        let hem = at(body.hip + 0.004 + 1.3 * self.ease, self.hem);
        let down = |outline: Outline, side: f32| {
            let m = |p: Point| at(side * p.x, p.y);
            match self.sleeves {
                Sleeves::None => outline.line(m(at(0.094, COLLAR + 0.013))).curve(m(at(s - 0.040, 0.395)), m(armpit)),
                _ => outline
                    .curve(m(at(0.6 * s, COLLAR + 0.006)), m(at(s - 0.002, 0.322)))
                    .curve(m(at(s - 0.016, 0.36)), m(armpit)),
            }
            .curve(m(waist), m(hem))
        };
        let [mut right, left] = [1.0, -1.0].map(|side| {
            let neck = at(side * edge.start().x.abs(), edge.start().y);
            down(Outline::from(neck), side).points()
        });
        right.extend(Outline::from(hem).curve(at(0.0, self.hem + 0.024), at(-hem.x, hem.y)).points());
        right.extend(left.into_iter().rev());
        right.extend(edge.points());
        Shape(vec![right])
    }

    fn sleeve(&self, arm: &Arm) -> Shape {
        let (top, e) = ((arm.shoulder, 0.041 + 0.3 * self.ease), self.ease);
        match self.sleeves {
            Sleeves::None => Shape::default(),
            Sleeves::Short => limb(&[top, (arm.shoulder.toward(arm.elbow, self.reach), 0.037 + e)], End::Flat),
            Sleeves::Long => limb(&[top, (arm.elbow, 0.031 + 0.8 * e), self.cuff(arm)], End::Flat),
        }
    }

    fn cuff(&self, arm: &Arm) -> (Point, f32) {
        (arm.elbow.toward(arm.wrist, 0.97), 0.0235 + 0.4 * self.ease)
    }

    /// Draws the sleeve of `arm` and returns its mask.
    pub(super) fn draw_sleeve(&self, canvas: &mut Canvas, arm: &Arm) -> Mask {
        let mask = canvas.mask(&self.sleeve(arm));
        self.paint_sleeve(canvas, arm, &mask);
        mask
    }

    /// Draws the forearm of a long sleeve again, over the trunk.
    pub(super) fn draw_forearm(&self, canvas: &mut Canvas, arm: &Arm) {
        if self.sleeves == Sleeves::Long {
            let line = [(arm.elbow, 0.031 + 0.8 * self.ease), self.cuff(arm)];
            let mask = canvas.mask(&limb(&line, End::Flat));
            self.paint_sleeve(canvas, arm, &mask);
        }
    }

    fn paint_sleeve(&self, canvas: &mut Canvas, arm: &Arm, mask: &Mask) {
        let pixel = 1.0 / canvas.scale();
        canvas.paint(mask, GARMENT, |p| {
            // The pattern starts at the shoulder, as it does on the trunk.
            let q = arm.local(p) + at(0.0, arm.shoulder.y);
            self.pattern.colour(q, pixel, self.sleeve, self.accent)
        });
        // The cuff.
        let (end, from) = match self.sleeves {
            Sleeves::Short => (arm.shoulder.toward(arm.elbow, self.reach), arm.shoulder),
            _ => (self.cuff(arm).0, arm.elbow),
        };
        let along = (end - from).unit();
        let band = bar(end - along * 0.011, end + along * 0.004, 0.07);
        let band = canvas.mask(&band).and(mask);
        canvas.tint(&band, self.trim, 0.9);
    }

    /// Draws all but the sleeves and returns its mask.
    pub(super) fn draw_trunk(&self, canvas: &mut Canvas, body: &Body) -> Mask {
        let mask = canvas.mask(&self.trunk(body));
        let pixel = 1.0 / canvas.scale();
        canvas.paint(&mask, GARMENT, |p| self.pattern.colour(p, pixel, self.base, self.accent));
        self.print.draw(canvas, &mask, self.accent, self.base);
        let rib: Vec<_> = self.neckline(0.004).points().into_iter().map(|p| (p, 0.0075)).collect();
        let rib = canvas.mask(&limb(&rib, End::Round)).and(&mask);
        canvas.tint(&rib, self.trim, 0.9);
        let hem = Outline::from(at(-1.0, self.hem - 0.010)).curve(at(0.0, self.hem + 0.014), at(1.0, self.hem - 0.010));
        let hem: Vec<_> = hem.points().into_iter().map(|p| (p, 0.0012)).collect();
        let hem = canvas.mask(&limb(&hem, End::Round)).and(&mask);
        canvas.tint(&hem, mix(self.trim, [0.0; 3], 0.3), 0.6);
        mask
    }

    /// Soft creases where the cloth of a worn garment bends.
    pub(super) fn draw_folds(&self, canvas: &mut Canvas, body: &Body, trunk: &Mask) {
        let mut folds = Shape::default();
        for side in [-1.0, 1.0] {
            let s = body.shoulder;
            let creases = [
                [(s - 0.022, 0.405), (0.55 * s, 0.425), (0.30 * s, 0.455)],
                [(s - 0.024, 0.418), (0.66 * s, 0.462), (0.52 * s, 0.505)],
                [(body.waist, 0.535), (0.70 * body.waist, 0.548), (0.40 * body.waist, 0.545)],
                [(body.waist, 0.560), (0.62 * body.waist, 0.590), (0.42 * body.waist, 0.630)],
            ];
            for [a, b, c] in creases.map(|line| line.map(|(x, y)| at(side * x, y))) {
                let line = Outline::from(a).curve(b, c).points();
                let n = line.len() as f32;
                let taper = line.into_iter().enumerate();
                let taper = taper.map(|(i, p)| (p, 0.0055 * (1.0 - i as f32 / n) + 0.0008));
                folds = folds.with(limb(&taper.collect::<Vec<_>>(), End::Round));
            }
        }
        let folds = canvas.mask(&folds);
        canvas.shade(&folds, trunk, 0.010, 0.15);
    }
}
