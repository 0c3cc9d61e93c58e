//! The operations at shapes of the 1024x768 generator (ngf 64).
//!
//! `cargo bench --bench kernels`. Criterion's elements are floating-point operations, its bytes those of the operands.
//! Each loop ends with one synchronization. With `--test`, heights and widths are an eighth.

use alias_kernels::plan::{DeviceBuffers, StepWeights, staged_elements};
use alias_kernels::{conv2d, instance_norm, leaky_relu, mask_norm, modulate, resize};
use alias_plan::{Activation, Buffer, BufferId, Convolution, Input, Method, Operand, Plan, Precision, Role, Step};
use alias_tensor::{Error, Gpu, GpuOptions, Recording, Result, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::time::{Duration, Instant};

/// Convolutions at full size: name, channels in and out, height, width, side of the kernel.
const CONVOLUTIONS: [(&str, usize, usize, usize, usize, usize); 8] = [
    ("up_1.conv_0", 528, 256, 128, 96, 3),
    ("up_2.conv_0", 272, 128, 256, 192, 3),
    ("up_3.conv_0", 144, 64, 512, 384, 3),
    ("up_4.conv_0", 80, 32, 1024, 768, 3),
    ("up_4.conv_1", 32, 32, 1024, 768, 3),
    ("up_4.conv_s", 80, 32, 1024, 768, 1),
    ("up_3.norm_0.conv_gamma", 128, 144, 512, 384, 3),
    ("up_3.norm_0.conv_shared", 7, 128, 512, 384, 3),
];

/// Elementwise operations and normalizations: channels, height, width.
const PLANES: [(usize, usize, usize); 2] = [(144, 512, 384), (32, 1024, 768)];

fn filled(gpu: &Gpu, shape: &[usize]) -> Option<Tensor> {
    let elements: usize = shape.iter().product();
    let values: Vec<f32> = (0..elements).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect();
    // The largest shapes exceed some adapters' bindings. They are left out with a message.
    Tensor::new(gpu, shape, &values).inspect_err(|e| eprintln!("left out: {e}")).ok()
}

fn measure(c: &mut Criterion, gpu: &Gpu, op: &str, shape: &str, run: impl Fn() -> Result<Tensor>) {
    let before = gpu.counters();
    if let Err(error) = run().and_then(|y| y.to_vec()) {
        assert!(matches!(error, Error::Limit { .. }), "{op} {shape}: {error}");
        eprintln!("left out: {op} {shape}: {error}");
        return;
    }
    let after = gpu.counters();
    let mut group = c.benchmark_group(format!("{} {op}", gpu.info().name));
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::ElementsAndBytes {
        elements: after.flops - before.flops,
        bytes: after.bytes_moved - before.bytes_moved,
    });
    group.bench_function(BenchmarkId::from_parameter(shape), |b| {
        b.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                run().expect("it ran before");
            }
            gpu.synchronize().expect("the device is there");
            start.elapsed()
        });
    });
    group.finish();
}

/// A plan of one convolution of buffer 0, staged in buffer 1 if at all, to buffer 2; without normalization.
fn plan([cin, cout, height, width, kernel]: [usize; 5], method: Method) -> Plan {
    let operands = vec![Operand { buffer: BufferId(0), channels: cin, height, width }];
    let step = Convolution {
        name: String::new(),
        kernel,
        stride: 1,
        padding: kernel / 2,
        input: Input { batch: 1, height, width, operands, noise: None, norm: None, slope: 0.2 },
        cout,
        rows: 0..height,
        accumulate: false,
        activation: Activation::LeakyRelu(1.0),
        output: BufferId(2),
        method,
        scratch: Some(BufferId(1)),
    };
    let scratch = if let Method::Staged(rows) = method { staged_elements(&step, rows) } else { 1 };
    let buffer =
        |(name, elements): (&str, usize)| Buffer { name: name.into(), elements, activations: true, role: Role::Kept };
    let buffers = [("x", cin * height * width), ("scratch", scratch), ("y", cout * height * width)];
    Plan {
        precision: Precision::F32,
        block: 1,
        buffers: buffers.map(buffer).into(),
        steps: vec![Step::Convolution(step)],
    }
}

fn planned(c: &mut Criterion, gpu: &Gpu, plan: Plan, weight: [usize; 2], shape: &str, x: &Tensor) -> Result<()> {
    let weight = Tensor::empty(gpu, &weight)?;
    let Step::Convolution(Convolution { method, .. }) = plan.steps[0] else { unreachable!("a convolution") };
    let name = match method {
        Method::Fused => "fused",
        Method::Winograd(_) => "winograd",
        Method::Staged(_) => "staged",
    };
    let buffers = DeviceBuffers::new(gpu, plan)?;
    buffers.write(BufferId(0), 0, &x.to_vec()?)?;
    let mut recording = Recording::new(gpu);
    buffers.record(&mut recording, 0, StepWeights::Convolution(&weight))?;
    let done = Tensor::empty(gpu, &[1])?;
    let run = || {
        recording.submit()?;
        Ok(done.clone())
    };
    measure(c, gpu, name, shape, run);
    Ok(())
}

fn kernels(c: &mut Criterion) {
    let gpu = Gpu::open(&GpuOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let divisor = if std::env::args().any(|argument| argument == "--test") { 8 } else { 1 };
    for (name, cin, cout, h, w, k) in CONVOLUTIONS {
        let (h, w) = (h / divisor, w / divisor);
        let (Some(x), Some(weight)) = (filled(&gpu, &[1, cin, h, w]), filled(&gpu, &[cout, cin, k, k])) else {
            continue;
        };
        let shape = format!("{name} {cin}->{cout} {h}x{w}");
        measure(c, &gpu, "conv2d", &shape, || conv2d(&x, &weight, None, 1, k / 2));
        for method in [Method::Fused, Method::Winograd(2), Method::Staged(16)] {
            if method != Method::Winograd(2) || k == 3 {
                let weight = [cin * method.taps(k) + 1, cout.next_multiple_of(4)];
                match planned(c, &gpu, plan([cin, cout, h, w, k], method), weight, &shape, &x) {
                    Err(error @ Error::Limit { .. }) => eprintln!("left out: {method:?} {shape}: {error}"),
                    done => done.unwrap_or_else(|error| panic!("{method:?} {shape}: {error}")),
                }
            }
        }
    }
    for (channels, h, w) in PLANES {
        let (h, w) = (h / divisor, w / divisor);
        let (Some(x), Some(y)) = (filled(&gpu, &[1, channels, h, w]), filled(&gpu, &[1, channels, h, w])) else {
            continue;
        };
        let Some(mask) = filled(&gpu, &[1, 1, h, w]) else { continue };
        let shape = format!("{channels} {h}x{w}");
        measure(c, &gpu, "leaky_relu", &shape, || leaky_relu(&x, 0.2));
        measure(c, &gpu, "modulate", &shape, || modulate(&x, &y, &y, 1.0));
        measure(c, &gpu, "instance_norm", &shape, || instance_norm(&x, 1e-5));
        measure(c, &gpu, "mask_norm", &shape, || mask_norm(&x, &mask, 1e-5));
        measure(c, &gpu, "resize", &shape, || resize(&x, h / 2, w / 2));
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
