//! The stages before the image generator against PyTorch: every `pipeline_*` golden case, whatever its sizes, widths and
//! batch.

mod agnostic;
mod chain;
mod checkpoints;
mod matching;
mod segmentation;
#[path = "../support/mod.rs"]
mod support;
mod training;

use alias_checkpoint::{Array, Checkpoint};
use alias_model::network::{Network, ParameterKind};
use alias_model::{Cpu, CpuOptions, Device, Precision, Target, Tuning, fill};
use alias_oracle::golden::Golden;
use alias_oracle::{devices, gpu_if_any, relative_l2};
use alias_plan::{Method, philox};
use alias_tensor::wgpu::Features;
use alias_tensor::{Gpu, GpuOptions};
use support::BAR;

/// Weights as the golden cases' writer draws them: as [`fill`] does, but for running statistics, which it draws as well,
/// and a wider bias of the scores.
fn weights(network: &Network, seed: u64) -> Checkpoint {
    let mut checkpoint = fill(network, seed);
    for (stream, parameter) in network.parameters().into_iter().enumerate() {
        let value = |z: f64| match parameter.kind {
            ParameterKind::RunningMean => Some(0.1 * z),
            ParameterKind::RunningVariance => Some(1.0 + 0.1 * z * z),
            ParameterKind::NormWeight => Some(1.0 + 0.1 * z),
            ParameterKind::Bias if parameter.key == "conv9.6.bias" => Some(0.5 * z),
            _ => None,
        };
        let count = parameter.shape.iter().product();
        let drawn: Option<Vec<f32>> =
            philox::normal(seed, stream as u32).take(count).map(|z| value(z).map(|v| v as f32)).collect();
        if let Some(values) = drawn {
            checkpoint.insert(parameter.key, Array::from_f32(&parameter.shape, &values));
        }
    }
    checkpoint
}

/// Everything that executes plans: the adapter at hand by the plans for each kind of GPU, and processor cores with each
/// instruction set that they have, and by each method.
fn executors() -> Vec<(Device, Target)> {
    let on_gpu = |gpu: &'static Gpu| {
        let by = |method| Target { tuning: Tuning::Always(method), ..Target::of(gpu, Precision::F32) };
        [Method::Staged(0), Method::Fused, Method::Winograd(2)].map(|method| (Device::from(gpu), by(method)))
    };
    let cores = |instructions, tuning| {
        let options = CpuOptions { instructions, ..Default::default() };
        (Device::cores(options).unwrap(), Target { tuning, ..Target::CORES })
    };
    let mut all: Vec<_> = gpu_if_any().map(on_gpu).into_iter().flatten().collect();
    if devices().iter().any(|device| matches!(device, Device::Cores(_))) {
        all.extend(Cpu::available().into_iter().map(|which| cores(Some(which), Tuning::Default)));
        all.extend([Method::Fused, Method::Winograd(2)].map(|method| cores(None, Tuning::Always(method))));
    }
    all
}

/// The adapter at hand in half precision, by the plans for each kind of GPU; none where it has no half precision.
fn executors_in_half_precision() -> Vec<(Device, Target)> {
    if gpu_if_any().is_none() {
        return Vec::new();
    }
    let gpu = match Gpu::open(&GpuOptions { features: Features::SHADER_F16, ..Default::default() }) {
        Ok(gpu) => gpu,
        Err(alias_tensor::Error::MissingFeature { adapter, .. }) => {
            println!("{adapter} has no half precision: nothing to test");
            return Vec::new();
        }
        Err(error) => panic!("{error}"),
    };
    let by = |method| Target { tuning: Tuning::Always(method), ..Target::of(&gpu, Precision::F16) };
    [Method::Staged(0), Method::Fused, Method::Winograd(2)].map(|method| (Device::from(&gpu), by(method))).into()
}

/// An error unless `got` is as close to float64 as half precision allows.
fn compare_half(case: &Golden, tensor: &str, by: &str, got: &[f32], bar: f64) {
    let want: Vec<f64> = case.tensor(tensor).data.iter().map(|&v| v.into()).collect();
    let error = relative_l2(got, &want);
    println!("{} {tensor}, {by}: {error:.1e} in half precision", case.name);
    // Half precision has 11 significant bits; a smaller error would mean that float32 was used.
    assert!(error <= bar && error > 1e-5, "{} {tensor}, {by}: {error:.1e}", case.name);
}

fn name((device, target): &(Device, Target)) -> String {
    match device {
        Device::Gpu(_) => format!("GPU, {:?}, {:?}", target.tuning, target.precision),
        Device::Cores(cores) => format!("cores, {:?}, {:?}", cores.cpu().instructions(), target.tuning),
    }
}

/// Compares what `by` computed with all tensors of a case but its `inputs`, and returns those past the bar. A tensor without an
/// error of PyTorch's holds whole numbers and must be met exactly.
///
/// # Panics
/// If `results` lack a tensor, or a bar is not a small error.
fn compare(case: &Golden, by: &str, inputs: &[&str], results: &[(&str, &[f32])]) -> Vec<String> {
    let mut failures = Vec::new();
    for (tensor, expected) in case.tensors.iter().filter(|(tensor, _)| !inputs.contains(&tensor.as_str())) {
        let found = results.iter().find(|(name, _)| name == tensor);
        let (_, got) = found.unwrap_or_else(|| panic!("{}: nothing computes {tensor}", case.name));
        assert_eq!(got.len(), expected.data.len(), "{}: elements of {tensor}", case.name);
        let Some(error) = case.meta["torch_float32_error"].get(tensor) else {
            if **got != expected.data {
                failures.push(format!("{} {tensor}, {by}: other numbers", case.name));
            }
            continue;
        };
        let error = error.as_f64().unwrap_or(f64::NAN);
        assert!(error > 0.0 && error < 1e-3, "{}: PyTorch's error of {tensor} is {error}", case.name);
        let want: Vec<f64> = expected.data.iter().map(|&v| v.into()).collect();
        let ratio = relative_l2(got, &want) / error;
        let line = format!("{} {tensor}, {by}: {ratio:.2}", case.name);
        println!("{line}");
        // NaN has to fail.
        if ratio.is_nan() || ratio > BAR {
            failures.push(line);
        }
    }
    failures
}

fn finish(failures: Vec<String>) {
    assert!(failures.is_empty(), "past {BAR} times PyTorch's float32 error:\n{}", failures.join("\n"));
}

/// The size [H, W] under `key` of a case's configuration.
fn size(case: &Golden, key: &str) -> [usize; 2] {
    let sides = case.meta["config"][key].as_array().unwrap();
    [0, 1].map(|side| sides[side].as_u64().unwrap() as usize)
}

fn ngf(case: &Golden) -> usize {
    case.meta["config"]["ngf"].as_u64().unwrap() as usize
}

/// A stored tensor of bytes.
fn bytes(case: &Golden, name: &str) -> Vec<u8> {
    case.tensor(name).data.iter().map(|&v| v as u8).collect()
}
