//! The whole generator, with random weights and a drawn person.
//!
//! `cargo bench --bench generator`. Criterion's elements are floating-point operations, its bytes the bytes moved, both
//! for one image. `tryon bench` gives the time of each step.

use alias_model::{Generator, GeneratorConfig, Inputs, Noise, Painter, PlanOptions, SpadeMethod, fill};
use alias_tensor::{Counters, Gpu, GpuOptions};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::time::Instant;

/// Width of the generator (ngf), height and width of the image. The first alone is run with `--test`.
const CASES: [(usize, usize, usize); 2] = [(8, 256, 128), (64, 256, 128)];

fn measure(c: &mut Criterion, gpu: &Gpu, name: &str, draw: impl Fn() -> Vec<f32>) {
    draw();
    let before = gpu.counters();
    draw();
    let after = gpu.counters();
    let of = |count: fn(&Counters) -> u64| count(&after) - count(&before);
    let (flops, bytes) = (of(|c| c.flops), of(|c| c.bytes_moved));
    println!("{name}: {:.1} GFLOP, {} launches", flops as f64 / 1e9, of(|c| c.launches));
    let mut group = c.benchmark_group(format!("{} generator", gpu.info().name));
    group.sample_size(10);
    group.throughput(Throughput::ElementsAndBytes { elements: flops, bytes });
    group.bench_function(BenchmarkId::from_parameter(name), |b| {
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

fn generator(c: &mut Criterion) {
    let gpu = Gpu::open(&GpuOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let cases = if std::env::args().any(|argument| argument == "--test") { &CASES[..1] } else { &CASES };
    for &(ngf, height, width) in cases {
        let architecture = GeneratorConfig::PUBLISHED.with_ngf(ngf).network().unwrap_or_else(|e| panic!("{e}"));
        let checkpoint = fill(&architecture, 1);
        let sample = alias_scene::draw(1, height, width).sample;
        let size = format!("ngf {ngf} {height}x{width}");
        {
            let painter = Painter::load(&gpu, &checkpoint).unwrap_or_else(|e| panic!("{e}"));
            for (name, keeps_tables) in [("planned", false), ("planned, tables kept", true)] {
                let options = PlanOptions { keeps_tables, ..Default::default() };
                let person = painter.person(&sample, options).unwrap_or_else(|e| panic!("{e}"));
                let draw = || person.draw(&sample, Noise::None).expect("the sample fits");
                measure(c, &gpu, &format!("{size}, {name}"), draw);
            }
        }
        let generator = Generator::load(&gpu, &checkpoint).unwrap_or_else(|e| panic!("{e}"));
        let inputs = Inputs::new(&gpu, &sample).unwrap_or_else(|e| panic!("{e}"));
        for (name, modulation) in [("tape, by table", SpadeMethod::Table), ("tape, dense", SpadeMethod::Dense)] {
            let image = || generator.forward_with(&inputs, Noise::None, modulation, |_, _| {});
            measure(c, &gpu, &format!("{size}, {name}"), || {
                image().expect("the sample fits").to_vec().expect("a device")
            });
        }
    }
}

criterion_group!(benches, generator);
criterion_main!(benches);
