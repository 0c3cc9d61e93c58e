//! Draws sample figures from a seed: all inputs of a try-on and the picture it should give.
//!
//! The same seed and size give the same numbers on every platform.

mod body;
mod canvas;
mod garment;
mod head;
mod mask;
mod pattern;
mod person;
mod rng;
mod shape;
mod skeleton;

use alias_model::Sample;
use body::Body;
use canvas::{Canvas, Rgb, mix};
use garment::Garment;
use mask::Mask;
use person::Person;
use rng::Rng;
use shape::{Affine, at, direction};

/// A drawn try-on.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The inputs, a batch of one.
    pub sample: Sample,
    /// The finished picture, the person wearing the garment: (3, H, W) in [-1, 1].
    pub truth: Vec<f32>,
}

/// The scene of a seed.
///
/// # Panics
/// If height or width is 0.
pub fn draw(seed: u64, height: usize, width: usize) -> Scene {
    draw_pair(seed, seed, height, width)
}

/// The person of one seed in the garment of another.
///
/// # Panics
/// If height or width is 0.
pub fn draw_pair(person: u64, garment: u64, height: usize, width: usize) -> Scene {
    assert!(height > 0 && width > 0, "a scene needs a size, not {height}x{width}");
    let (mut person_rng, mut garment_rng) = (Rng::new(person, 0), Rng::new(garment, 1));
    let view = framing(&mut Rng::new(person, 2), height, width);
    let (person, garment) = (Person::random(&mut person_rng), Garment::random(&mut garment_rng));
    let backdrop = mix([0.90, 0.90, 0.91], canvas::hsv(person_rng.unit(), 0.10, 0.93), person_rng.unit());

    let finished = dressed(&person, &garment, Canvas::new(height, width, view, backdrop));
    let agnostic = blanked(&finished, &person.body);

    let mut pose = Canvas::new(height, width, view, [0.0; 3]);
    skeleton::draw(&mut pose, &person.body);

    let warp = misplacement(&mut garment_rng);
    let mut cloth = Canvas::new(height, width, view.after(&warp), [1.0; 3]);
    let warped_mask = laid_flat(&garment, &person.body, &mut cloth);

    Scene {
        sample: Sample {
            batch: 1,
            height,
            width,
            agnostic: planes(&agnostic),
            pose: planes(&pose.rgb),
            warped_cloth: planes(&cloth.rgb),
            warped_mask: warped_mask.cover,
            labels: finished.labels,
        },
        truth: planes(&finished.rgb),
    }
}

/// A 3:4 portrait shows the figure from head to thighs, however the picture's own sides relate; a taller picture shows
/// more of the legs, a wider one more of the backdrop.
fn framing(rng: &mut Rng, height: usize, width: usize) -> Affine {
    let (h, w) = (height as f32, width as f32);
    let portrait = h.min(w * 4.0 / 3.0);
    let scale = portrait * rng.range(0.98, 1.10);
    let x = 0.5 * w + portrait * rng.range(-0.015, 0.015);
    let y = 0.25 * (h - portrait) + portrait * rng.range(-0.012, 0.012);
    Affine { right: at(scale, 0.0), down: at(0.0, scale), origin: at(x, y) }
}

/// How the garment lies beside its place: smaller, shifted and a little turned about the chest.
fn misplacement(rng: &mut Rng) -> Affine {
    let chest = at(0.0, 0.48);
    let away = |v: f32| if v < 0.0 { v - 0.006 } else { v + 0.006 };
    let shift = at(away(rng.range(-0.012, 0.012)), away(rng.range(-0.012, 0.012)));
    let turn = direction(rng.range(-0.02, 0.02));
    let (down, right) = (turn * rng.range(0.90, 0.97), at(turn.y, -turn.x) * rng.range(0.90, 0.97));
    Affine { right, down, origin: chest + shift - right * chest.x - down * chest.y }
}

/// The person wearing the garment.
fn dressed(person: &Person, garment: &Garment, mut canvas: Canvas) -> Canvas {
    let body = &person.body;
    backdrop_light(&mut canvas);
    person.draw_hair_behind(&mut canvas);
    person.draw_torso(&mut canvas);
    let lower = person.draw_lower(&mut canvas);
    for arm in &body.arms {
        let skin = person.draw_arm(&mut canvas, arm, false);
        let sleeve = garment.draw_sleeve(&mut canvas, arm);
        canvas.shade(&sleeve, &skin.without(&sleeve), 0.012, 0.35);
        person.draw_band(&mut canvas, arm);
    }
    let trunk = garment.draw_trunk(&mut canvas, body);
    canvas.shade(&trunk, &lower.without(&trunk), 0.020, 0.35);
    garment.draw_folds(&mut canvas, body, &trunk);
    for arm in body.arms.iter().filter(|arm| arm.in_front) {
        let limb = canvas.mask(&arm.forearm());
        canvas.shade(&limb, &trunk, 0.022, 0.40);
        person.draw_arm(&mut canvas, arm, true);
        garment.draw_forearm(&mut canvas, arm);
        person.draw_band(&mut canvas, arm);
    }
    person.draw_head(&mut canvas);
    person.draw_hair(&mut canvas);
    canvas
}

/// A studio wall, brighter in the middle.
fn backdrop_light(canvas: &mut Canvas) {
    let (w, h) = (canvas.width as f32, canvas.height as f32);
    for (i, colour) in canvas.rgb.iter_mut().enumerate() {
        let x = ((i % canvas.width) as f32 + 0.5) / w - 0.5;
        let y = ((i / canvas.width) as f32 + 0.5) / h - 0.4;
        *colour = canvas::lit(*colour, 1.03 - 0.22 * (x * x + y * y));
    }
}

/// The picture with torso and arms turned gray; what is kept stays.
fn blanked(finished: &Canvas, body: &Body) -> Vec<Rgb> {
    let blank = finished.mask(&body.blank());
    let pixels = finished.rgb.iter().zip(&finished.kept).zip(&blank.cover);
    pixels.map(|((&colour, kept), blank)| mix(colour, [0.5; 3], blank * (1.0 - kept))).collect()
}

/// Draws the garment by itself and returns where it is, with a soft edge.
fn laid_flat(garment: &Garment, body: &Body, canvas: &mut Canvas) -> Mask {
    let mut all = Mask::empty(canvas.height, canvas.width);
    for arm in &body.arms {
        all = all.or(&garment.draw_sleeve(canvas, arm));
    }
    all = all.or(&garment.draw_trunk(canvas, body));
    all.blurred((0.0015 * canvas.scale()).max(0.5))
}

/// (3, H, W) in [-1, 1].
fn planes(rgb: &[Rgb]) -> Vec<f32> {
    (0..3).flat_map(|c| rgb.iter().map(move |pixel| pixel[c] * 2.0 - 1.0)).collect()
}

/// A label map in which every pixel has a random class: the worst case for whoever counts on flat regions.
pub fn noise(seed: u64, pixels: usize) -> Vec<u8> {
    let mut rng = rng::Rng::new(seed, 0);
    (0..pixels).map(|_| (rng.unit() * f32::from(alias_model::CLASSES)) as u8).collect()
}

#[cfg(test)]
mod tests;
