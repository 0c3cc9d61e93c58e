//! The pose picture: coloured limbs and joints on black, by OpenPose's 18 key points.

use crate::body::Body;
use crate::canvas::{Canvas, Rgb, hsv, lit};
use crate::shape::{End, Point, at, ellipse, limb};

/// Nose, neck, right and left arm, right and left leg, eyes, ears.
fn key_points(body: &Body) -> [Point; 18] {
    let h = body.head;
    let [right, left] = body.arms;
    let leg = |side: f32| body.leg(side, 0.0).map(|(p, _)| p);
    let ([rh, rk, ra], [lh, lk, la]) = (leg(-1.0), leg(1.0));
    let face = |x: f32, y: f32| h + at(x, y);
    [
        face(0.0, 0.03),
        at(0.0, 0.305),
        right.shoulder,
        right.elbow,
        right.wrist,
        left.shoulder,
        left.elbow,
        left.wrist,
        rh,
        rk,
        ra,
        lh,
        lk,
        la,
        face(-0.0255, 0.006),
        face(0.0255, 0.006),
        face(-body.head_width, 0.012),
        face(body.head_width, 0.012),
    ]
}

/// The pairs of key points that a line joins.
const BONES: [(usize, usize); 17] = [
    (1, 2),
    (1, 5),
    (2, 3),
    (3, 4),
    (5, 6),
    (6, 7),
    (1, 8),
    (8, 9),
    (9, 10),
    (1, 11),
    (11, 12),
    (12, 13),
    (1, 0),
    (0, 14),
    (14, 16),
    (0, 15),
    (15, 17),
];

/// The colour of bone or joint `i`: hues once around the colour circle.
fn hue(i: usize) -> Rgb {
    hsv(i as f32 / 18.0, 1.0, 1.0)
}

/// Draws the skeleton of `body`.
pub(super) fn draw(canvas: &mut Canvas, body: &Body) {
    let points = key_points(body);
    for (i, &(a, b)) in BONES.iter().enumerate() {
        let bone = limb(&[(points[a], 0.0075), (points[b], 0.0075)], End::Round);
        let mask = canvas.mask(&bone);
        canvas.tint(&mask, lit(hue(i), 0.65), 1.0);
    }
    for (i, &p) in points.iter().enumerate() {
        let mask = canvas.mask(&ellipse(p, 0.0105, 0.0105));
        canvas.tint(&mask, hue(i), 1.0);
    }
}
