//! Where a thin-plate spline (Bookstein 1989) looks up each pixel.

use crate::kernel;
use alias_cpu::{BLOCK, Cpu, log};
use alias_plan::ThinPlate;
use alias_tensor::{Device, Error, Kernel, OnCores, Result, Tensor, Work};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(TPS_GRID, GRID, MATH, REDUCE, THIN_PLATE);
static COEFFICIENTS: Kernel<OnCores<Params, 2, 1>> = kernel("tps_grid", SOURCE, "coefficients").on_cores(coefficients);
static FORWARD: Kernel<OnCores<Params, 4, 1>> = kernel("tps_grid", SOURCE, "forward").on_cores(forward);
static BACKWARD_PARTS: Kernel<OnCores<Params, 4, 1>> =
    kernel("tps_grid", SOURCE, "backward_parts").on_cores(backward_parts);
static BACKWARD_TERMS: Kernel<OnCores<Params, 1, 1>> =
    kernel("tps_grid", SOURCE, "backward_terms").on_cores(backward_terms);
static BACKWARD: Kernel<OnCores<Params, 2, 1>> = kernel("tps_grid", SOURCE, "backward").on_cores(backward);

params! { batch: u32, h: u32, w: u32, run: u32, parts: u32 }

const TERMS: usize = ThinPlate::POINTS + 3;

/// Pixels per workgroup of the gradient: 16 per invocation, so that rounding errors stay those of a short sum and a tree.
const RUN: usize = 16 * 256;

/// Operations of a pixel: 25 logarithms of 25 each, with 9 for what is around each.
pub(crate) const PIXEL_FLOPS: u64 = 25 * 34 + 12;

/// The sum of products.
fn dot<'a>(a: impl Iterator<Item = &'a f32>, b: impl Iterator<Item = &'a f32>) -> f32 {
    a.zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
}

fn coefficients(_: &Cpu, _: &Params, [theta, inverse]: [&[f32]; 2], [coefficient]: [&mut [f32]; 1]) {
    for (k, to) in coefficient.iter_mut().enumerate() {
        let (axis, term, n) = (k % 2, k / 2 % TERMS, k / 2 / TERMS);
        let inverse = &inverse[term * ThinPlate::POINTS..][..ThinPlate::POINTS];
        *to = dot(inverse.iter(), theta[(2 * n + axis) * ThinPlate::POINTS..].iter());
    }
}

fn forward(cpu: &Cpu, params: &Params, inputs: [&[f32]; 4], [grid]: [&mut [f32]; 1]) {
    let (h, w) = (params.h as usize, params.w as usize);
    let rows = bytemuck::cast_slice_mut(grid).par_chunks_exact_mut(w).enumerate();
    rows.for_each(|(row, grid)| look_up_row(cpu, inputs, row / h, row % h, grid));
}

/// Where to look for the pixels in row `i` of image `n`, as `look_up_at` of shaders/shared/thin_plate.wgsl says.
/// `spline` has the coefficients, the coordinates of control points, columns and rows.
pub(crate) fn look_up_row(cpu: &Cpu, spline: [&[f32]; 4], n: usize, i: usize, grid: &mut [[f32; 2]]) {
    let [coefficient, line, column_x, row_y] = spline;
    let coefficient = bytemuck::cast_slice(&coefficient[n * 2 * TERMS..][..2 * TERMS]);
    cpu.dispatch(Row { coefficient, line, column_x, y: row_y[i], grid });
}

