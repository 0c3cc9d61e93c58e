//! Spectral norm (Miyato et al. 2018): a weight divided by its largest singular value, which power iteration estimates.

use crate::geometry::AdapterKind;
use crate::kernel;
use alias_cpu::{Cpu, map, sum};
use alias_tensor::{Device, Kernel, OnCores, Result, Tensor, Work};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(SPECTRAL_NORM, GRID, REDUCE);
static TRANSPOSED_PRODUCT: Kernel<OnCores<Params, 2, 1>> =
    kernel("spectral_norm", SOURCE, "transposed_product").on_cores(transposed_product);
static PRODUCT: Kernel<OnCores<Params, 2, 1>> = kernel("spectral_norm", SOURCE, "product").on_cores(row_products);
static FINISH: Kernel<OnCores<Params, 2, 3>> = kernel("spectral_norm", SOURCE, "finish").on_cores(finish);
static DOT: Kernel<OnCores<Params, 2, 1>> = kernel("spectral_norm", SOURCE, "dot_product").on_cores(dot_product);
static ROW_DOTS: Kernel<OnCores<Params, 2, 1>> = kernel("spectral_norm", SOURCE, "row_dots").on_cores(row_dots);
static BACKWARD: Kernel<OnCores<Params, 5, 1>> = kernel("spectral_norm", SOURCE, "backward").on_cores(backward);

params! { rows: u32, columns: u32, eps: f32 }

/// Rows per workgroup in `product`, columns per invocation in `transposed_product`, as in the shader.
const RUN: usize = 4;
/// PyTorch's lower bound on the length that normalizing divides by.
const EPS: f32 = 1e-12;

fn transposed_product(cpu: &Cpu, _: &Params, [w, u]: [&[f32]; 2], [t]: [&mut [f32]; 1]) {
    sum_columns(cpu, [w], t, |row| {
        let u = f64::from(u[row]);
        move |[w]| w * u
    });
}

fn row_products(cpu: &Cpu, params: &Params, [w, v]: [&[f32]; 2], [wv]: [&mut [f32]; 1]) {
    wv.par_iter_mut().zip(w.par_chunks_exact(params.columns as usize)).for_each(|(to, w)| {
        let [sum] = sum(cpu, [w, v], move |[w, v]| [w * v]);
        *to = sum as f32;
    });
}

fn finish(cpu: &Cpu, params: &Params, [t, s]: [&[f32]; 2], [u, v, sigma]: [&mut [f32]; 3]) {
    let length = |x: &[f32]| {
        let [squares] = sum(cpu, [x], move |[x]| [x * x]);
        squares.sqrt()
    };
    let eps = f64::from(params.eps);
    // Selections, not `max`, so that NaN passes through.
    let at_least = |length: f64| if length < eps { eps } else { length };
    let of_t = at_least(length(t));
    let wv = length(s) / of_t;
    let (of_t, of_s) = (of_t as f32, at_least(wv) as f32);
    map(cpu, [t], [v], move |[t]| [t / of_t]);
    map(cpu, [s], [u], move |[s]| [s / of_t / of_s]);
    sigma[0] = (wv * (wv / at_least(wv))) as f32;
}

fn dot_product(cpu: &Cpu, _: &Params, vectors: [&[f32]; 2], [ab]: [&mut [f32]; 1]) {
    let sums = sum(cpu, vectors, move |[a, b]| [a * b]);
    ab.copy_from_slice(&sums.map(|sum| sum as f32));
}

fn row_dots(cpu: &Cpu, params: &Params, [w, dy]: [&[f32]; 2], [dots]: [&mut [f32]; 1]) {
    let columns = params.columns as usize;
    let rows = dots.par_iter_mut().zip(w.par_chunks_exact(columns)).zip(dy.par_chunks_exact(columns));
    rows.for_each(|((to, w), dy)| {
        let [sum] = sum(cpu, [w, dy], move |[w, dy]| [w * dy]);
        *to = sum as f32;
    });
}

