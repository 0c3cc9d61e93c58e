//! The check of an operation against its twin.

use crate::{Array, Random};
use alias_cpu::Cpu;
use alias_tensor::{CpuOptions, Device, Gpu, GpuOptions, Result, Tensor, adapters};
use std::sync::OnceLock;

/// The float64 reference implementation of an operation: naive loops that state the mathematics.
pub trait Twin {
    /// The result.
    fn forward(&self, x: &[Array]) -> Array;

    /// The gradient of `<forward(x), dy>` with respect to each input, `None` for one that has no gradient.
    fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>>;
}

/// Finite differences are taken only if all inputs together have at most this many elements.
const FINITE_DIFFERENCE_LIMIT: usize = 20_000;
/// Elements of each input at which finite differences are taken.
const FINITE_DIFFERENCE_SAMPLES: usize = 48;

/// Checks the operation `run` at `inputs`, with a random cotangent, on every one of the [`devices`]:
///
/// - its result and gradients equal those of the twin;
/// - the twin's gradients equal finite differences of the twin;
/// - on a GPU, runs with and without wgpu's bounds checks agree in every bit; on cores, runs on one, two and three threads
///   do, with each kind of vector instructions;
/// - each gradient keeps its bits if its input is the only tracked one.
///
/// # Panics
/// If a comparison fails, with the worst element, both values and the error. NaN fails.
pub fn check(twin: &impl Twin, inputs: &[Array], run: impl Fn(&[Tensor]) -> Result<Tensor>) {
    check_on(device_variants(), twin, inputs, run);
}

/// [`check`] for what runs on GPUs alone.
///
/// # Panics
/// As [`check`].
pub fn check_on_gpu(twin: &impl Twin, inputs: &[Array], run: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let gpus: Vec<_> = device_variants().iter().filter(|variants| matches!(variants[0], Device::Gpu(_))).collect();
    check_on(gpus, twin, inputs, run);
}

/// [`check`] for sizes at which cores go other ways than GPUs do.
///
/// # Panics
/// As [`check`].
pub fn check_on_cores(twin: &impl Twin, inputs: &[Array], run: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let cores: Vec<_> = device_variants().iter().filter(|variants| matches!(variants[0], Device::Cores(_))).collect();
    check_on(cores, twin, inputs, run);
}

fn check_on<'a>(
    devices: impl IntoIterator<Item = &'a Vec<Device>>,
    twin: &impl Twin,
    inputs: &[Array],
    run: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let want = twin.forward(inputs);
    let cotangent = Random::new(7).array(&want.shape);
    let gradients = twin.backward(inputs, &cotangent);
    assert_eq!(gradients.len(), inputs.len(), "the twin gives a gradient, or None, for each input");
    compare_with_finite_differences(twin, inputs, &cotangent, &gradients);
    let case = Case { inputs, want: &want, gradients: &gradients, cotangent: &cotangent };
    for variants in devices {
        let (device, others) = variants.split_first().expect("a device");
        let got = case.run_on(device, &run).unwrap_or_else(|e| panic!("{device:?}: {e}"));
        case.compare(device, &got);
        case.alone(device, &got, &run).unwrap_or_else(|e| panic!("{device:?}: {e}"));
        for other in others {
            let again = case.run_on(other, &run).unwrap_or_else(|e| panic!("{other:?}: {e}"));
            assert!(bits(&got) == bits(&again), "results differ between {device:?} and {other:?}");
        }
    }
}

/// What an operation gets, and what the twin makes of it.
struct Case<'a> {
    inputs: &'a [Array],
    want: &'a Array,
    gradients: &'a [Option<Array>],
    cotangent: &'a Array,
}

/// The result, then the gradient of each input.
type Got = Vec<Option<Vec<f32>>>;

fn bits(got: &Got) -> Vec<Option<Vec<u32>>> {
    got.iter().map(|values| values.as_ref().map(|values| values.iter().map(|v| v.to_bits()).collect())).collect()
}

