//! A figure without its upper garment: colours, arms, neck, legs and lower clothes.

use crate::body::{Arm, Body, WAISTBAND};
use crate::canvas::{Canvas, Rgb, Surface, hsv, lit, mix};
use crate::mask::Mask;
use crate::rng::Rng;
use crate::shape::{End, Outline, Shape, at, ellipse, limb};

/// Kept parts: face, neck, legs and lower clothes.
pub(super) const KEPT: Surface = Surface { label: 1, kept: true, relief: 0.16 };

/// Hair style.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Hair {
    /// Close to the head.
    Short,
    /// Down to the chin.
    Bob,
    /// Over the shoulders.
    Long,
    /// Tied up on top.
    Bun,
    /// In curls around the head.
    Curls,
}

#[derive(Clone, Copy, PartialEq)]
enum Lower {
    Trousers,
    Shorts,
    Skirt,
}

/// A figure without its upper garment.
pub(super) struct Figure {
    /// Proportions and posture.
    pub body: Body,
    /// Colour of face, arms and legs.
    pub skin: Rgb,
    /// Colour of hair and brows.
    pub hair_colour: Rgb,
    lower_colour: Rgb,
    shoes: Rgb,
    /// Colour of the eyes.
    pub iris: Rgb,
    /// Colour of the mouth.
    pub lips: Rgb,
    /// Style of the hair.
    pub hair: Hair,
    /// Where the hair is parted: -1 to 1.
    pub parting: f32,
    lower: Lower,
    /// A wristband: on the picture's left (0) or right (1), and its colour.
    band: Option<(usize, Rgb)>,
}

impl Figure {
    /// A random figure.
    pub(super) fn random(rng: &mut Rng) -> Self {
        let skins = [0xf6d7c3, 0xecc0a2, 0xdba982, 0xc08a5f, 0x96653f, 0x6d452c];
        let hairs = [0x2a211d, 0x46302a, 0x6b4227, 0x8f5a30, 0xc79a55, 0xb5532c, 0x86827f];
        let skin = hex(rng.pick(&skins));
        let lower_colour = match rng.unit() {
            u if u < 0.45 => hsv(rng.range(0.57, 0.63), rng.range(0.35, 0.6), rng.range(0.30, 0.62)),
            u if u < 0.75 => hsv(rng.unit(), 0.08, rng.range(0.20, 0.40)),
            _ => hsv(rng.range(0.05, 0.14), rng.range(0.2, 0.4), rng.range(0.55, 0.8)),
        };
        Self {
            body: Body::random(rng),
            skin: mix(skin, hex(rng.pick(&skins)), 0.2 * rng.unit()),
            hair_colour: hex(rng.pick(&hairs)),
            lower_colour,
            shoes: hsv(rng.unit(), 0.15, rng.range(0.2, 0.9)),
            iris: hex(rng.pick(&[0x3d2817, 0x5a3a20, 0x3f6b52, 0x40688f])),
            lips: mix(skin, [0.70, 0.22, 0.25], rng.range(0.35, 0.65)),
            hair: rng.pick(&[Hair::Short, Hair::Bob, Hair::Long, Hair::Bun, Hair::Curls]),
            parting: rng.range(-0.7, 0.7),
            lower: rng.pick(&[Lower::Trousers, Lower::Trousers, Lower::Shorts, Lower::Skirt]),
            band: rng.chance(0.4).then(|| (rng.pick(&[0, 1]), hsv(rng.unit(), 0.7, 0.55))),
        }
    }

    /// Draws an arm's skin and returns its mask. The class is 5 for the figure's right arm, on the picture's left, and
    /// 4 for its left arm.
    pub(super) fn draw_arm(&self, canvas: &mut Canvas, arm: &Arm, forearm_only: bool) -> Mask {
        let label = if arm.side < 0.0 { 5 } else { 4 };
        let mask = canvas.mask(&if forearm_only { arm.forearm() } else { arm.skin() });
        canvas.paint(&mask, Surface { label, kept: false, relief: 0.16 }, |_| self.skin);
        mask
    }

