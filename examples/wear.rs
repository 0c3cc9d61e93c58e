//! A person's photo and a garment's to a photo of the person in that garment: VITON-HD's three networks in an application.
//!
//! `cargo run --release --example wear -- WEIGHTS PERSON PARSE KEYPOINTS GARMENT OUT.png`, where WEIGHTS is a folder with
//! `seg_final.pth`, `gmm_final.pth` and `alias_final.pth`, PARSE a human parser's map of LIP's labels, and KEYPOINTS
//! OpenPose's JSON. The garment lies on a plain background.

use alias_model::preprocess::{Keypoints, Labels, labels::LabelSet};
use alias_model::{Checkpoint, Checkpoints, Device, Framing, GarmentPhoto, PersonPhoto, Seeds, TryOn};
use alias_pictures::images::{read_labels, read_rgb8, write_rgb8};
use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, person, parse, keypoints, garment, out] = &arguments[..] else {
        return Err("usage: wear WEIGHTS PERSON PARSE KEYPOINTS GARMENT OUT".into());
    };
    let (photo, garment) = (read_rgb8(Path::new(person))?, read_rgb8(Path::new(garment))?);
    let [height, width] = photo.size();
    let (keypoints, mut warnings) = Keypoints::from_json(&std::fs::read(keypoints)?, height, width)?;
    let map = read_labels(Path::new(parse))?;
    let (labels, more) = LabelSet::Lip.read(&Labels::new(map.height, map.width, map.data)?, Some(&keypoints))?;
    warnings.extend(more);

    let read = |name: &str| Checkpoint::read(Path::new(weights).join(name));
    let (segmentation, matching, generator) =
        (read("seg_final.pth")?, read("gmm_final.pth")?, read("alias_final.pth")?);
    let checkpoints = Checkpoints { segmentation: &segmentation, matching: &matching, generator: &generator };
    let try_on = TryOn::load(Device::auto()?, &checkpoints)?;

    // Each prepared once; then any person can be drawn in any garment.
    let framing = Framing::of_size([1024, 768]);
    let person = PersonPhoto { photo: &photo, labels: &labels, keypoints: &keypoints, skeleton: None };
    let person = try_on.person(&person, framing)?;
    let garment = GarmentPhoto { photo: &garment, mask: None, replaces_background: false };
    let garment = try_on.garment_photo(&garment, framing)?;
    warnings.extend(person.warnings.iter().chain(&garment.warnings).cloned());
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));

    let worn = try_on.draw(&person.wearer, &garment.garment, Seeds::default())?;
    write_rgb8(Path::new(out), &person.paste(&worn)?)?;
    Ok(())
}
