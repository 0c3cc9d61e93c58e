//! A server's case: one painter, several threads, a thousand images. In a process of its own, whose memory is measured.

use alias_model::{Architecture, Config, CpuOptions, Device, Layers, Noise, Painter, fill};
use tryon::scene;

/// What a thousand images may leave behind: an image of this size takes some 800 KiB of buffers.
const GROWTH: usize = 2 << 20;

#[test]
fn a_thousand_images_leave_nothing_behind() {
    let config = Config { layers: Layers::More, ..Config::PUBLISHED.with_ngf(3) };
    let device = Device::cores(CpuOptions::default()).unwrap();
    let painter = Painter::load(device, &fill(&Architecture::new(config).unwrap(), 5)).unwrap();
    let sample = scene::draw(1, 64, 64).sample;
    let draw = |images: u64| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (painter, sample) = (&painter, &sample);
                scope.spawn(move || {
                    for image in 0..images / 4 {
                        painter.draw(sample, Noise::Seed(images * thread + image)).unwrap();
                    }
                });
            }
        });
        memory_stats::memory_stats().map_or(0, |stats| stats.physical_mem)
    };
    // Allocators and threads keep what they had first.
    let before = draw(200);
    let after = draw(1000);
    assert!(after < before + GROWTH, "{} KiB more after a thousand images", (after - before) >> 10);
}
