//! Draws an image in an application: `cargo run --release --example embed -- WEIGHTS INPUTS`
//!
//! WEIGHTS is a checkpoint, INPUTS a safetensors file with agnostic, pose, warped_cloth, warped_mask and labels. Two to
//! try it with are `tests/golden/checkpoint.pth` and `tests/golden/most_hard_mask.safetensors`.

use alias_model::{Checkpoint, Device, Noise, Painter, Sample};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(weights), Some(inputs)) = (arguments.next(), arguments.next()) else {
        return Err("usage: embed WEIGHTS INPUTS".into());
    };
    // A GPU if there is one, else processor cores. An application with a wgpu device passes Gpu::from_device(device,
    // queue).
    let device = Device::auto()?;
    let painter = Painter::load(&device, &Checkpoint::read(weights)?)?;
    let sample = Sample::from_tensors(&Checkpoint::read(inputs)?)?;
    let pixels = painter.draw(&sample, Noise::None)?; // (N, 3, H, W) in [-1, 1]
    println!("drew {}x{}, red of the first pixel: {:.3}", sample.height, sample.width, pixels[0]);
    Ok(())
}
