//! The case of a server: one painter, several threads, a thousand images. A test binary of its own, since it measures
//! the memory of the process.

use alias_model::{CpuOptions, Device, GeneratorConfig, Layers, Noise, Painter, fill};

/// The bytes that a round of images may leave behind: a KiB for each, a thousandth of what it takes.
const GROWTH: usize = ROUND as usize * 1024;
const ROUND: u64 = 200;

#[test]
fn a_thousand_images_leave_nothing_behind() {
    let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(3) };
    let device = Device::cores(CpuOptions::default()).unwrap();
    let painter = Painter::load(device, &fill(&config.network().unwrap(), 5)).unwrap();
    let sample = alias_scene::draw(1, 64, 64).sample;
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
    // Allocators and threads keep some memory in the first round and now and then in another; a leak grows in every
    // round.
    let held: Vec<_> = (0..6).map(|_| draw(ROUND)).collect();
    let least = held.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).min();
    assert!(least < Some(GROWTH), "every round of {ROUND} images leaves memory behind: {held:?} bytes");
}
