//! The check of an operation against its twin.

use crate::{Array, Random};
use alias_tensor::{Gpu, GpuOptions, Result, Tensor};
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

/// Checks the operation `run` at `inputs`, with a random cotangent:
///
/// - its result and gradients equal those of the twin;
/// - the twin's gradients equal finite differences of the twin;
/// - runs with and without wgpu's bounds checks agree in every bit;
/// - each gradient keeps its bits if its input is the only tracked one.
///
/// # Panics
/// If a comparison fails, with the worst element, both values and the error. NaN fails.
pub fn check(twin: &impl Twin, inputs: &[Array], run: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let want = twin.forward(inputs);
    let cotangent = Random::new(7).array(&want.shape);
    let want_gradients = twin.backward(inputs, &cotangent);
    assert_eq!(want_gradients.len(), inputs.len(), "the twin gives a gradient, or None, for each input");
    compare_with_finite_differences(twin, inputs, &cotangent, &want_gradients);

    let run_on = |gpu: &Gpu| -> Result<Vec<Option<Vec<f32>>>> {
        poison_pool(gpu, inputs.iter().chain([&want]))?;
        let leaves = inputs.iter().zip(&want_gradients).map(|(input, gradient)| {
            let tensor = Tensor::new(gpu, &input.shape, &input.to_f32())?;
            Ok(if gradient.is_some() { tensor.requires_grad() } else { tensor })
        });
        let leaves = leaves.collect::<Result<Vec<_>>>()?;
        let y = run(&leaves)?;
        assert_eq!(*y.shape(), *want.shape, "shape of the result");
        let mut got = vec![Some(y.to_vec()?)];
        if y.is_tracked() {
            let gradients = y.backward(&Tensor::new(gpu, &want.shape, &cotangent.to_f32())?)?;
            for leaf in &leaves {
                got.push(gradients.get(leaf).map(Tensor::to_vec).transpose()?);
            }
        }
        Ok(got)
    };
    let got = run_on(gpu()).unwrap_or_else(|e| panic!("{e}"));
    alone(inputs, &want_gradients, &cotangent, &got, &run).unwrap_or_else(|e| panic!("{e}"));
    let checked = run_on(gpu_with_bounds_checks()).unwrap_or_else(|e| panic!("{e}"));
    let bits = |run: &[Option<Vec<f32>>]| -> Vec<u32> { run.iter().flatten().flatten().map(|v| v.to_bits()).collect() };
    assert!(bits(&got) == bits(&checked), "results differ with and without bounds checks");

    let tolerance = tolerance(inputs);
    let shapes: Vec<_> = inputs.iter().map(|input| &input.shape).collect();
    compare(&format!("forward of {shapes:?}"), got[0].as_deref().unwrap_or(&[]), &want.data, tolerance);
    for (k, want) in want_gradients.iter().enumerate() {
        let Some(want) = want else { continue };
        let got = got.get(k + 1).and_then(Option::as_deref);
        let what = format!("gradient {k} of {shapes:?}");
        compare(&what, got.unwrap_or_else(|| panic!("{what} is missing")), &want.data, tolerance);
    }
}

/// Checks that if only one input is tracked, as in a partly frozen network, its gradient keeps its bits and no other
/// input gets a gradient.
fn alone(
    inputs: &[Array],
    gradients: &[Option<Array>],
    cotangent: &Array,
    all: &[Option<Vec<f32>>],
    run: &impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<()> {
    let gpu = gpu();
    let differentiable: Vec<_> = (0..inputs.len()).filter(|&k| gradients[k].is_some()).collect();
    if differentiable.len() < 2 {
        return Ok(());
    }
    for &k in &differentiable {
        let leaves = inputs.iter().enumerate().map(|(i, input)| {
            let tensor = Tensor::new(gpu, &input.shape, &input.to_f32())?;
            Ok(if i == k { tensor.requires_grad() } else { tensor })
        });
        let leaves = leaves.collect::<Result<Vec<_>>>()?;
        let y = run(&leaves)?;
        let pulled = y.backward(&Tensor::new(gpu, &cotangent.shape, &cotangent.to_f32())?)?;
        for (i, leaf) in leaves.iter().enumerate() {
            let got = pulled.get(leaf).map(Tensor::to_vec).transpose()?;
            let want = if i == k { all.get(k + 1).cloned().flatten() } else { None };
            let bits = |v: Option<Vec<f32>>| v.map(|v| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
            assert!(bits(got) == bits(want), "gradient {i} with input {k} alone tracked");
        }
    }
    Ok(())
}

/// Largest accepted relative L2 error of the result and of each gradient; larger for sums of more than 1e5 elements.
fn tolerance(inputs: &[Array]) -> f64 {
    if inputs.iter().any(|input| input.data.len() > 100_000) { 5e-6 } else { 2e-6 }
}

/// The adapter under test without bounds checks, shared by all tests of a process.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| open(false))
}

/// The adapter under test with wgpu's bounds checks.
pub fn gpu_with_bounds_checks() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| open(true))
}

/// Panics without an adapter: a test fails instead of being skipped.
fn open(bounds_checks: bool) -> Gpu {
    Gpu::open(&GpuOptions { bounds_checks, ..Default::default() }).unwrap_or_else(|e| panic!("{e}"))
}

/// Leaves buffers of NaN in the pool, so that an element that a kernel fails to write cannot be right by chance.
fn poison_pool<'a>(gpu: &Gpu, like: impl Iterator<Item = &'a Array>) -> Result<()> {
    let poisoned: Vec<Tensor> = like
        .flat_map(|array| {
            let nan = vec![f32::NAN; array.data.len()];
            [Tensor::new(gpu, &array.shape, &nan), Tensor::new(gpu, &array.shape, &nan)]
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
