//! A training step: an update of the discriminator and one of the generator, VGG-19 included, with random weights.
//!
//! `cargo bench --bench training`, on processor cores and, if there is an adapter, on a GPU. Prints the operations of a step and
//! its peak memory. `tryon bench --train` tells what each kernel takes.

use alias_model::{DiscriminatorConfig, GeneratorConfig, Inputs, Vgg19Config, fill};
use alias_tensor::{CpuOptions, Device, Gpu, GpuOptions, Tensor, adapters};
use alias_train::{Batch, Trainer, TrainerOptions, Vgg19};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::error::Error;

/// Width of the generator (ngf), divisor of VGG-19's widths, height and width of the image.
const FULL: [(usize, usize, [usize; 2]); 1] = [(64, 1, [256, 128])];
const TEST: [(usize, usize, [usize; 2]); 1] = [(2, 32, [128, 128])];

fn trainer(device: &Device, ngf: usize, divisor: usize) -> alias_train::Result<Trainer> {
    let config = GeneratorConfig::PUBLISHED.with_ngf(ngf);
    let discriminator = DiscriminatorConfig { ndf: ngf, ..DiscriminatorConfig::SPADE };
    let vgg = Vgg19::load(device, &fill(&Vgg19Config { divisor }.network()?, 3))?;
    let weights = fill(&config.network()?, 1);
    let judge = fill(&discriminator.network().unwrap(), 2);
    Trainer::new(device, (config, &weights), (discriminator, &judge), Some(vgg), TrainerOptions::default())
}

fn steps(c: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let cases = if std::env::args().any(|argument| argument == "--test") { TEST } else { FULL };
    let mut devices = vec![("cores".to_owned(), Device::cores(CpuOptions::default())?)];
    if !adapters().is_empty() {
        let gpu = Gpu::open(&GpuOptions::default())?;
        devices.push((gpu.info().name, gpu.into()));
    }
    for ((adapter, device), (ngf, divisor, [height, width])) in
        devices.iter().flat_map(|device| cases.into_iter().map(move |case| (device, case)))
    {
        let mut trainer = trainer(device, ngf, divisor)?;
        let scene = alias_scene::draw(1, height, width);
        let batch = [Batch {
            inputs: Inputs::new(device, &scene.sample)?,
            real: Tensor::new(device, &[1, 3, height, width], &scene.truth)?,
        }];
        trainer.step(&batch)?;
        let before = device.counters();
        trainer.step(&batch)?;
        let after = device.counters();
        let (flops, launches) = (after.flops - before.flops, after.launches - before.launches);
        let (live, allocated) = (after.peak_live_bytes >> 20, after.peak_device_bytes >> 20);
        let name = format!("ngf {ngf} {height}x{width}");
        let gflop = flops as f64 / 1e9;
        println!(
            "{adapter}, {name}: {gflop:.1} GFLOP, {launches} launches, at most {live} MiB held, {allocated} allocated"
        );
        let mut group = c.benchmark_group(format!("{adapter} step of training"));
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