impl Case<'_> {
    /// The inputs on a device, of which those are tracked that `tracked` says.
    fn leaves(&self, device: &Device, tracked: impl Fn(usize) -> bool) -> Result<Vec<Tensor>> {
        let leaf = |(k, input): (usize, &Array)| {
            let tensor = Tensor::new(device, &input.shape, &input.to_f32())?;
            Ok(if tracked(k) { tensor.requires_grad() } else { tensor })
        };
        self.inputs.iter().enumerate().map(leaf).collect()
    }

    fn pull(&self, device: &Device, y: Tensor, leaves: &[Tensor]) -> Result<Got> {
        let gradients = y.backward(&Tensor::new(device, &self.want.shape, &self.cotangent.to_f32())?)?;
        leaves.iter().map(|leaf| gradients.get(leaf).map(Tensor::to_vec).transpose()).collect()
    }

    fn run_on(&self, device: &Device, run: &impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<Got> {
        poison_pool(device, self.inputs.iter().chain([self.want]))?;
        let leaves = self.leaves(device, |k| self.gradients[k].is_some())?;
        let y = run(&leaves)?;
        assert_eq!(*y.shape(), *self.want.shape, "shape of the result");
        let mut got = vec![Some(y.to_vec()?)];
        if y.is_tracked() {
            got.extend(self.pull(device, y, &leaves)?);
        }
        Ok(got)
    }

    fn compare(&self, device: &Device, got: &Got) {
        let tolerance = tolerance(self.inputs);
        let shapes: Vec<_> = self.inputs.iter().map(|input| &input.shape).collect();
        let what = format!("forward of {shapes:?} on {device:?}");
        compare(&what, got[0].as_deref().unwrap_or(&[]), &self.want.data, tolerance);
        for (k, want) in self.gradients.iter().enumerate() {
            let Some(want) = want else { continue };
            let got = got.get(k + 1).and_then(Option::as_deref);
            let what = format!("gradient {k} of {shapes:?} on {device:?}");
            compare(&what, got.unwrap_or_else(|| panic!("{what} is missing")), &want.data, tolerance);
        }
    }

    /// Checks that if only one input is tracked, as in a partly frozen network, its gradient keeps its bits and no other
    /// input gets a gradient.
    fn alone(&self, device: &Device, all: &Got, run: &impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
        let differentiable: Vec<_> = (0..self.inputs.len()).filter(|&k| self.gradients[k].is_some()).collect();
        if differentiable.len() < 2 {
            return Ok(());
        }
        for &k in &differentiable {
            let leaves = self.leaves(device, |other| other == k)?;
            let pulled = self.pull(device, run(&leaves)?, &leaves)?;
            let expected = (0..leaves.len()).map(|i| if i == k { all.get(k + 1).cloned().flatten() } else { None });
            assert!(bits(&pulled) == bits(&expected.collect()), "gradients with input {k} alone tracked on {device:?}");
        }
        Ok(())
    }
}

/// Largest accepted relative L2 error of the result and of each gradient; larger for sums of more than 1e5 elements.
fn tolerance(inputs: &[Array]) -> f64 {
    if inputs.iter().any(|input| input.data.len() > 100_000) { 5e-6 } else { 2e-6 }
}

/// The adapter under test without bounds checks, shared by all tests of a process.
///
/// # Panics
/// Without an adapter: a test of a GPU fails instead of being skipped.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| open(false))
}

/// The adapter under test with wgpu's bounds checks.
///
/// # Panics
/// As [`gpu`].
pub fn gpu_with_bounds_checks() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| open(true))
}

fn open(bounds_checks: bool) -> Gpu {
    Gpu::open(&GpuOptions { bounds_checks, ..Default::default() }).unwrap_or_else(|e| panic!("{e}"))
}

/// The devices under test, one of each kind: the GPU, if there is an adapter, and processor cores; with `ALIAS_DEVICE` in
/// the environment only the `gpu`, which must then be there, or only the `cpu`.
pub fn devices() -> Vec<Device> {
    let (gpus, cores): (Vec<_>, Vec<_>) =
        device_variants().iter().map(|variants| &variants[0]).partition(|device| matches!(device, Device::Gpu(_)));
    gpus.into_iter().chain(cores.into_iter().take(1)).cloned().collect()
}

/// [`devices`] with counters of their own: those of the shared ones count other tests' work as well.
pub fn own_devices() -> Vec<Device> {
    let own = |device| match device {
        Device::Gpu(_) => open(false).into(),
        Device::Cores(cores) => Device::from(cores.cpu().clone()),
    };
    devices().into_iter().map(own).collect()
}

/// The GPU under test, unless there is none or `ALIAS_DEVICE` is `cpu`.
pub fn gpu_if_any() -> Option<&'static Gpu> {
    devices().iter().any(|device| matches!(device, Device::Gpu(_))).then(gpu)
}

/// A device for what does not depend on its kind: processor cores, unless `ALIAS_DEVICE` forbids them.
pub fn device() -> Device {
    devices().pop().expect("there is a device of some kind")
}

