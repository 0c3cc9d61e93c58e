//! The figure's proportions and posture, and the outlines that follow from them.
//!
//! Figure coordinates: x = 0 is the middle of the figure, y runs down; a 3:4 portrait shows y from 0 to 1, head to
//! thighs.

use crate::rng::Rng;
use crate::shape::{End, Outline, Point, Shape, at, bar, blob, direction, ellipse, limb};

/// Height (y) at which the collar bones meet.
pub(super) const COLLAR: f32 = 0.285;

/// Height (y) of the upper edge of lower clothes.
pub(super) const WAISTBAND: f32 = 0.60;

/// One arm.
#[derive(Clone, Copy)]
pub(super) struct Arm {
    /// -1 on the picture's left (the figure's right arm), 1 on its right.
    pub side: f32,
    /// The joint at the shoulder.
    pub shoulder: Point,
    /// The elbow.
    pub elbow: Point,
    /// The wrist.
    pub wrist: Point,
    /// Whether the forearm is in front of the torso.
    pub in_front: bool,
}

/// A figure without clothes or colours.
pub(super) struct Body {
    /// The middle of the face.
    pub head: Point,
    /// Half the head's width.
    pub head_width: f32,
    /// Half the head's height.
    pub head_height: f32,
    /// Half the shoulders' width.
    pub shoulder: f32,
    /// Half the waist's width.
    pub waist: f32,
    /// Half the hips' width.
    pub hip: f32,
    /// On the picture's left and on its right.
    pub arms: [Arm; 2],
}

impl Body {
    /// Random proportions and posture.
    pub(super) fn random(rng: &mut Rng) -> Self {
        let shoulder = rng.range(0.118, 0.142);
        let waist = rng.range(0.084, 0.106);
        let hip = waist + rng.range(0.018, 0.036);
        let head = at(rng.range(-0.010, 0.010), 0.155);
        let (head_width, head_height) = (rng.range(0.061, 0.067), rng.range(0.083, 0.090));
        let joint = at(shoulder - 0.013, 0.359);
        let right = Arm::random(rng, -1.0, joint, waist, hip, true);
        // Two forearms across the belly would intersect.
        let left = Arm::random(rng, 1.0, joint, waist, hip, !right.in_front);
        Self { head, head_width, head_height, shoulder, waist, hip, arms: [right, left] }
    }

    /// Chest and belly.
    pub(super) fn torso(&self) -> Shape {
        let s = self.shoulder;
        let half = [
            (0.036, 0.277),
            (0.044, 0.282),
            (0.62 * s, 0.300),
            (s - 0.020, 0.320),
            (s - 0.014, 0.334),
            (s - 0.020, 0.40),
        ];
        let low = [(self.waist + 0.006, 0.50), (self.waist, 0.56), (self.hip - 0.004, 0.67), (self.hip, 0.72)];
        let right = half.iter().chain(&low).map(|&(x, y)| at(x, y));
        let left = right.clone().rev().map(|p| at(-p.x, p.y));
        Shape(vec![right.chain(left).collect()])
    }

    /// The part of the neck that is kept: above the collar.
    pub(super) fn neck(&self) -> Shape {
        let from = at(self.head.x - 0.031, self.head.y + 0.04);
        let to = at(self.head.x + 0.031, self.head.y + 0.04);
        Outline::from(from)
            .line(to)
            .curve(at(0.030, 0.262), at(0.044, COLLAR - 0.003))
            .curve(at(0.0, COLLAR + 0.006), at(-0.044, COLLAR - 0.003))
            .curve(at(-0.030, 0.262), from)
            .close()
    }

    /// Face and skull without hair or ears.
    pub(super) fn face(&self) -> Shape {
        let (w, h) = (self.head_width, self.head_height);
        let right = [(0.0, -1.0), (0.62, -0.84), (0.96, -0.30), (0.95, 0.18), (0.74, 0.64), (0.36, 0.94)];
        let chin = [(0.0, 1.02)];
        let left = right[1..].iter().rev().map(|&(x, y)| (-x, y));
        let points = right.iter().copied().chain(chin).chain(left);
        let points: Vec<Point> = points.map(|(x, y)| self.head + at(x * w, y * h)).collect();
        blob(&points)
    }

    /// Both ears.
    pub(super) fn ears(&self) -> Shape {
        let ear = |side: f32| ellipse(self.head + at(side * self.head_width * 0.98, 0.012), 0.011, 0.019);
        ear(-1.0).with(ear(1.0))
    }

    /// Bare legs and feet.
    pub(super) fn legs(&self) -> Shape {
        let leg =
            |side: f32| limb(&self.leg(side, 0.0), End::Round).with(ellipse(at(side * 0.070, 1.335), 0.034, 0.020));
        leg(-1.0).with(leg(1.0))
    }

    /// Centre and radius of thigh, knee and ankle, the radii enlarged by `ease`.
    pub(super) fn leg(&self, side: f32, ease: f32) -> [(Point, f32); 3] {
        let hip = 0.52 * self.hip;
        [
            (at(side * hip, 0.74), 0.47 * self.hip + ease),
            (at(side * (hip + 0.002), 1.02), 0.043 + ease),
            (at(side * hip, 1.30), 0.027 + ease),
        ]
    }

    /// The pelvis from the waistband down to the crotch.
    pub(super) fn pelvis(&self) -> Shape {
        let (w, h) = (self.waist + 0.009, self.hip + 0.003);
        Outline::from(at(-w, WAISTBAND))
            .line(at(w, WAISTBAND))
            .curve(at(h, 0.66), at(h, 0.76))
            .line(at(-h, 0.76))
            .curve(at(-h, 0.66), at(-w, WAISTBAND))
            .close()
    }