struct Row<'a> {
    /// (TERMS)
    coefficient: &'a [[f32; 2]],
    line: &'a [f32],
    column_x: &'a [f32],
    y: f32,
    grid: &'a mut [[f32; 2]],
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Row { coefficient, line, column_x, y, grid } = self;
        let (of_points, of_line) = coefficient.split_at(ThinPlate::POINTS);
        for (x, grid) in column_x.chunks(BLOCK).zip(grid.chunks_mut(BLOCK)) {
            let mut points = [[0.0; BLOCK], [y; BLOCK]];
            points[0][..x.len()].copy_from_slice(x);
            let mut moved = [[0.0; BLOCK]; 2];
            for (k, coefficient) in of_points.iter().enumerate() {
                let bends = bends(simd, line, k, &points);
                for axis in 0..2 {
                    for i in 0..BLOCK {
                        moved[axis][i] += coefficient[axis] * bends[i];
                    }
                }
            }
            for (i, place) in grid.iter_mut().enumerate() {
                // The point itself is added last, for accuracy.
                *place = std::array::from_fn(|axis| {
                    let line_part = of_line[0][axis] + of_line[1][axis] * points[0][i] + of_line[2][axis] * y;
                    points[axis][i] + (line_part + moved[axis][i])
                });
            }
        }
    }
}

/// `U(d) = d ln(d / 4)` of the squared distance of each of some points from control point `k`.
#[inline(always)]
fn bends<S: Simd>(simd: S, line: &[f32], k: usize, [x, y]: &[[f32; BLOCK]; 2]) -> [f32; BLOCK] {
    let (line_x, line_y) = (line[k / line.len()], line[k % line.len()]);
    let mut bends = std::array::from_fn(|i| (x[i] - line_x) * (x[i] - line_x) + (y[i] - line_y) * (y[i] - line_y));
    for d in S::as_mut_simd_f32s(&mut bends).0 {
        // U(0) is 0, as is 0 times the logarithm of the smallest normal number.
        let quarter = simd.mul_f32s(*d, simd.splat_f32s(0.25));
        *d = simd.mul_f32s(*d, log(simd, simd.max_f32s(quarter, simd.splat_f32s(f32::MIN_POSITIVE))));
    }
    bends
}

fn backward_parts(cpu: &Cpu, params: &Params, inputs: [&[f32]; 4], [partial]: [&mut [f32]; 1]) {
    let [dgrid, line, column_x, row_y] = inputs;
    let (pixels, parts) = (column_x.len() * row_y.len(), params.parts as usize);
    let images = bytemuck::cast_slice(dgrid).par_chunks_exact(pixels);
    let sums: Vec<[[f64; 2]; TERMS]> = images
        .flat_map(|image| image.par_chunks(RUN).enumerate())
        .map(|(part, dgrid)| cpu.dispatch(Part { dgrid, first: part * RUN, line, column_x, row_y }))
        .collect();
    for (k, to) in partial.iter_mut().enumerate() {
        let (axis, part, term, n) = (k % 2, k / 2 % parts, k / 2 / parts % TERMS, k / 2 / parts / TERMS);
        *to = sums[n * parts + part][term][axis] as f32;
    }
}

/// The sums over some pixels of an image of their gradient times each term.
struct Part<'a> {
    dgrid: &'a [[f32; 2]],
    /// Number of the first pixel.
    first: usize,
    line: &'a [f32],
    column_x: &'a [f32],
    row_y: &'a [f32],
}

impl WithSimd for Part<'_> {
    type Output = [[f64; 2]; TERMS];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [[f64; 2]; TERMS] {
        let Part { dgrid, first, line, column_x, row_y } = self;
        let mut sums = [[[0.0; BLOCK]; 2]; TERMS];
        for (block, dgrid) in dgrid.chunks(BLOCK).enumerate() {
            let (mut points, mut gradients) = ([[0.0; BLOCK]; 2], [[0.0; BLOCK]; 2]);
            for (i, gradient) in dgrid.iter().enumerate() {
                let at = first + block * BLOCK + i;
                (points[0][i], points[1][i]) = (column_x[at % column_x.len()], row_y[at / column_x.len()]);
                (gradients[0][i], gradients[1][i]) = (f64::from(gradient[0]), f64::from(gradient[1]));
            }
            for (term, sums) in sums.iter_mut().enumerate() {
                let values = match term.checked_sub(ThinPlate::POINTS) {
                    None => bends(simd, line, term, &points),
                    Some(0) => [1.0; BLOCK],
                    Some(axis) => points[axis - 1],
                };
                for (sums, gradients) in sums.iter_mut().zip(&gradients) {
                    for i in 0..BLOCK {
                        sums[i] += gradients[i] * f64::from(values[i]);
                    }
                }
            }
        }
        sums.map(|sums| sums.map(|sums| sums.iter().sum()))
    }
}