fn backward(cpu: &Cpu, params: &Params, [row_dots, dy, sigma, u, v]: [&[f32]; 5], [dw]: [&mut [f32]; 1]) {
    let columns = params.columns as usize;
    let ([inner], sigma) = (sum(cpu, [row_dots], |dot| dot), sigma[0]);
    let rows = dw.par_chunks_exact_mut(columns).zip(dy.par_chunks_exact(columns)).zip(u);
    rows.for_each(|((dw, dy), u)| {
        let outer = u * inner as f32 / (sigma * sigma);
        map(cpu, [dy, v], [dw], move |[dy, v]| [dy / sigma - outer * v]);
    });
}

/// Columns that a task sums.
const COLUMNS: usize = 1024;
/// Rows that are added at once: memory delivers several rows faster than one after the other.
const ROWS: usize = 4;

/// For each column of some matrices, the sum over rows i of `f(i)` of its elements there, in float64.
pub(crate) fn sum_columns<const INPUTS: usize, F: Fn([f64; INPUTS]) -> f64>(
    cpu: &Cpu,
    x: [&[f32]; INPUTS],
    sums: &mut [f32],
    f: impl Fn(usize) -> F + Copy + Send + Sync,
) {
    let columns = sums.len();
    sums.par_chunks_mut(COLUMNS).enumerate().for_each(|(run, sums)| {
        cpu.dispatch(SumColumns { x, columns, first: run * COLUMNS, sums, f });
    });
}

struct SumColumns<'x, 's, F, const INPUTS: usize> {
    x: [&'x [f32]; INPUTS],
    /// All columns of the matrices.
    columns: usize,
    /// The first column to sum.
    first: usize,
    sums: &'s mut [f32],
    f: F,
}

impl<const INPUTS: usize, G: Fn([f64; INPUTS]) -> f64, F: Fn(usize) -> G> SumColumns<'_, '_, F, INPUTS> {
    /// Adds `ROWS` rows.
    #[inline(always)]
    fn add<const ROWS: usize>(&self, row: usize, totals: &mut [f64]) {
        let f: [G; ROWS] = std::array::from_fn(|r| (self.f)(row + r));
        let start = row * self.columns + self.first;
        let x: [[&[f32]; INPUTS]; ROWS] =
            std::array::from_fn(|r| self.x.map(|x| &x[start + r * self.columns..][..totals.len()]));
        for (column, total) in totals.iter_mut().enumerate() {
            let mut sum = 0.0;
            for r in 0..ROWS {
                sum += f[r](std::array::from_fn(|k| f64::from(x[r][k][column])));
            }
            *total += sum;
        }
    }
}

impl<const INPUTS: usize, G: Fn([f64; INPUTS]) -> f64, F: Fn(usize) -> G> WithSimd for SumColumns<'_, '_, F, INPUTS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let mut totals = [0.0; COLUMNS];
        let totals = &mut totals[..self.sums.len()];
        let rows = self.x[0].len() / self.columns;
        let whole = rows / ROWS * ROWS;
        for row in (0..whole).step_by(ROWS) {
            self.add::<ROWS>(row, totals);
        }
        for row in whole..rows {
            self.add::<1>(row, totals);
        }
        self.sums.iter_mut().zip(totals).for_each(|(sum, total)| *sum = *total as f32);
    }
}

/// A weight divided by its spectral norm, `sigma`. The quotient is never stored: packing the weight divides it.
#[derive(Clone, Debug)]
pub struct SpectralNorm {
    pub(crate) weight: Tensor,
    /// (1)
    pub(crate) sigma: Tensor,
    u: Tensor,
    v: Tensor,
}

