//! The whole generator, weights drawn from a seed, on a drawn person.
//!
//! `cargo bench --bench generator`. Throughput is in floating-point operations (as elements) and in bytes bound by the
//! launches of one image.

use alias_model::{Architecture, Config, Generator, Inputs, Modulation, Noise, fill};
use alias_tensor::{Gpu, GpuOptions};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::time::Instant;
use tryon::scene;

/// Width, height and width of the image.
const CASES: [(usize, usize, usize); 2] = [(8, 256, 128), (64, 256, 128)];

fn generator(c: &mut Criterion) {
    let gpu = Gpu::open(&GpuOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    for (ngf, height, width) in CASES {
        let architecture = Architecture::new(Config::PUBLISHED.with_ngf(ngf)).unwrap_or_else(|e| panic!("{e}"));
        let checkpoint = fill(&architecture, 1);
        let generator = Generator::load(&gpu, &checkpoint).unwrap_or_else(|e| panic!("{e}"));
        drop(checkpoint);
        let inputs = Inputs::new(&gpu, &scene::draw(1, height, width).sample).unwrap_or_else(|e| panic!("{e}"));
        for modulation in [Modulation::Table, Modulation::Dense] {
            let image = || generator.forward_with(&inputs, Noise::None, modulation, |_, _| {});
            let draw = || image().expect("the sample fits").to_vec().expect("a device");
            draw();
            let before = gpu.counters();
            draw();
            let after = gpu.counters();
            let gflop = (after.flops - before.flops) as f64 / 1e9;
            println!(
                "ngf {ngf} {height}x{width} {modulation:?}: {gflop:.1} GFLOP, {} launches",
                after.launches - before.launches
            );
            let mut group = c.benchmark_group(format!("{} generator", gpu.info().name));
            group.sample_size(10);
            group.throughput(Throughput::ElementsAndBytes {
                elements: after.flops - before.flops,
                bytes: after.bytes_moved - before.bytes_moved,
            });
            let id = BenchmarkId::from_parameter(format!("ngf {ngf} {height}x{width} {modulation:?}"));
            group.bench_function(id, |b| {
                b.iter_custom(|iterations| {
                    let start = Instant::now();
                    for _ in 0..iterations {
                        draw();
                    }
                    start.elapsed()
                });
            });
            group.finish();
        }
    }
}

criterion_group!(benches, generator);
criterion_main!(benches);
