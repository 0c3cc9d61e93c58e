//! The generator in an application: load a checkpoint, draw, look at the pixels.
//!
//! `cargo run --release --example embed -- WEIGHTS INPUTS`, for instance with `tests/golden/checkpoint.pth` and
//! `tests/golden/most_hard_mask.safetensors`.

use alias_model::{Checkpoint, Device, Noise, Painter, Sample};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(weights), Some(inputs)) = (arguments.next(), arguments.next()) else {
        return Err("usage: embed WEIGHTS INPUTS".into());
    };
    let device = Device::auto()?; // or Gpu::from_device(device, queue), if you have them, or Device::cores(options)
    let painter = Painter::load(&device, &Checkpoint::read(weights)?)?;
    let sample = Sample::from_tensors(&Checkpoint::read(inputs)?)?; // or fill in its fields yourself
    let pixels = painter.draw(&sample, Noise::None)?; // (N, 3, H, W) in [-1, 1]
    println!("{}x{}, first pixel {:.3}", sample.height, sample.width, pixels[0]);
    Ok(())
}