fn backward_terms(_: &Cpu, params: &Params, [partial]: [&[f32]; 1], [dterm]: [&mut [f32]; 1]) {
    for (k, to) in dterm.iter_mut().enumerate() {
        let parts = &partial[k / 2 * 2 * params.parts as usize..][..2 * params.parts as usize];
        *to = parts.iter().skip(k % 2).step_by(2).copied().map(f64::from).sum::<f64>() as f32;
    }
}

fn backward(_: &Cpu, _: &Params, [dterm, inverse]: [&[f32]; 2], [dtheta]: [&mut [f32]; 1]) {
    for (k, to) in dtheta.iter_mut().enumerate() {
        let (point, axis, n) = (k % ThinPlate::POINTS, k / ThinPlate::POINTS % 2, k / ThinPlate::POINTS / 2);
        let of_point = inverse.iter().skip(point).step_by(ThinPlate::POINTS);
        *to = dot(of_point, dterm[n * 2 * TERMS + axis..].iter().step_by(2));
    }
}

/// Where to look up each pixel of a (`height`, `width`) picture, (N, height, width, 2) as `grid_sample` takes it, for a
/// thin-plate spline with 5x5 control points, whose displacements are `theta` (N, 50, 1, 1): all x, then all y.
/// [`ThinPlate`] says where the control points lie.
///
/// The pixel in row r and column s is the point x = -0.9 + 1.8 s / (width - 1), likewise y. Without displacements,
/// the middle nine tenths of the picture are looked up.
///
/// # Errors
/// If `theta` is of another shape, a side is 0, or the device reports an error.
pub fn tps_grid(theta: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let spline = Spline::new("tps_grid", theta, height, width)?;
    let params = spline.params;
    let grid = Tensor::empty(theta.device(), &[params.batch as usize, height, width, 2])?;
    let pixels = grid.numel() / 2;
    let inputs = [&spline.coefficient, &spline.line, &spline.column_x, &spline.row_y];
    let work = Work::threads(pixels).flops(PIXEL_FLOPS * pixels as u64);
    theta.device().launch(&FORWARD, &params, &inputs, &[&grid], work)?;

    let shape = theta.shape();
    Ok(grid.with_backward([theta], move |dgrid| {
        let device = dgrid.device();
        let (n, parts) = (params.batch as usize, params.parts as usize);
        let partial = Tensor::empty(device, &[n, TERMS, parts, 2])?;
        let work = Work::groups(n * TERMS / 2 * parts).flops(PIXEL_FLOPS * pixels as u64);
        let inputs = [dgrid, &spline.line, &spline.column_x, &spline.row_y];
        device.launch(&BACKWARD_PARTS, &params, &inputs, &[&partial], work)?;
        let dterm = Tensor::empty(device, &[n, TERMS, 2])?;
        let work = Work::groups(n * TERMS).flops(partial.numel() as u64);
        device.launch(&BACKWARD_TERMS, &params, &[&partial], &[&dterm], work)?;
        let dtheta = Tensor::empty(device, &shape)?;
        let work = Work::threads(dtheta.numel() / 2).flops(2 * (TERMS * dtheta.numel()) as u64);
        device.launch(&BACKWARD, &params, &[&dterm, &spline.inverse], &[&dtheta], work)?;
        Ok([Some(dtheta)])
    }))
}

/// What `look_up_at` of shaders/shared/thin_plate.wgsl reads.
pub(crate) struct Spline {
    params: Params,
    inverse: Tensor,
    /// (N, 28, 2)
    pub(crate) coefficient: Tensor,
    /// (5)
    pub(crate) line: Tensor,
    /// (width)
    pub(crate) column_x: Tensor,
    /// (height)
    pub(crate) row_y: Tensor,
}

