//! Trains a narrow generator on drawn scenes, saves it and loads it again: `cargo run --release --example train`
//!
//! Needs a GPU or a software rasterizer. 16 steps show the API, not a result; the perceptual loss is L1 of pixels, not
//! VGG-19.

use alias_model::{Checkpoint, DiscriminatorConfig, GeneratorConfig, Inputs, Layers, Painter, initialize};
use alias_tensor::{Device, Tensor};
use alias_train::{Batch, Trainer, TrainerOptions};
use std::error::Error;

const SIZE: [usize; 2] = [64, 64];

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::auto()?; // a GPU if there is a real one, else processor cores
    let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(2) };
    let judge = DiscriminatorConfig { ndf: 2, ..DiscriminatorConfig::VITON_HD };
    // Narrow networks tolerate high learning rates. With those, the usual gain of 0.02 leaves matrices of nearly rank
    // 1.
    let generator = initialize(&config.network()?, 1.0, 1);
    let discriminator = initialize(&judge.network()?, 1.0, 2);
    let options = TrainerOptions { generator_rate: 3e-3, constant_steps: 8, decay_steps: 8, ..Default::default() };
    let mut trainer = Trainer::new(&device, (config, &generator), (judge, &discriminator), None, options)?;
    for seed in 1..=16 {
        let [height, width] = SIZE;
        let scene = alias_scene::draw(seed, height, width);
        let inputs = Inputs::new(&device, &scene.sample)?;
        let real = Tensor::new(&device, &[1, 3, height, width], &scene.truth)?;
        // A batch of one part with one example. Several parts are computed one after the other and make one update.
        let losses = trainer.step(&[Batch { inputs, real }])?;
        println!("{seed}: D {:.3}, G {:.3}", losses.discriminator, losses.generator);
    }
    let folder = tempfile::tempdir()?;
    let [checkpoint, weights] = ["checkpoint", "generator"].map(|name| folder.path().join(name));
    trainer.save()?.write_safetensors(&checkpoint)?;
    let resumed = Trainer::resume(&device, &Checkpoint::read(&checkpoint)?, None)?;
    resumed.generator()?.write_safetensors(&weights)?;
    Painter::load(device, &Checkpoint::read(&weights)?)?;
    println!("saved after {} steps, resumed, and loaded to draw", resumed.step_count());
    Ok(())
}