/// `weight` (Cout, ...) divided by `sigma = u^T W v`, where W is the weight as a (Cout, rest) matrix, `u` (Cout), `v`
/// (rest), for [`conv2d_normalized`](crate::conv2d_normalized). As in `torch.nn.utils.spectral_norm`, `u` and `v` are
/// constants and only the weight gets a gradient, through `sigma` too. In evaluation pass the stored `u` and `v`, in
/// training those of [`power_iteration`].
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn spectral_norm(weight: &Tensor, u: &Tensor, v: &Tensor) -> Result<SpectralNorm> {
    let params = matrix("spectral_norm", weight, u, v)?;
    let sigma = Tensor::empty(weight.device(), &[1])?;
    let wv = product(weight, v, &params)?;
    let work = Work::groups(1).flops(2 * u64::from(params.rows));
    weight.device().launch(&DOT, &params, &[u, &wv], &[&sigma], work)?;
    Ok(SpectralNorm { weight: weight.clone(), sigma, u: u.detach(), v: v.detach() })
}

impl SpectralNorm {
    /// The left singular vector that it was estimated by: (Cout).
    pub fn u(&self) -> &Tensor {
        &self.u
    }

    /// The right singular vector that it was estimated by: (rest).
    pub fn v(&self) -> &Tensor {
        &self.v
    }

    /// Whether the weight gets a gradient.
    pub fn is_tracked(&self) -> bool {
        self.weight.is_tracked()
    }

    /// The gradient by the weight, from `dy`, the gradient by the quotient.
    pub(crate) fn backward(&self, dy: &Tensor) -> Result<Tensor> {
        let SpectralNorm { weight, sigma, u, v } = self;
        let params = matrix("spectral_norm", weight, u, v)?;
        let (device, n) = (dy.device(), weight.numel() as u64);
        let row_dots = Tensor::empty(device, &u.shape())?;
        let rows = Work::groups(params.rows as usize);
        device.launch(&by_row(device, ROW_DOTS), &params, &[weight, dy], &[&row_dots], rows.flops(2 * n))?;
        let dw = Tensor::empty(device, &weight.shape())?;
        device.launch(&by_row(device, BACKWARD), &params, &[&row_dots, dy, sigma, u, v], &[&dw], rows.flops(3 * n))?;
        Ok(dw)
    }
}

/// [`spectral_norm`] after one round of power iteration, `v = normalize(W^T u)`, then `u = normalize(W v)`. The result has
/// the new vectors. In training PyTorch does so before each forward pass.
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn power_iteration(weight: &Tensor, u: &Tensor, v: &Tensor) -> Result<SpectralNorm> {
    let params = matrix("power_iteration", weight, u, v)?;
    let (device, shapes) = (weight.device(), [u.shape(), v.shape()]);
    let transposed = Tensor::empty(device, &shapes[1])?;
    let work = Work::threads(v.numel().div_ceil(RUN)).flops(2 * weight.numel() as u64);
    device.launch(&TRANSPOSED_PRODUCT, &params, &[weight, u], &[&transposed], work)?;
    // W t instead of W v, which has the same direction: v and u are then normalized together.
    let product = product(weight, &transposed, &params)?;
    let [u, v] = [Tensor::empty(device, &shapes[0])?, Tensor::empty(device, &shapes[1])?];
    let sigma = Tensor::empty(device, &[1])?;
    let work = Work::groups(1).flops(3 * (u.numel() + v.numel()) as u64);
    device.launch(&FINISH, &params, &[&transposed, &product], &[&u, &v, &sigma], work)?;
    Ok(SpectralNorm { weight: weight.clone(), sigma, u, v })
}

/// Checks the shapes of `u` and `v` and returns the Params of the weight as a matrix.
fn matrix(op: &'static str, weight: &Tensor, u: &Tensor, v: &Tensor) -> Result<Params> {
    let rows = weight.shape().first().copied().unwrap_or(1);
    let columns = weight.numel() / rows;
    u.shape().check(op, "u", &[rows])?;
    v.shape().check(op, "v", &[columns])?;
    Ok(Params { rows: rows as u32, columns: columns as u32, eps: EPS })
}