impl Spline {
    /// Computes the coefficients for `theta`, an argument of the operation `op`.
    pub(crate) fn new(op: &'static str, theta: &Tensor, height: usize, width: usize) -> Result<Spline> {
        let [n, ..] = theta.shape().nchw(op, "theta")?;
        theta.shape().check(op, "theta", &[n, 2 * ThinPlate::POINTS, 1, 1])?;
        if height == 0 || width == 0 {
            return Err(Error::argument(op, "height, width", format!("{height}, {width}"), "sides of at least 1"));
        }
        let (batch, h, w) = (n as u32, height as u32, width as u32);
        let parts = (height * width).div_ceil(RUN) as u32;
        let params = Params { batch, h, w, run: RUN as u32, parts };
        let device = theta.device();
        let inverse = rounded(device, &[TERMS, ThinPlate::POINTS], scaled_inverse().into_flattened().into_iter())?;
        let coefficient = Tensor::empty(device, &[n, TERMS, 2])?;
        let work = Work::threads(n * TERMS).flops(4 * (n * inverse.numel()) as u64);
        device.launch(&COEFFICIENTS, &params, &[theta, &inverse], &[&coefficient], work)?;
        let positions = |count: usize| rounded(device, &[count], (0..count).map(|k| ThinPlate::position(k, count)));
        let line = rounded(device, &[ThinPlate::LINES.len()], ThinPlate::LINES.into_iter())?;
        Ok(Spline { params, inverse, coefficient, line, column_x: positions(width)?, row_y: positions(height)? })
    }
}

/// The matrix from displacements to coefficients for `U(d) = d ln(d / 4)`, as shaders/shared/thin_plate.wgsl explains: a0
/// gets ln 4 times the sum of `w_k |p_k|^2`.
fn scaled_inverse() -> Vec<[f64; ThinPlate::POINTS]> {
    let mut inverse = ThinPlate::inverse().to_vec();
    let squares = ThinPlate::LINES.map(|c| c * c);
    let moments: [f64; ThinPlate::POINTS] = std::array::from_fn(|displaced| {
        (0..ThinPlate::POINTS).map(|k| inverse[k][displaced] * (squares[k / 5] + squares[k % 5])).sum()
    });
    inverse[ThinPlate::POINTS].iter_mut().zip(moments).for_each(|(a0, moment)| *a0 += 4f64.ln() * moment);
    inverse
}

