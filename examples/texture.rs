//! Draws an image on the application's own GPU and copies it into a texture as large as a window. Only a check at the
//! end reads it back to the host.
//!
//! `cargo run --release --example texture`. Uses the default adapter and random weights.

use alias_model::{GeneratorConfig, Layers, Noise, Painter, PlanOptions, fill, planes_to_rgb8};
use alias_tensor::{Gpu, wgpu};
use std::error::Error;

/// Width and height of the window.
const WINDOW: [u32; 2] = [320, 256];

fn main() -> Result<(), Box<dyn Error>> {
    // The application's device and queue.
    let instance = wgpu::Instance::default();
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
    let window = wgpu::Extent3d { width: WINDOW[0], height: WINDOW[1], depth_or_array_layers: 1 };
    let texture = device.create_texture(&wgpu::TextureDescriptor {
        label: Some("window"),
        size: window,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage: wgpu::TextureUsages::COPY_DST | wgpu::TextureUsages::COPY_SRC | wgpu::TextureUsages::TEXTURE_BINDING,
        view_formats: &[],
    });

    // A painter on that device, and a person who is planned once and can be drawn in any number of garments.
    let gpu = Gpu::from_device(device.clone(), queue.clone());
    let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(4) };
    let painter = Painter::load(&gpu, &fill(&config.network()?, 1))?;
    let sample = alias_scene::draw(1, 256, 192).sample;
    let person = painter.person(&sample, PlanOptions::default())?;
    let image = person.draw_to_rgba8(&sample, Noise::None)?;

    // Copies the buffer to the middle of the texture. wgpu needs rows of a multiple of 256 bytes, which is 64 pixels.
    let slice = image.buffer()?;
    let size = wgpu::Extent3d { width: 192, height: 256, depth_or_array_layers: 1 };
    let layout = |width: u32, offset| wgpu::TexelCopyBufferLayout {
        offset,
        bytes_per_row: Some(4 * width),
        rows_per_image: None,
    };
    let mut encoder = device.create_command_encoder(&Default::default());
    let from = wgpu::TexelCopyBufferInfo { buffer: slice.buffer(), layout: layout(size.width, slice.offset()) };
    let origin = wgpu::Origin3d { x: (window.width - size.width) / 2, y: 0, z: 0 };
    let to = wgpu::TexelCopyTextureInfo { origin, ..texture.as_image_copy() };
    encoder.copy_buffer_to_texture(from, to, size);

    // Reads the texture back and checks it.
    let bytes = u64::from(4 * size.width * size.height);
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let read =
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size: bytes, usage, mapped_at_creation: false });
    let from = wgpu::TexelCopyTextureInfo { origin, ..texture.as_image_copy() };
    encoder.copy_texture_to_buffer(
        from,
        wgpu::TexelCopyBufferInfo { buffer: &read, layout: layout(size.width, 0) },
        size,
    );
    queue.submit([encoder.finish()]);
    read.map_async(wgpu::MapMode::Read, .., |mapped| mapped.expect("the buffer is mapped"));
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let rgba = read.get_mapped_range(..)?.to_vec();

    let expected = planes_to_rgb8(&person.draw(&sample, Noise::None)?);
    let rgb: Vec<u8> = rgba.chunks(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
    if rgb != expected {
        return Err("the image in the texture is not the one drawn to the host".into());
    }
    println!("{}x{} in a texture of {}x{}, as drawn to the host", size.height, size.width, window.height, window.width);
    Ok(())
}