    /// The area to blank out: everything that any garment might hide, and the arms with room for any sleeve.
    pub(super) fn blank(&self) -> Shape {
        let (s, w) = (self.shoulder + 0.015, self.hip + 0.035);
        let torso = Outline::from(at(-0.045, COLLAR - 0.012))
            .line(at(0.045, COLLAR - 0.012))
            .line(at(s, 0.312))
            .line(at(w, 0.55))
            .line(at(w, 0.73))
            .curve(at(w, 0.765), at(w - 0.035, 0.765))
            .line(at(0.035 - w, 0.765))
            .curve(at(-w, 0.765), at(-w, 0.73))
            .line(at(-w, 0.55))
            .line(at(-s, 0.312))
            .close();
        self.arms.iter().fold(torso, |shape, arm| {
            let line = [(arm.shoulder, 0.054), (arm.elbow, 0.054), (arm.wrist, 0.048)];
            shape.with(limb(&line, End::Round)).with(limb(&[(arm.wrist, 0.044), (arm.tip(), 0.036)], End::Round))
        })
    }
}

impl Arm {
    /// An arm in a random posture. `shoulder` is the joint as if on the picture's right; `free` allows the forearm
    /// across the belly.
    fn random(rng: &mut Rng, side: f32, shoulder: Point, waist: f32, hip: f32, free: bool) -> Self {
        let posture = rng.unit();
        let (upper, fore) = (rng.range(0.165, 0.175), rng.range(0.150, 0.160));
        let (a, b) = (rng.unit(), rng.unit());
        let bent = |first: f32, second: f32| {
            let elbow = shoulder + direction(first) * upper;
            (elbow, elbow + direction(second) * fore)
        };
        let (elbow, wrist, in_front) = if posture < 0.40 {
            // Hanging.
            let (elbow, wrist) = bent(0.06 + 0.08 * a, -0.02 + 0.08 * b);
            (elbow, wrist, false)
        } else if posture < 0.58 {
            // Held away from the body.
            let (elbow, wrist) = bent(0.16 + 0.10 * a, 0.05 + 0.14 * b);
            (elbow, wrist, false)
        } else if posture < 0.76 {
            // A hand on the hip.
            let elbow = at(waist + 0.125 + 0.015 * a, 0.475 + 0.01 * b);
            (elbow, at(hip + 0.012, 0.618 + 0.015 * b), true)
        } else if posture < 0.90 && free {
            // The forearm across the belly.
            let (elbow, _) = bent(0.10 + 0.03 * a, 0.0);
            (elbow, at(0.02 + 0.04 * b, 0.535 + 0.05 * a), true)
        } else {
            // Raised, as if waving.
            let (elbow, wrist) = bent(0.34 + 0.10 * a, 5.5 + 5.0 * b);
            (elbow, wrist, false)
        };
        let [shoulder, elbow, wrist] = [shoulder, elbow, wrist].map(|p| at(p.x * side, p.y));
        Self { side, shoulder, elbow, wrist, in_front }
    }

    /// The tip of the middle finger.
    pub(super) fn tip(&self) -> Point {
        self.wrist + self.fore() * 0.080
    }

    /// The forearm's direction, a unit vector.
    pub(super) fn fore(&self) -> Point {
        (self.wrist - self.elbow).unit()
    }

    /// Upper arm and forearm.
    pub(super) fn skin(&self) -> Shape {
        limb(&[(self.shoulder, 0.037), (self.elbow, 0.027)], End::Round).with(self.forearm())
    }

    /// Forearm and hand.
    pub(super) fn forearm(&self) -> Shape {
        let (fore, thumb_side) = (self.fore(), self.fore().turned() * self.side);
        let palm = self.wrist + fore * 0.027;
        let mut shape = limb(&[(self.elbow, 0.027), (self.wrist, 0.0165), (palm, 0.0172)], End::Round);
        for (spread, reach) in [(-0.0128, 0.066), (-0.0043, 0.077), (0.0043, 0.080), (0.0128, 0.074)] {
            let side = thumb_side * spread;
            let finger = [(palm + side, 0.0056), (self.wrist + side + fore * (reach - 0.005), 0.0050)];
            shape = shape.with(limb(&finger, End::Round));
        }
        let thumb = self.wrist + thumb_side * 0.025 + fore * 0.046;
        shape.with(limb(&[(self.wrist + thumb_side * 0.008 + fore * 0.012, 0.009), (thumb, 0.0048)], End::Round))
    }

    /// Where a wristband goes.
    pub(super) fn wristband(&self) -> Shape {
        let middle = self.elbow.toward(self.wrist, 0.92);
        let half = self.fore() * 0.007;
        bar(middle - half, middle + half, 0.0198)
    }

    /// `p` in the arm's own coordinates, across it (x) and along it (y), for patterns that follow a sleeve.
    pub(super) fn local(&self, p: Point) -> Point {
        let upper = (self.elbow - self.shoulder).norm();
        let part = |from: Point, to: Point, start: f32, first: bool| {
            let along = (to - from).unit();
            let (t, len) = ((p - from).dot(along), (to - from).norm());
            let held = if first { t.min(len) } else { t.max(0.0) };
            let away = (p - from - along * held).norm();
            (away, at((p - from).dot(along.turned()), start + held))
        };
        let (near, far) = (part(self.shoulder, self.elbow, 0.0, true), part(self.elbow, self.wrist, upper, false));
        if near.0 <= far.0 { near.1 } else { far.1 }
    }
}
