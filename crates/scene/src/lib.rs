//! Drawn try-ons: figures in garments, drawn from a seed, with every input of the generator and the true picture.
//!
//! They stand in for photos in tests, in the demo and in a first training. The same seed and size give the same numbers
//! on every platform.
//!
//! Not a renderer of realistic people: all figures are flat drawings that stand upright and face the viewer, and the
//! garment's warp is wrong by a few pixels on purpose.
//!
//! Start with [`draw`], which returns a [`Scene`]. [`draw_pair`] draws one seed's figure in another seed's garment.
//!
//! ```
//! let scene = alias_scene::draw(1, 128, 96); // seed, height, width
//! let garment = scene.sample.labels.iter().filter(|&&label| label == alias_model::GARMENT).count();
//! println!("the garment covers {garment} of {} pixels", 128 * 96);
//! assert!((500..6000).contains(&garment));
//! ```

mod body;
mod canvas;
mod figure;
mod garment;
mod head;
mod mask;
mod pattern;
mod rng;
mod shape;
mod skeleton;

use alias_model::Sample;
use body::Body;
use canvas::{Canvas, Rgb, mix};
use figure::Figure;
use garment::Garment;
use mask::Mask;
use rng::Rng;
use shape::{Affine, at, direction};

/// A drawn try-on.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The generator's inputs, a batch of one.
    pub sample: Sample,
    /// The true picture, the figure wearing the garment: (3, H, W) in [-1, 1].
    pub truth: Vec<f32>,
}

/// Draws the scene of a seed.
///
/// # Panics
/// If height or width is 0.
pub fn draw(seed: u64, height: usize, width: usize) -> Scene {
    draw_pair(seed, seed, height, width)
}

