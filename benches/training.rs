//! A training step: an update of the discriminator and one of the generator, VGG-19 included, with random weights.
//!
//! `cargo bench --bench training`. Prints the operations of a step and its peak device memory.

use alias_model::{DiscriminatorConfig, GeneratorConfig, Inputs, Vgg19Config, fill};
use alias_tensor::{Gpu, GpuOptions, Tensor};
use alias_train::{Batch, Trainer, TrainerOptions, Vgg19};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::error::Error;

/// Width of the generator (ngf), divisor of VGG-19's widths, height and width of the image.
const FULL: [(usize, usize, [usize; 2]); 1] = [(64, 1, [256, 128])];
const TEST: [(usize, usize, [usize; 2]); 1] = [(2, 32, [128, 128])];

fn trainer(gpu: &Gpu, ngf: usize, divisor: usize) -> alias_train::Result<Trainer> {
    let config = GeneratorConfig::PUBLISHED.with_ngf(ngf);
    let discriminator = DiscriminatorConfig { ndf: ngf, ..DiscriminatorConfig::SPADE };
    let vgg = Vgg19::load(gpu, &fill(&Vgg19Config { divisor }.network()?, 3))?;
    let weights = fill(&config.network()?, 1);
    let judge = fill(&discriminator.network().unwrap(), 2);
    Trainer::new(gpu, (config, &weights), (discriminator, &judge), Some(vgg), TrainerOptions::default())
}

fn steps(c: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let cases = if std::env::args().any(|argument| argument == "--test") { TEST } else { FULL };
    for (ngf, divisor, [height, width]) in cases {
        let gpu = Gpu::open(&GpuOptions::default())?;
        let mut trainer = trainer(&gpu, ngf, divisor)?;
        let scene = alias_scene::draw(1, height, width);
        let batch = [Batch {
            inputs: Inputs::new(&gpu, &scene.sample)?,
            real: Tensor::new(&gpu, &[1, 3, height, width], &scene.truth)?,
        }];
        trainer.step(&batch)?;
        let before = gpu.counters();
        trainer.step(&batch)?;
        let after = gpu.counters();
        let (flops, launches) = (after.flops - before.flops, after.launches - before.launches);
        let (live, device) = (after.peak_live_bytes >> 20, after.peak_device_bytes >> 20);
        let name = format!("ngf {ngf} {height}x{width}");
        let gflop = flops as f64 / 1e9;
        println!("{name}: {gflop:.1} GFLOP, {launches} launches, at most {live} MiB held, {device} on the device");
        let mut group = c.benchmark_group(format!("{} step of training", gpu.info().name));
        group.sample_size(10).throughput(Throughput::Elements(flops));
        group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(|| trainer.step(&batch).expect("a step")));
        group.finish();
    }
    Ok(())
}

fn training(c: &mut Criterion) {
    steps(c).unwrap_or_else(|error| panic!("{error}"));
}

criterion_group!(benches, training);
criterion_main!(benches);
