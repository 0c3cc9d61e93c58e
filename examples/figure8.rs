//! Draws figure 8, with and without mask norm: `cargo run --release --example figure8 -- ALIAS PLAIN DATASET OUT.png`
//!
//! ALIAS and PLAIN are the weights of two generators, drawn side by side and enlarged where the garment is misaligned.
//! The rows are the examples whose cut-outs have the most misaligned pixels. docs/figure8.md has the commands that
//! train the generators.

use alias_model::{Device, Noise, Painter, Sample, misaligned};
use alias_pictures::dataset::Dataset;
use alias_pictures::images::{Image, write_sheet};
use alias_pictures::sheet;
use std::error::Error;
use std::path::Path;

const ROWS: usize = 6;
const TITLES: [&str; 6] = ["agnostic", "garment", "mask", "plain", "alias", "truth"];
/// The enlargement: a cut-out has this fraction of the picture's height and width.
const ENLARGED: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [alias, plain, data, out] = &arguments[..] else {
        return Err("usage: figure8 ALIAS PLAIN DATASET OUT.png".into());
    };
    let device = Device::auto()?;
    let load = |path: &str| -> Result<Painter, Box<dyn Error>> {
        Ok(Painter::load(&device, &alias_train::read_generator(Path::new(path))?)?)
    };
    let (alias, plain) = (load(alias)?, load(plain)?);
    let dataset = Dataset::open(Path::new(data))?;
    let mut examples = Vec::new();
    for index in 0..dataset.len() {
        let (misaligned, corner) = most_misaligned(&dataset.read(index)?.sample);
        examples.push((misaligned, index, corner));
    }
    examples.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut rows = Vec::new();
    for (_, index, corner) in examples.into_iter().take(ROWS) {
        let example = dataset.read(index)?;
        let sample = &example.sample;
        let image = |data| Image { height: sample.height, width: sample.width, data };
        let drawn = image(alias.draw(sample, Noise::None)?);
        let [agnostic, _, _, garment, mask, alias, truth] = sheet::columns(sample, drawn, image(example.truth));
        let plain = image(plain.draw(sample, Noise::None)?);
        rows.push([agnostic, garment, mask, plain, alias, truth].map(|image| cut(&image, corner)).to_vec());
    }
    let [height, _] = dataset.size();
    Ok(write_sheet(Path::new(out), &sheet::sheet(&TITLES, &rows, height))?)
}

/// The number of misaligned pixels in the cut-out that has the most, and that cut-out's upper left corner.
fn most_misaligned(sample: &Sample) -> (f32, [usize; 2]) {
    let (height, width) = (sample.height / ENLARGED, sample.width / ENLARGED);
    let corners = (0..=sample.height - height)
        .step_by(4)
        .flat_map(|y| (0..=sample.width - width).step_by(4).map(move |x| [y, x]));
    let within = |[top, left]: [usize; 2]| -> f32 {
        let pixels = (top..top + height).flat_map(|y| (left..left + width).map(move |x| y * sample.width + x));
        pixels.map(|at| misaligned(sample, at)).sum()
    };
    corners.map(|corner| (within(corner), corner)).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default()
}

fn cut(image: &Image, [top, left]: [usize; 2]) -> Image {
    let (height, width) = (image.height / ENLARGED, image.width / ENLARGED);
    let mut out = Image::filled(height, width, [0.0; 3]);
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        out.set_pixel(y, x, image.pixel(top + y, left + x));
    }
    out
}