/// Draws the figure of one seed in the garment of another.
///
/// # Panics
/// If height or width is 0.
pub fn draw_pair(figure: u64, garment: u64, height: usize, width: usize) -> Scene {
    assert!(height > 0 && width > 0, "a scene needs a size, not {height}x{width}");
    let (mut figure_rng, mut garment_rng) = (Rng::new(figure, 0), Rng::new(garment, 1));
    let view = framing(&mut Rng::new(figure, 2), height, width);
    let (figure, garment) = (Figure::random(&mut figure_rng), Garment::random(&mut garment_rng));
    let backdrop = mix([0.90, 0.90, 0.91], canvas::hsv(figure_rng.unit(), 0.10, 0.93), figure_rng.unit());

    let finished = draw_dressed(&figure, &garment, Canvas::new(height, width, view, backdrop));
    let agnostic = agnostic_picture(&finished, &figure.body);

    let mut pose = Canvas::new(height, width, view, [0.0; 3]);
    skeleton::draw(&mut pose, &figure.body);

    let warp = warp_error(&mut garment_rng);
    let mut cloth = Canvas::new(height, width, view.after(&warp), [1.0; 3]);
    let warped_mask = draw_warped(&garment, &figure.body, &mut cloth);

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

/// The map from figure coordinates to pixels. The largest 3:4 portrait inside the picture shows the figure from head to
/// thighs; a taller picture shows more of the legs, a wider one more of the backdrop.
fn framing(rng: &mut Rng, height: usize, width: usize) -> Affine {
    let (h, w) = (height as f32, width as f32);
    let portrait = h.min(w * 4.0 / 3.0);
    let scale = portrait * rng.range(0.98, 1.10);
    let x = 0.5 * w + portrait * rng.range(-0.015, 0.015);
    let y = 0.25 * (h - portrait) + portrait * rng.range(-0.012, 0.012);
    Affine { right: at(scale, 0.0), down: at(0.0, scale), origin: at(x, y) }
}

/// The simulated error of the garment's warp: smaller, shifted, and turned slightly about the chest.
fn warp_error(rng: &mut Rng) -> Affine {
    let chest = at(0.0, 0.48);
    let away = |v: f32| if v < 0.0 { v - 0.006 } else { v + 0.006 };
    let shift = at(away(rng.range(-0.012, 0.012)), away(rng.range(-0.012, 0.012)));
    let turn = direction(rng.range(-0.02, 0.02));
    let (down, right) = (turn * rng.range(0.90, 0.97), at(turn.y, -turn.x) * rng.range(0.90, 0.97));
    Affine { right, down, origin: chest + shift - right * chest.x - down * chest.y }
}

/// Draws the figure wearing the garment.
fn draw_dressed(figure: &Figure, garment: &Garment, mut canvas: Canvas) -> Canvas {
    let body = &figure.body;
    light_backdrop(&mut canvas);
    figure.draw_hair_behind(&mut canvas);
    figure.draw_torso(&mut canvas);
    let lower = figure.draw_lower(&mut canvas);
    for arm in &body.arms {
        let skin = figure.draw_arm(&mut canvas, arm, false);
        let sleeve = garment.draw_sleeve(&mut canvas, arm);
        canvas.shade(&sleeve, &skin.without(&sleeve), 0.012, 0.35);
        figure.draw_band(&mut canvas, arm);
    }
    let trunk = garment.draw_trunk(&mut canvas, body);
    canvas.shade(&trunk, &lower.without(&trunk), 0.020, 0.35);
    garment.draw_folds(&mut canvas, body, &trunk);
    for arm in body.arms.iter().filter(|arm| arm.in_front) {
        let limb = canvas.mask(&arm.forearm());
        canvas.shade(&limb, &trunk, 0.022, 0.40);
        figure.draw_arm(&mut canvas, arm, true);
        garment.draw_forearm(&mut canvas, arm);
        figure.draw_band(&mut canvas, arm);
    }
    figure.draw_head(&mut canvas);
    figure.draw_hair(&mut canvas);
    canvas
}

/// Lights the backdrop like a studio wall, brighter in the middle.
fn light_backdrop(canvas: &mut Canvas) {
    let (w, h) = (canvas.width as f32, canvas.height as f32);
    for (i, colour) in canvas.rgb.iter_mut().enumerate() {
        let x = ((i % canvas.width) as f32 + 0.5) / w - 0.5;
        let y = ((i / canvas.width) as f32 + 0.5) / h - 0.4;
        *colour = canvas::lit(*colour, 1.03 - 0.22 * (x * x + y * y));
    }
}

/// The picture with torso and arms gray, except where a kept part covers them.
fn agnostic_picture(finished: &Canvas, body: &Body) -> Vec<Rgb> {
    let blank = finished.mask(&body.blank());
    let pixels = finished.rgb.iter().zip(&finished.kept).zip(&blank.cover);
    pixels.map(|((&colour, kept), blank)| mix(colour, [0.5; 3], blank * (1.0 - kept))).collect()
}

/// Draws the garment alone and returns its mask, with a soft edge.
fn draw_warped(garment: &Garment, body: &Body, canvas: &mut Canvas) -> Mask {
    let mut all = Mask::empty(canvas.height, canvas.width);
    for arm in &body.arms {
        all = all.or(&garment.draw_sleeve(canvas, arm));
    }
    all = all.or(&garment.draw_trunk(canvas, body));
    all.blurred((0.0015 * canvas.scale()).max(0.5))
}

/// From pixels in [0, 1] to planes (3, H, W) in [-1, 1].
fn planes(rgb: &[Rgb]) -> Vec<f32> {
    (0..3).flat_map(|c| rgb.iter().map(move |pixel| pixel[c] * 2.0 - 1.0)).collect()
}

/// A label map (H, W) of independent random classes: the worst case for code that relies on flat regions.
pub fn random_labels(seed: u64, pixels: usize) -> Vec<u8> {
    let mut rng = rng::Rng::new(seed, 0);
    (0..pixels).map(|_| (rng.unit() * f32::from(alias_model::CLASSES)) as u8).collect()
}

#[cfg(test)]
mod tests;
