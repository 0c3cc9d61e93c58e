//! The operations at shapes of the 1024x768 generator (ngf 64).
//!
//! `cargo bench --bench kernels`. Criterion's elements are floating-point operations, its bytes those of the operands.
//! Each loop ends with one synchronization.

use alias_kernels::{
    Buffers, conv2d, instance_norm, leaky_relu, mask_norm, modulate, record_fused_conv2d, record_staged_conv2d,
    record_winograd_conv2d, resize,
};
use alias_plan::{BufferId, Convolution, Input, Method, Precision, Source};
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

/// A plan's convolution without normalization, from buffer 0 to buffer 2. Buffer 1 is the scratch of `Method::Staged`.
fn step([cin, cout, height, width, kernel]: [usize; 5], method: Method) -> Convolution {
    let source = Source { buffer: BufferId(0), channels: cin, height, width };
    Convolution {
        name: String::new(),
        kernel,
        input: Input { batch: 1, height, width, sources: vec![source], noise: None },
        norm: None,
        slope: 0.2,
        cout,
        rows: 0..height,
        accumulate: false,
        tanh: false,
        output: BufferId(2),
        method,
        scratch: Some(BufferId(1)),
    }
}

fn planned(c: &mut Criterion, gpu: &Gpu, step: &Convolution, shape: &str, x: &Tensor) -> Result<()> {
    let taps = step.method.taps(step.kernel);
    let weight = Tensor::empty(gpu, &[step.input.channels() * taps + 1, step.cout.next_multiple_of(4)])?;
    let scratch = Tensor::empty(gpu, &[step.scratch_elements().max(1)])?;
    let y = Tensor::empty(gpu, &[step.cout, step.input.height, step.input.width])?;
    let buffers = [x.clone(), scratch, y];
    let (mut recording, buffers) = (Recording::new(gpu), Buffers(&buffers));
    let name = match step.method {
        Method::Fused => {
            record_fused_conv2d(&mut recording, step, Precision::F32, buffers, &weight).map(|()| "fused")?
        }
        Method::Winograd(_) => {
            record_winograd_conv2d(&mut recording, step, Precision::F32, buffers, &weight).map(|()| "winograd")?
        }
        Method::Staged(_) => {
            record_staged_conv2d(&mut recording, step, Precision::F32, buffers, &weight).map(|()| "staged")?
        }
    };
    let run = || {
        recording.submit()?;
        Ok(buffers.0[2].clone())
    };
    measure(c, gpu, name, shape, run);
    Ok(())
}

fn kernels(c: &mut Criterion) {
    let gpu = Gpu::open(&GpuOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    for (name, cin, cout, h, w, k) in CONVOLUTIONS {
        let (Some(x), Some(weight)) = (filled(&gpu, &[1, cin, h, w]), filled(&gpu, &[cout, cin, k, k])) else {
            continue;
        };
        let shape = format!("{name} {cin}->{cout} {h}x{w}");
        measure(c, &gpu, "conv2d", &shape, || conv2d(&x, &weight, None, 1, k / 2));
        for method in [Method::Fused, Method::Winograd(2), Method::Staged(16)] {
            if method != Method::Winograd(2) || k == 3 {
                let step = step([cin, cout, h, w, k], method);
                match planned(c, &gpu, &step, &shape, &x) {
                    Err(error @ Error::Limit { .. }) => eprintln!("left out: {method:?} {shape}: {error}"),
                    done => done.unwrap_or_else(|error| panic!("{method:?} {shape}: {error}")),
                }
            }
        }
    }
    for (channels, h, w) in PLANES {
        let (Some(x), Some(y)) = (filled(&gpu, &[1, channels, h, w]), filled(&gpu, &[1, channels, h, w])) else {
            continue;
        };
        let Some(mask) = filled(&gpu, &[1, 1, h, w]) else { continue };
        let shape = format!("{channels} {h}x{w}");
        measure(c, &gpu, "leaky_relu", &shape, || leaky_relu(&x, 0.2));
        measure(c, &gpu, "modulate", &shape, || modulate(&x, &y, &y));
        measure(c, &gpu, "instance_norm", &shape, || instance_norm(&x, 1e-5));
        measure(c, &gpu, "mask_norm", &shape, || mask_norm(&x, &mask, 1e-5));
        measure(c, &gpu, "resize", &shape, || resize(&x, h / 2, w / 2));
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