/// A kernel that has one workgroup for one or more rows of the weight, as suits the device.
fn by_row<C: Copy>(device: &Device, kernel: Kernel<C>) -> Kernel<C> {
    kernel.workgroup(AdapterKind::of(device).reduction_workgroup())
}

/// W v
fn product(weight: &Tensor, v: &Tensor, params: &Params) -> Result<Tensor> {
    let wv = Tensor::empty(weight.device(), &[params.rows as usize])?;
    let work = Work::groups((params.rows as usize).div_ceil(RUN)).flops(2 * weight.numel() as u64);
    weight.device().launch(&by_row(weight.device(), PRODUCT), params, &[weight, v], &[&wv], work)?;
    Ok(wv)
}

#[cfg(test)]
mod tests {
    use crate::{PackedWeight, conv2d_normalized, conv2d_packed};
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    /// A convolution of images as large as the kernel, which is a matrix product. Inputs: x, w, u, v.
    struct Product {
        by_weight: bool,
    }

    /// sum over j of a[i, j] b[k, j]
    fn product(a: &Array, b: &Array) -> Array {
        let (n, m) = (a.shape[0], b.shape[0]);
        let inner = a.data.len() / n;
        Array::from_fn([n, m, 1, 1], |[i, k, _, _]| {
            (0..inner).map(|j| a.data[i * inner + j] * b.data[k * inner + j]).sum()
        })
    }

    /// sum over i of a[i, k] b[i, j], in the shape `shape`
    fn transposed_product(a: &Array, b: &Array, shape: &[usize]) -> Array {
        let n = a.shape[0];
        let (m, inner) = (a.data.len() / n, b.data.len() / n);
        let at = |k: usize, j: usize| (0..n).map(|i| a.data[i * m + k] * b.data[i * inner + j]).sum();
        Array::new(shape, (0..m * inner).map(|at_kj| at(at_kj / inner, at_kj % inner)).collect())
    }

    /// u^T W v
    fn sigma(w: &Array, u: &Array, v: &Array) -> f64 {
        let columns = v.data.len();
        w.data.iter().enumerate().map(|(k, w)| w * u.data[k / columns] * v.data[k % columns]).sum()
    }

    impl Twin for Product {
        fn forward(&self, x: &[Array]) -> Array {
            let sigma = sigma(&x[1], &x[2], &x[3]);
            product(&x[0], &x[1].map(|w| w / sigma))
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let [x, w, u, v] = x else { panic!("x, w, u and v") };
            let (sigma, columns) = (sigma(w, u, v), v.data.len());
            let cout = w.shape[0];
            let dy_transposed = Array::from_fn([cout, x.shape[0], 1, 1], |[co, n, _, _]| dy[[n, co, 0, 0]]);
            let dx = transposed_product(&dy_transposed, &w.map(|w| w / sigma), &x.shape);
            let d_quotient = transposed_product(dy, x, &w.shape);
            let inner = w.data.iter().zip(&d_quotient.data).map(|(w, d)| w * d).sum::<f64>();
            let uv = |k: usize| u.data[k / columns] * v.data[k % columns];
            let dw = d_quotient.data.iter().enumerate().map(|(k, d)| d / sigma - inner / (sigma * sigma) * uv(k));
            vec![Some(dx), self.by_weight.then(|| Array::new(&w.shape, dw.collect())), None, None]
        }
    }

    fn normalized(v: Vec<f64>) -> Vec<f64> {
        let length = v.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
        v.iter().map(|v| v / length).collect()
    }

    /// The twin of one round of power iteration: `(u, v)`.
    fn iterated(w: &Array, u: &Array) -> (Vec<f64>, Vec<f64>) {
        let (rows, columns) = (u.data.len(), w.data.len() / u.data.len());
        let at = |i: usize, j: usize| w.data[i * columns + j];
        let v = normalized((0..columns).map(|j| (0..rows).map(|i| at(i, j) * u.data[i]).sum()).collect());
        let u = normalized((0..rows).map(|i| (0..columns).map(|j| at(i, j) * v[j]).sum()).collect());
        (u, v)
    }

