//! Formulas applied to each element of some slices, and sums of them. The compiler vectorizes plain arithmetic.

use crate::Cpu;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Elements per task: a few microseconds of work, and always the same ones, so that no sum depends on the number of
/// threads.
const RUN: usize = 1 << 14;
/// Sums that are added to in turn, so that none waits for the one before.
const LANES: usize = 32;
/// Elements that are added before a sum gets them.
const TURNS: usize = 4;

/// `y[k][i] = f([x[0][i], x[1][i], ...])[k]` for each i, on all threads.
///
/// `f` should be small enough to be inlined, since only then is it compiled for the vector instructions in use.
///
/// # Panics
/// If the slices differ in length.
pub fn map<const INPUTS: usize, const OUTPUTS: usize>(
    cpu: &Cpu,
    x: [&[f32]; INPUTS],
    y: [&mut [f32]; OUTPUTS],
    f: impl Fn([f32; INPUTS]) -> [f32; OUTPUTS] + Copy + Send + Sync,
) {
    let mut length = None;
    check_lengths(x.iter().map(|x| x.len()).chain(y.iter().map(|y| y.len())), &mut length);
    let n = length.unwrap_or(0);
    if n <= RUN {
        return cpu.dispatch(Map { x, y, f });
    }
    let mut rest = y;
    let runs: Vec<_> = (0..n)
        .step_by(RUN)
        .map(|start| {
            let len = RUN.min(n - start);
            let y = rest.each_mut().map(|rest| rest.split_off_mut(..len).unwrap_or_default());
            Map { x: x.map(|x| &x[start..][..len]), y, f }
        })
        .collect();
    runs.into_par_iter().for_each(|run| cpu.dispatch(run));
}

fn check_lengths(lengths: impl Iterator<Item = usize>, n: &mut Option<usize>) {
    lengths.for_each(|length| assert_eq!(length, *n.get_or_insert(length), "slices of different lengths"));
}

struct Map<'x, 'y, F, const INPUTS: usize, const OUTPUTS: usize> {
    x: [&'x [f32]; INPUTS],
    y: [&'y mut [f32]; OUTPUTS],
    f: F,
}

impl<F, const INPUTS: usize, const OUTPUTS: usize> WithSimd for Map<'_, '_, F, INPUTS, OUTPUTS>
where
    F: Fn([f32; INPUTS]) -> [f32; OUTPUTS] + Copy,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Map { x, y, f } = self;
        let n = y.first().map_or(0, |y| y.len());
        let x = x.map(|x| &x[..n]);
        for i in 0..n {
            let values = f(std::array::from_fn(|k| x[k][i]));
            for k in 0..OUTPUTS {
                y[k][i] = values[k];
            }
        }
    }
}

/// A formula on vectors, for functions that the compiler does not vectorize.
pub trait Formula<const INPUTS: usize>: Copy + Send + Sync {
    /// The value for each element of some vectors.
    fn apply<S: Simd>(self, simd: S, x: [S::f32s; INPUTS]) -> S::f32s;
}

/// [`map`] of a [`Formula`].
///
/// # Panics
/// If the slices differ in length.
pub fn map_formula<const INPUTS: usize>(cpu: &Cpu, x: [&[f32]; INPUTS], y: &mut [f32], formula: impl Formula<INPUTS>) {
    check_lengths(x.iter().map(|x| x.len()), &mut Some(y.len()));
    y.par_chunks_mut(RUN).enumerate().for_each(|(run, y)| {
        cpu.dispatch(MapFormula { x: x.map(|x| &x[run * RUN..][..y.len()]), y, formula });
    });
}

struct MapFormula<'x, 'y, F, const INPUTS: usize> {
    x: [&'x [f32]; INPUTS],
    y: &'y mut [f32],
    formula: F,
}

impl<F: Formula<INPUTS>, const INPUTS: usize> WithSimd for MapFormula<'_, '_, F, INPUTS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let MapFormula { x, y, formula } = self;
        let x = x.map(|x| S::as_simd_f32s(x));
        let (y, y_tail) = S::as_mut_simd_f32s(y);
        for (i, y) in y.iter_mut().enumerate() {
            *y = formula.apply(simd, std::array::from_fn(|k| x[k].0[i]));
        }
        if !y_tail.is_empty() {
            let values = formula.apply(simd, std::array::from_fn(|k| simd.partial_load_f32s(x[k].1)));
            simd.partial_store_f32s(y_tail, values);
        }
    }
}

