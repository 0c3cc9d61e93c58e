//! The time, operations and memory of a step of training.

use super::measurement::{resident, timed};
use crate::commands::Drawing;
use crate::device::{DeviceArguments, name};
use alias_model::{Device, DiscriminatorConfig, Inputs, Precision, Vgg19Config, fill};
use alias_tensor::{Counters, KernelTime, Tensor};
use alias_train::{Batch, Observer, Phase, Trainer, TrainerOptions, Vgg19};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

pub(super) fn run(
    drawing: &Drawing,
    with_vgg: bool,
    runs: u32,
    json: bool,
    arguments: &DeviceArguments,
) -> Result<String> {
    ensure!(
        Precision::from(drawing.precision) == Precision::F32,
        "training computes in float32; leave --precision out"
    );
    let [height, width] = drawing.size;
    let config = drawing.config();
    config.layers.check_size(height, width)?;
    let judge = DiscriminatorConfig { ndf: config.ngf, ..DiscriminatorConfig::SPADE };
    let before = resident();
    let device = arguments.open(Precision::F32)?;
    let vgg =
        if with_vgg { Some(Vgg19::load(&device, &fill(&Vgg19Config { divisor: 1 }.network()?, 3))?) } else { None };
    let weights = [fill(&config.network()?, 1), fill(&judge.network()?, 2)];
    let mut trainer =
        Trainer::new(&device, (config, &weights[0]), (judge, &weights[1]), vgg, TrainerOptions::default())?;
    drop(weights);
    let scene = alias_scene::draw(1, height, width);
    let batch = [Batch {
        inputs: Inputs::new(&device, &scene.sample)?,
        real: Tensor::new(&device, &[1, 3, height, width], &scene.truth)?,
    }];
    let step = |trainer: &mut Trainer| {
        trainer.step(&batch)?;
        Ok(device.synchronize()?)
    };
    let (first, ()) = timed(|| step(&mut trainer))?;
    let counted = device.counters();
    let mut times = (0..runs).map(|_| Ok(timed(|| step(&mut trainer))?.0)).collect::<Result<Vec<_>>>()?;
    times.sort();
    let counters = device.counters();
    let per_step = |count: u64| count / u64::from(runs);
    let (flops, bytes) =
        (per_step(counters.flops - counted.flops), per_step(counters.bytes_moved - counted.bytes_moved));
    let (launches, submits) =
        (per_step(counters.launches - counted.launches), per_step(counters.submits - counted.submits));
    let peak = match &device {
        Device::Gpu(_) => counters.peak_device_bytes,
        Device::Cores(_) => resident().saturating_sub(before),
    };
    let (median, minimum) = (times[times.len() / 2], times[0]);
    let mut phases = Phases::start(&device)?;
    trainer.step_with(&batch, &mut phases)?;
    let round = |v: f64| (v * 1e3).round() / 1e3;
    let mib = |bytes: u64| round(bytes as f64 / f64::from(1 << 20));
    if json {
        let report = serde_json::json!({
            "adapter": name(&device),
            "size": format!("{height}x{width}"),
            "ngf": config.ngf,
            "vgg": with_vgg,
            "ms_median": milliseconds(median),
            "ms_min": milliseconds(minimum),
            "ms_first": milliseconds(first),
            "executed_gflop": round(flops as f64 / 1e9),
            "bytes_moved_mib": mib(bytes),
            "launches": launches,
            "submits": submits,
            "peak_mib": mib(peak),
            "peak_held_mib": mib(counters.peak_live_bytes),
            "phases": phases.of.iter().map(|(phase, of)| serde_json::json!({
                "name": phase.name(),
                "ms": milliseconds(of.time),
                "executed_gflop": round(of.flops as f64 / 1e9),
                "bytes_moved_mib": mib(of.bytes),
                "launches": of.launches,
            })).collect::<Vec<_>>(),
        });
        return Ok(format!("{report}\n"));
    }
    let (stepped, kernels) = device.profile(|| trainer.step(&batch))?;
    stepped?;
    let mut kernels: Vec<_> = kernels.into_iter().collect();
    kernels.sort_by_key(|(_, kernel)| std::cmp::Reverse(kernel.time));
    let mut text = table("kernel", kernels);
    text.push('\n');
    text += &table("phase", phases.of.into_iter().map(|(phase, of)| (phase.name().into(), of)).collect());
    text.push('\n');
    writeln!(
        text,
        "{height}x{width}, ngf {}, {}, on {}: a step of one example takes {:.0} ms (median of {runs}; minimum {:.0}, \
         the first {:.0})\n{:.1} GFLOP, {:.0} MiB of tensors read and written, {launches} launches, {submits} submits; at most \
         {:.0} MiB held, {:.0} MiB {}",
        config.ngf,
        if with_vgg { "with VGG-19" } else { "without VGG-19" },
        name(&device),
        milliseconds(median),
        milliseconds(minimum),
        milliseconds(first),
        flops as f64 / 1e9,
        mib(bytes),
        mib(counters.peak_live_bytes),
        mib(peak),
        if matches!(device, Device::Gpu(_)) { "on the device" } else { "grown" },
    )?;
    Ok(text)
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// What each phase of a step takes. The device finishes each before the next, so that together they take a little longer than
/// a step.
struct Phases<'a> {
    device: &'a Device,
    since: Instant,
    before: Counters,
    of: BTreeMap<Phase, KernelTime>,
}

impl<'a> Phases<'a> {
    fn start(device: &'a Device) -> Result<Phases<'a>> {
        device.synchronize()?;
        Ok(Phases { device, since: Instant::now(), before: device.counters(), of: BTreeMap::new() })
    }
}

impl Observer for &mut Phases<'_> {
    fn tensor(&mut self, _: &str, _: &Tensor) {}

    fn launched(&mut self, phase: Phase) {
        // An error here is one of the step's next launch, too.
        let _ = self.device.synchronize();
        let (now, counters) = (Instant::now(), self.device.counters());
        let of = self.of.entry(phase).or_default();
        of.time += now - self.since;
        of.launches += counters.launches - self.before.launches;
        of.flops += counters.flops - self.before.flops;
        of.bytes += counters.bytes_moved - self.before.bytes_moved;
        (self.since, self.before) = (now, counters);
    }
}

/// What some kernels or phases take, and all of them.
fn table(heading: &str, kernels: Vec<(String, KernelTime)>) -> String {
    let mut text = format!(
        "{:36}{:>9}{:>10}{:>9}{:>10}{:>9}{:>9}\n",
        heading, "launches", "ms", "GFLOP", "GFLOP/s", "MiB", "GB/s"
    );
    let all = kernels.iter().fold(KernelTime::default(), |sum, (_, kernel)| KernelTime {
        launches: sum.launches + kernel.launches,
        flops: sum.flops + kernel.flops,
        bytes: sum.bytes + kernel.bytes,
        time: sum.time + kernel.time,
    });
    for (name, KernelTime { launches, flops, bytes, time }) in kernels.into_iter().chain([("all".into(), all)]) {
        let seconds = time.as_secs_f64();
        text += &format!(
            "{name:36}{launches:9}{:10.1}{:9.2}{:10.1}{:9.0}{:9.1}\n",
            1e3 * seconds,
            flops as f64 / 1e9,
            flops as f64 / 1e9 / seconds,
            bytes as f64 / f64::from(1 << 20),
            bytes as f64 / 1e9 / seconds,
        );
    }
    text
}