    fn inputs(shape: &[usize]) -> [Array; 3] {
        let mut random = Random::new(1);
        let w = random.array(shape);
        // Some rounds of power iteration: with random u and v, sigma would be close to 0.
        let (mut u, mut v) = (random.array(&[shape[0]]), Array::zeros(&[w.data.len() / shape[0]]));
        for _ in 0..3 {
            let (next_u, next_v) = iterated(&w, &u);
            (u.data, v.data) = (next_u, next_v);
        }
        [w, u.map(|v| f64::from(v as f32)), v.map(|v| f64::from(v as f32))]
    }

    #[test]
    fn matches_twin() {
        let shapes = [
            &[1, 1, 1, 1][..],
            &[5, 3, 3, 3],
            &[37, 11, 4, 4],
            &[300, 2, 1, 1],
            &[7, 33, 4, 4],
            &[5, 8, 3, 3],
            &[6, 4, 1, 1],
        ];
        for shape in shapes {
            let [w, u, v] = inputs(shape);
            let mut images = shape.to_vec();
            images[0] = 3;
            let inputs = [Random::new(2).array(&images), w, u, v];
            let norm = |t: &[Tensor]| super::spectral_norm(&t[1], &t[2], &t[3]);
            check(&Product { by_weight: true }, &inputs, |t| conv2d_normalized(&t[0], &norm(t)?, None, 1, 0));
            check(&Product { by_weight: false }, &inputs, |t| {
                conv2d_packed(&t[0], &PackedWeight::normalized(&norm(t)?)?, None, 1, 0)
            });
        }
    }

    /// What a round of power iteration gives.
    #[derive(Clone, Copy)]
    enum PowerIteration {
        U,
        V,
        Sigma,
    }

    impl Twin for PowerIteration {
        fn forward(&self, x: &[Array]) -> Array {
            let (u, v) = iterated(&x[0], &x[1]);
            let [u, v] = [Array::new(&x[1].shape, u), Array::new(&x[2].shape, v)];
            match self {
                PowerIteration::Sigma => Array::new(&[1], vec![sigma(&x[0], &u, &v)]),
                PowerIteration::U => u,
                PowerIteration::V => v,
            }
        }

        fn backward(&self, _: &[Array], _: &Array) -> Vec<Option<Array>> {
            vec![None, None, None]
        }
    }

    #[test]
    fn power_iteration_matches_twin() {
        let shapes =
            [&[1, 1, 1, 1][..], &[5, 3, 3, 3], &[37, 11, 4, 4], &[300, 2, 1, 1], &[7, 33, 4, 4], &[6, 240, 3, 3]];
        for shape in shapes {
            for which in [PowerIteration::U, PowerIteration::V, PowerIteration::Sigma] {
                let run = |t: &[Tensor]| {
                    let norm = super::power_iteration(&t[0], &t[1], &t[2])?;
                    Ok(match which {
                        PowerIteration::U => norm.u.clone(),
                        PowerIteration::V => norm.v.clone(),
                        PowerIteration::Sigma => norm.sigma.clone(),
                    })
                };
                check(&which, &inputs(shape), run);
            }
        }
    }

    /// Because of PyTorch's eps, vectors of zeros stay zero.
    #[test]
    fn power_iteration_of_zeros_is_zero() {
        for device in devices() {
            let zeros = |shape: &[usize]| Tensor::new(&device, shape, &vec![0.0; shape.iter().product()]).unwrap();
            let norm = super::power_iteration(&zeros(&[3, 5, 1, 1]), &zeros(&[3]), &zeros(&[5])).unwrap();
            assert_eq!(norm.u.to_vec().unwrap(), [0.0; 3]);
            assert_eq!(norm.v.to_vec().unwrap(), [0.0; 5]);
            assert_eq!(norm.sigma.to_vec().unwrap(), [0.0]);
        }
    }
}
