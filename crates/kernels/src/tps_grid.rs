//! Where a thin-plate spline (Bookstein 1989) looks up each pixel.

use crate::kernel;
use alias_plan::ThinPlate;
use alias_tensor::{Error, Gpu, Kernel, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(TPS_GRID, GRID, MATH, REDUCE, THIN_PLATE);
static COEFFICIENTS: Kernel = kernel("tps_grid", SOURCE, "coefficients");
static FORWARD: Kernel = kernel("tps_grid", SOURCE, "forward");
static BACKWARD_PARTS: Kernel = kernel("tps_grid", SOURCE, "backward_parts");
static BACKWARD_TERMS: Kernel = kernel("tps_grid", SOURCE, "backward_terms");
static BACKWARD: Kernel = kernel("tps_grid", SOURCE, "backward");

params! { batch: u32, h: u32, w: u32, run: u32, parts: u32 }

const TERMS: usize = ThinPlate::POINTS + 3;

/// Pixels per workgroup of the gradient: 16 per invocation, so that rounding errors stay those of a short sum and a tree.
const RUN: usize = 16 * 256;

/// Operations of a pixel: 25 logarithms of 25 each, with 9 for what is around each.
pub(crate) const PIXEL_FLOPS: u64 = 25 * 34 + 12;

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
    let grid = Tensor::empty(theta.gpu(), &[params.batch as usize, height, width, 2])?;
    let pixels = grid.numel() / 2;
    let inputs = [&spline.coefficient, &spline.line, &spline.column_x, &spline.row_y];
    theta.gpu().launch(
        &FORWARD,
        &params,
        &inputs,
        &[&grid],
        Work::threads(pixels).flops(PIXEL_FLOPS * pixels as u64),
    )?;

    let shape = theta.shape();
    Ok(grid.with_backward([theta], move |dgrid| {
        let gpu = dgrid.gpu();
        let (n, parts) = (params.batch as usize, params.parts as usize);
        let partial = Tensor::empty(gpu, &[n, TERMS, parts, 2])?;
        let work = Work::groups(n * TERMS / 2 * parts).flops(PIXEL_FLOPS * pixels as u64);
        let inputs = [dgrid, &spline.line, &spline.column_x, &spline.row_y];
        gpu.launch(&BACKWARD_PARTS, &params, &inputs, &[&partial], work)?;
        let dterm = Tensor::empty(gpu, &[n, TERMS, 2])?;
        let work = Work::groups(n * TERMS).flops(partial.numel() as u64);
        gpu.launch(&BACKWARD_TERMS, &params, &[&partial], &[&dterm], work)?;
        let dtheta = Tensor::empty(gpu, &shape)?;
        let work = Work::threads(dtheta.numel() / 2).flops(2 * (TERMS * dtheta.numel()) as u64);
        gpu.launch(&BACKWARD, &params, &[&dterm, &spline.inverse], &[&dtheta], work)?;
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
        let gpu = theta.gpu();
        let inverse = rounded(gpu, &[TERMS, ThinPlate::POINTS], scaled_inverse().into_flattened().into_iter())?;
        let coefficient = Tensor::empty(gpu, &[n, TERMS, 2])?;
        let work = Work::threads(n * TERMS).flops(4 * (n * inverse.numel()) as u64);
        gpu.launch(&COEFFICIENTS, &params, &[theta, &inverse], &[&coefficient], work)?;
        let positions = |count: usize| rounded(gpu, &[count], (0..count).map(|k| ThinPlate::position(k, count)));
        let line = rounded(gpu, &[ThinPlate::LINES.len()], ThinPlate::LINES.into_iter())?;
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
fn rounded(gpu: &Gpu, shape: &[usize], values: impl Iterator<Item = f64>) -> Result<Tensor> {
    Tensor::new(gpu, shape, &values.map(|v| v as f32).collect::<Vec<_>>())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::TERMS;
    use alias_oracle::{Array, Random, Twin, check, gpu, gpu_with_bounds_checks, relative_l2};
    use alias_plan::ThinPlate;
    use alias_tensor::Tensor;

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

    /// One and more workgroups for each gradient. It is a difference of sums that are 20 times as large, so its bar is
    /// higher than that of `check`.
    #[test]
    fn larger_grids_match_twin() {
        for (batch, [h, w]) in [(3, [19, 31]), (2, [97, 101])] {
            let (theta, cotangent) = (displacements(batch), Random::new(7).array(&[batch, h, w, 2]));
            let run = |gpu| {
                let t = Tensor::new(gpu, &theta.shape, &theta.to_f32()).unwrap().requires_grad();
                let grid = super::tps_grid(&t, h, w).unwrap();
                let values = grid.to_vec().unwrap();
                let dgrid = Tensor::new(gpu, &cotangent.shape, &cotangent.to_f32()).unwrap();
                (values, grid.backward(&dgrid).unwrap().get(&t).unwrap().to_vec().unwrap())
            };
            let twin = TpsGrid { size: [h, w] };
            let inputs = [theta.clone()];
            let (grid, dtheta) = run(gpu());
            let error = relative_l2(&grid, &twin.forward(&inputs).data);
            assert!(error < 2e-6, "forward of {h}x{w}: {error:.1e}");
            let error = relative_l2(&dtheta, &twin.backward(&inputs, &cotangent)[0].as_ref().unwrap().data);
            assert!(error < 5e-6, "gradient of {h}x{w}: {error:.1e}");
            assert!((grid, dtheta) == run(gpu_with_bounds_checks()), "results differ with and without bounds checks");
        }
    }

    /// Pixels on control points, where the distance is 0, and small displacements.
    #[test]
    fn matches_twin_on_control_points() {
        let theta = displacements(2).map(|t| f64::from((t / 64.0) as f32));
        check(&TpsGrid { size: [5, 9] }, &[theta], |t| super::tps_grid(&t[0], 5, 9));
    }
}