    /// Draws the wristband if it is worn on `arm`.
    pub(super) fn draw_band(&self, canvas: &mut Canvas, arm: &Arm) {
        if let Some((side, colour)) = self.band
            && (side == 0) == (arm.side < 0.0)
        {
            let mask = canvas.mask(&arm.wristband());
            canvas.paint(&mask, Surface { label: 6, kept: false, relief: 0.2 }, |_| colour);
        }
    }

    /// Draws legs, shoes and lower clothes, and returns the mask of legs and clothes.
    pub(super) fn draw_lower(&self, canvas: &mut Canvas) -> Mask {
        let body = &self.body;
        let legs = canvas.mask(&body.legs());
        canvas.paint(&legs, KEPT, |_| self.skin);
        let shoe = |side: f32| ellipse(at(side * 0.072, 1.338), 0.038, 0.024);
        let shoes = canvas.mask(&shoe(-1.0).with(shoe(1.0)));
        canvas.paint(&shoes, KEPT, |_| self.shoes);
        let pelvis = body.pelvis();
        let shape = match self.lower {
            Lower::Trousers | Lower::Shorts => [-1.0, 1.0].into_iter().fold(pelvis, |shape, side| {
                let leg = body.leg(side, 0.006);
                let end = if self.lower == Lower::Shorts { 2 } else { 3 };
                let mut line = leg[..end].to_vec();
                if let Some(last) = line.last_mut().filter(|_| self.lower == Lower::Shorts) {
                    *last = (leg[0].0.toward(leg[1].0, 0.55), 0.060);
                }
                shape.with(limb(&line, End::Flat))
            }),
            Lower::Skirt => {
                let (waist, hip, flare) = (body.waist + 0.009, body.hip + 0.004, body.hip + 0.050);
                let side = |m: f32| {
                    let hips =
                        Outline::from(at(m * waist, WAISTBAND)).curve(at(m * hip, 0.66), at(m * (hip + 0.003), 0.75));
                    hips.curve(at(m * (hip + 0.014), 0.86), at(m * flare, 1.00)).points()
                };
                let hem = Outline::from(at(flare, 1.00)).curve(at(0.0, 1.03), at(-flare, 1.00)).points();
                let left = side(-1.0).into_iter().rev();
                Shape(vec![side(1.0).into_iter().chain(hem).chain(left).collect()])
            }
        };
        let mask = canvas.mask(&shape);
        canvas.paint(&mask, KEPT, |_| self.lower_colour);
        if self.lower != Lower::Skirt {
            let line = [(at(0.0, 0.775), 0.0012), (at(0.002, 0.90), 0.004)];
            let seam = canvas.mask(&limb(&line, End::Round)).and(&mask);
            let seam = canvas.soft(&seam, 0.006);
            canvas.tint(&seam, lit(self.lower_colour, 0.45), 0.8);
        }
        mask.or(&legs)
    }

    /// Draws neck and chest, of which only the neck is kept.
    pub(super) fn draw_torso(&self, canvas: &mut Canvas) {
        let torso = canvas.mask(&self.body.torso());
        canvas.paint(&torso, Surface { kept: false, relief: 0.05, ..KEPT }, |_| self.skin);
        let neck = canvas.mask(&self.body.neck());
        canvas.paint(&neck, Surface { relief: 0.0, ..KEPT }, |_| self.skin);
        let bones =
            [-1.0, 1.0].map(|s| limb(&[(at(s * 0.012, 0.302), 0.0018), (at(s * 0.060, 0.296), 0.0012)], End::Round));
        let [a, b] = bones;
        let bones = canvas.mask(&a.with(b));
        let bones = canvas.soft(&bones, 0.006);
        canvas.tint(&bones, lit(self.skin, 0.72), 0.7);
        // The head's shadow.
        let face = self.body.face();
        let face = canvas.mask(&face);
        canvas.shade(&face, &neck, 0.030, 0.30);
    }
}

fn hex(rgb: u32) -> Rgb {
    [16, 8, 0].map(|shift| ((rgb >> shift) & 0xff) as f32 / 255.0)
}
