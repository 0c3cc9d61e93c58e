//! The generator on processor cores, with random weights and a drawn person: for each set of vector instructions, with
//! one thread, and for each kind of step.
//!
//! `cargo bench --bench cpu`. Criterion's elements are floating-point operations.

use alias_model::plan::{Convolution, Method, Step};
use alias_model::{Cpu, CpuOptions, Device, GeneratorConfig, Instructions, Noise, Painter, Person, PlanOptions, fill};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;

const SIZE: [usize; 2] = [256, 128];

fn kind(step: &Step) -> &'static str {
    match step {
        Step::Table(_) => "tables",
        Step::Noise(_) => "noise",
        Step::Statistics(_) => "statistics",
        Step::Convolution(Convolution { method: Method::Winograd(_), .. }) => "convolutions by Winograd's algorithm",
        Step::Convolution(_) => "other convolutions",
        Step::Pool(_) => "poolings",
        Step::Linear(_) | Step::L2Normalization(_) | Step::Correlation(_) => "matching",
    }
}

fn person(options: CpuOptions) -> (Person, alias_model::Sample) {
    let open = || {
        let checkpoint = fill(&GeneratorConfig::PUBLISHED.network()?, 1);
        let sample = alias_scene::draw(1, SIZE[0], SIZE[1]).sample;
        let painter = Painter::load(Device::cores(options)?, &checkpoint)?;
        Ok::<_, alias_model::Error>((painter.person(&sample, PlanOptions::default())?, sample))
    };
    open().unwrap_or_else(|e| panic!("{e}"))
}

fn cores(c: &mut Criterion) {
    let all = CpuOptions::default();
    let vectors = Cpu::available().into_iter().filter(|&which| which != Instructions::Baseline);
    let by_instructions = vectors.map(|which| (format!("{which}"), CpuOptions { instructions: Some(which), ..all }));
    let one = ("one thread".into(), CpuOptions { threads: Some(1), ..all });
    let mut group = c.benchmark_group(format!("cores {}x{}", SIZE[0], SIZE[1]));
    group.sample_size(10);
    for (name, options) in by_instructions.chain([one]) {
        let (person, sample) = person(options);
        group.throughput(Throughput::Elements(person.cost().plan.flops()));
        group.bench_function(name, |b| b.iter(|| person.draw(&sample, Noise::None).expect("an image")));
    }
    let (person, _) = person(all);
    for which in ["tables", "statistics", "convolutions by Winograd's algorithm", "other convolutions"] {
        let steps = person.steps().iter().filter(|step| kind(step) == which);
        group.throughput(Throughput::Elements(steps.map(Step::flops).sum()));
        group.bench_function(which, |b| {
            b.iter_custom(|iterations| {
                let run = || {
                    let times = person.profile().unwrap_or_else(|e| panic!("{e}"));
                    times.into_iter().filter(|(step, _)| kind(step) == which).map(|(_, time)| time).sum::<Duration>()
                };
                (0..iterations).map(|_| run()).sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, cores);
criterion_main!(benches);