/// A tensor of float64 values, each rounded once.
fn rounded(device: &Device, shape: &[usize], values: impl Iterator<Item = f64>) -> Result<Tensor> {
    Tensor::new(device, shape, &values.map(|v| v as f32).collect::<Vec<_>>())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::TERMS;
    use alias_oracle::{Array, Random, Twin, check, devices, gpu, gpu_with_bounds_checks, relative_l2};
    use alias_plan::ThinPlate;
    use alias_tensor::{Device, Tensor};

    pub(crate) struct TpsGrid {
        pub(crate) size: [usize; 2],
    }

    /// The terms of the spline at the pixel in row `i` and column `j`.
    fn terms([h, w]: [usize; 2], i: usize, j: usize) -> [f64; TERMS] {
        let (x, y) = (ThinPlate::position(j, w), ThinPlate::position(i, h));
        std::array::from_fn(|m| match m {
            25 => 1.0,
            26 => x,
            27 => y,
            k => {
                let d = (x - ThinPlate::LINES[k / 5]).powi(2) + (y - ThinPlate::LINES[k % 5]).powi(2);
                if d == 0.0 { 0.0 } else { d * d.ln() }
            }
        })
    }

    impl Twin for TpsGrid {
        fn forward(&self, x: &[Array]) -> Array {
            let ([h, w], inverse) = (self.size, ThinPlate::inverse());
            Array::from_fn([x[0].shape[0], h, w, 2], |[n, i, j, axis]| {
                let terms = terms(self.size, i, j);
                let factor = |m: usize| (0..25).map(|k| inverse[m][k] * x[0][[n, 25 * axis + k, 0, 0]]).sum::<f64>();
                terms[26 + axis] + (0..TERMS).map(|m| factor(m) * terms[m]).sum::<f64>()
            })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let ([h, w], inverse) = (self.size, ThinPlate::inverse());
            let mut dtheta = Array::zeros(&x[0].shape);
            Array::from_fn([x[0].shape[0], h, w], |[n, i, j]| {
                let terms = terms(self.size, i, j);
                for k in 0..25 {
                    let by_point: f64 = (0..TERMS).map(|m| inverse[m][k] * terms[m]).sum();
                    dtheta[[n, k, 0, 0]] += dy[[n, i, j, 0]] * by_point;
                    dtheta[[n, 25 + k, 0, 0]] += dy[[n, i, j, 1]] * by_point;
                }
                0.0
            });
            vec![Some(dtheta)]
        }
    }

    /// Displacements as large as tanh gives them.
    pub(crate) fn displacements(batch: usize) -> Array {
        Random::new(1).array(&[batch, 50, 1, 1])
    }

    #[test]
    fn matches_twin() {
        for (batch, size) in [(1, [1, 1]), (2, [5, 7])] {
            let theta = displacements(batch);
            check(&TpsGrid { size }, &[theta], |t| super::tps_grid(&t[0], size[0], size[1]));
        }
    }

    /// The grid for `theta`, and the gradient by `theta` for `dgrid`.
    fn grid_and_gradient(device: &Device, theta: &Array, dgrid: &Array) -> [Vec<f32>; 2] {
        let theta = Tensor::new(device, &theta.shape, &theta.to_f32()).unwrap().requires_grad();
        let grid = super::tps_grid(&theta, dgrid.shape[1], dgrid.shape[2]).unwrap();
        let values = grid.to_vec().unwrap();
        let dgrid = Tensor::new(device, &dgrid.shape, &dgrid.to_f32()).unwrap();
        [values, grid.backward(&dgrid).unwrap().get(&theta).unwrap().to_vec().unwrap()]
    }

    /// One and more runs of pixels for each gradient. It is a difference of sums that are 20 times as large, so its bar
    /// is higher than that of `check`.
    #[test]
    fn larger_grids_match_twin() {
        for (batch, [h, w]) in [(3, [19, 31]), (2, [97, 101])] {
            let (theta, cotangent) = (displacements(batch), Random::new(7).array(&[batch, h, w, 2]));
            let twin = TpsGrid { size: [h, w] };
            let inputs = [theta.clone()];
            let want = [twin.forward(&inputs), twin.backward(&inputs, &cotangent).remove(0).unwrap()];
            for device in devices() {
                let [grid, dtheta] = grid_and_gradient(&device, &theta, &cotangent);
                let error = relative_l2(&grid, &want[0].data);
                assert!(error < 2e-6, "forward of {h}x{w} on {device:?}: {error:.1e}");
                let error = relative_l2(&dtheta, &want[1].data);
                assert!(error < 5e-6, "gradient of {h}x{w} on {device:?}: {error:.1e}");
            }
        }
    }

    #[test]
    fn larger_grids_are_the_same_with_bounds_checks() {
        let (theta, cotangent) = (displacements(2), Random::new(7).array(&[2, 97, 101, 2]));
        let [unchecked, checked] =
            [gpu(), gpu_with_bounds_checks()].map(|gpu| grid_and_gradient(&gpu.into(), &theta, &cotangent));
        assert!(unchecked == checked);
    }

    /// Pixels on control points, where the distance is 0, and small displacements.
    #[test]
    fn matches_twin_on_control_points() {
        let theta = displacements(2).map(|t| f64::from((t / 64.0) as f32));
        check(&TpsGrid { size: [5, 9] }, &[theta], |t| super::tps_grid(&t[0], 5, 9));
    }
}