/// The devices under test, each with others that must compute the same bits.
fn device_variants() -> &'static [Vec<Device>] {
    static DEVICES: OnceLock<Vec<Vec<Device>>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let chosen = std::env::var("ALIAS_DEVICE").unwrap_or_default();
        assert!(["", "gpu", "cpu"].contains(&chosen.as_str()), "ALIAS_DEVICE is '{chosen}', and may be gpu or cpu");
        let mut devices = Vec::new();
        if chosen == "gpu" || chosen.is_empty() && !adapters().is_empty() {
            devices.push(vec![gpu().into(), gpu_with_bounds_checks().into()]);
        } else if chosen.is_empty() {
            eprintln!("no adapter with Vulkan, Metal or DX12: operations run on processor cores alone");
        }
        if chosen != "gpu" {
            let cores = |threads, instructions| {
                let options = CpuOptions { threads: Some(threads), instructions: Some(instructions) };
                Device::cores(options).unwrap_or_else(|e| panic!("{e}"))
            };
            let kinds = Cpu::available().into_iter().rev();
            devices.extend(kinds.map(|kind| [2, 1, 3].map(|threads| cores(threads, kind)).to_vec()));
        }
        devices
    })
}

/// Leaves buffers of NaN in the pool, so that an element that a kernel fails to write cannot be right by chance.
fn poison_pool<'a>(device: &Device, like: impl Iterator<Item = &'a Array>) -> Result<()> {
    let poisoned: Vec<Tensor> = like
        .flat_map(|array| {
            let nan = vec![f32::NAN; array.data.len()];
            [Tensor::new(device, &array.shape, &nan), Tensor::new(device, &array.shape, &nan)]
        })
        .collect::<Result<_>>()?;
    drop(poisoned);
    Ok(())
}

fn compare_with_finite_differences(twin: &impl Twin, x: &[Array], cotangent: &Array, gradients: &[Option<Array>]) {
    if x.iter().map(|input| input.data.len()).sum::<usize>() > FINITE_DIFFERENCE_LIMIT {
        return;
    }
    let mut random = Random::new(11);
    let mut x = x.to_vec();
    let loss = |x: &[Array]| twin.forward(x).data.iter().zip(&cotangent.data).map(|(y, dy)| y * dy).sum::<f64>();
    for (k, gradient) in gradients.iter().enumerate() {
        let Some(gradient) = gradient else { continue };
        assert_eq!(gradient.shape, x[k].shape, "shape of the twin's gradient {k}");
        let n = gradient.data.len();
        let samples: Vec<usize> = if n <= FINITE_DIFFERENCE_SAMPLES {
            (0..n).collect()
        } else {
            (0..FINITE_DIFFERENCE_SAMPLES).map(|_| random.bits() as usize % n).collect()
        };
        let (mut exact, mut numeric) = (Vec::new(), Vec::new());
        for i in samples {
            let centre = x[k].data[i];
            let mut at = |offset: f64| {
                x[k].data[i] = centre + offset;
                loss(&x)
            };
            // Four points: the error is of order h^4 f^(5), so h can be large enough for rounding not to matter.
            let h = 1e-5;
            numeric.push((8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h));
            exact.push(gradient.data[i]);
            x[k].data[i] = centre;
        }
        let scale = exact.iter().map(|v| v * v).sum::<f64>().sqrt();
        let error = exact.iter().zip(&numeric).map(|(e, n)| (e - n).powi(2)).sum::<f64>().sqrt();
        // The absolute term is for zero gradients, where the difference of two losses is pure rounding error.
        assert!(
            error <= 1e-7 * scale + 1e-9,
            "the twin's gradient {k} is off its finite differences by {error:.1e} of {scale:.1e}"
        );
    }
}

fn compare(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}: number of elements");
    let error = relative_l2(got, want);
    let distance = |i: &usize| (f64::from(got[*i]) - want[*i]).abs();
    // `total_cmp` ranks NaN above every number, so NaN is the worst.
    let worst = (0..got.len()).max_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0);
    // `<=` is false for NaN, so NaN fails.
    assert!(
        error <= tolerance,
        "{what}: relative L2 error {error:.2e}, {:.1} times the bar of {tolerance:.0e}; worst at element {worst}: {:e}, not {:e}",
        error / tolerance,
        got[worst],
        want[worst],
    );
}

/// Relative L2 distance of `got` from `want`; NaN where either holds one.
pub fn relative_l2(got: &[f32], want: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut got.iter().zip(want).map(|(&g, &w)| f64::from(g) - w));
    difference / norm(&mut want.iter().copied()).max(1e-30)
}
