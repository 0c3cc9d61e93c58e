//! Picture files to a picture file: an application without the `tryon` command.
//!
//! `cargo run --release --example dress -- WEIGHTS FOLDER NAME OUT.png`, for instance, after `make demo`, with
//! `crates/tryon/assets/demo.safetensors demo 01.png dressed.png`.

use alias_model::{Checkpoint, Device, Noise, Painter, Sample, planes_to_rgb8};
use alias_pictures::images::read_labels;
use image::{GrayImage, ImageFormat, RgbImage};
use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, folder, name, out] = &arguments[..] else {
        return Err("usage: dress WEIGHTS FOLDER NAME OUT".into());
    };
    let path = |kind: &str| Path::new(folder).join(kind).join(name);
    let rgb = |kind: &str| image::open(path(kind)).map(|picture| picture.into_rgb8());
    let (person, garment) = (rgb("agnostic")?, rgb("cloth")?);
    let (width, height) = person.dimensions();

    let mask = image::open(path("cloth-mask"))?.into_luma8();
    let labels = read_labels(&path("parse"))?; // a palette's indices, which `image` does not give
    let labels = GrayImage::from_raw(width, height, labels.data).ok_or("labels of another size")?;
    let sample = Sample::from_images(&person, &rgb("pose")?, &garment, &mask, &labels)?;

    let painter = Painter::load(Device::auto()?, &Checkpoint::read(weights)?)?;
    let pixels = planes_to_rgb8(&painter.draw(&sample, Noise::None)?);
    RgbImage::from_raw(width, height, pixels).ok_or("no picture")?.save_with_format(out, ImageFormat::Png)?;
    Ok(())
}