/// For each k the sum over i of `f([x[0][i], x[1][i], ...])[k]`, in float64, on all threads and always in the same order.
///
/// `f` should be small enough to be inlined.
///
/// # Panics
/// If the slices differ in length.
pub fn sum<const INPUTS: usize, const SUMS: usize>(
    cpu: &Cpu,
    x: [&[f32]; INPUTS],
    f: impl Fn([f64; INPUTS]) -> [f64; SUMS] + Copy + Send + Sync,
) -> [f64; SUMS] {
    let mut length = None;
    check_lengths(x.iter().map(|x| x.len()), &mut length);
    let n = length.unwrap_or(0);
    let part = |start: usize| cpu.dispatch(Sum { x: x.map(|x| &x[start..n.min(start + RUN)]), f });
    if n <= RUN {
        return part(0);
    }
    let parts: Vec<[f64; SUMS]> = (0..n.div_ceil(RUN)).into_par_iter().map(|run| part(run * RUN)).collect();
    parts.into_iter().fold([0.0; SUMS], |sums, part| std::array::from_fn(|k| sums[k] + part[k]))
}

struct Sum<'x, F, const INPUTS: usize> {
    x: [&'x [f32]; INPUTS],
    f: F,
}

impl<F, const INPUTS: usize, const SUMS: usize> WithSimd for Sum<'_, F, INPUTS>
where
    F: Fn([f64; INPUTS]) -> [f64; SUMS] + Copy,
{
    type Output = [f64; SUMS];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f64; SUMS] {
        let Sum { x, f } = self;
        let n = x.first().map_or(0, |x| x.len());
        let mut lanes = [[0.0f64; LANES]; SUMS];
        let whole = n / (TURNS * LANES) * (TURNS * LANES);
        for start in (0..whole).step_by(TURNS * LANES) {
            let x = x.map(|x| x[start..].first_chunk::<{ TURNS * LANES }>().expect("whole chunks"));
            for lane in 0..LANES {
                let values: [[f64; SUMS]; TURNS] =
                    std::array::from_fn(|turn| f(std::array::from_fn(|k| f64::from(x[k][turn * LANES + lane]))));
                for k in 0..SUMS {
                    lanes[k][lane] += (values[0][k] + values[1][k]) + (values[2][k] + values[3][k]);
                }
            }
        }
        for start in (whole..n).step_by(LANES) {
            let x = x.map(|x| &x[start..n.min(start + LANES)]);
            for lane in 0..LANES.min(n - start) {
                let values = f(std::array::from_fn(|k| f64::from(x[k][lane])));
                for k in 0..SUMS {
                    lanes[k][lane] += values[k];
                }
            }
        }
        lanes.map(|lanes| lanes.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CpuOptions;

    /// Lengths around those of a vector, a group of lanes and a task.
    const LENGTHS: [usize; 9] = [0, 1, 7, 16, 33, RUN - 1, RUN, RUN + 1, 2 * RUN + 17];

    fn cpus() -> impl Iterator<Item = Cpu> {
        let kinds = Cpu::available().into_iter().flat_map(|kind| [1, 2, 3].map(|threads| (kind, threads)));
        kinds.map(|(kind, threads)| {
            Cpu::open(CpuOptions { threads: Some(threads), instructions: Some(kind) }).expect("it is available")
        })
    }

    fn numbers(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 8e6 - 1.0).collect()
    }

    #[test]
    fn every_element_is_mapped() {
        #[derive(Clone, Copy)]
        struct Difference;
        impl Formula<2> for Difference {
            fn apply<S: Simd>(self, simd: S, [a, b]: [S::f32s; 2]) -> S::f32s {
                simd.sub_f32s(a, b)
            }
        }
        for cpu in cpus() {
            for n in LENGTHS {
                let (a, b) = (numbers(n, 1), numbers(n, 2));
                let [mut sum, mut product, mut difference] = [(); 3].map(|()| vec![f32::NAN; n]);
                cpu.install(|| {
                    map(&cpu, [&a, &b], [&mut sum, &mut product], |[a, b]| [a + b, a * b]);
                    map_formula(&cpu, [&a, &b], &mut difference, Difference);
                });
                for i in 0..n {
                    assert_eq!([sum[i], product[i], difference[i]], [a[i] + b[i], a[i] * b[i], a[i] - b[i]]);
                }
            }
        }
    }

    #[test]
    fn sums_are_exact_and_the_same_with_any_number_of_threads() {
        for n in LENGTHS {
            let (a, b) = (numbers(n, 1), numbers(n, 2));
            let want: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let got: Vec<_> = cpus().map(|cpu| cpu.install(|| sum(&cpu, [&a, &b], |[a, b]| [a * b, 1.0]))).collect();
            for [product, count] in &got {
                assert!((product - want).abs() <= 1e-12 * (1.0 + n as f64), "{product}, not {want}");
                assert_eq!(*count, n as f64);
            }
            assert!(got.iter().all(|sums| sums[0].to_bits() == got[0][0].to_bits()), "{n}: {got:?}");
        }
    }
}
