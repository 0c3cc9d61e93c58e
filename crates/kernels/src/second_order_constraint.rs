//! The constraint that keeps the control points of a warp in even, straight lines (ACGPN, Yang et al. 2020).

use crate::{kernel, scale, sum};
use alias_cpu::Cpu;
use alias_tensor::{Error, Kernel, OnCores, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(SECOND_ORDER_CONSTRAINT, GRID);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("second_order_constraint", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 2, 1>> =
    kernel("second_order_constraint", SOURCE, "backward").on_cores(backward);

params! { batch: u32, n: u32, spacing: f32 }

/// Three points in a row, as shaders/second_order_constraint.wgsl defines d, s and m.
struct Triple {
    points: [usize; 3],
    d: [f32; 2],
    s: [f32; 2],
    m: [f32; 2],
}

impl Triple {
    /// The three points of element `at` of an image's result (2, n, n - 2): direction, line and first point. `theta` are
    /// the image's displacements.
    fn new(params: &Params, theta: &[f32], at: usize) -> Triple {
        let n = params.n as usize;
        let (direction, line, first) = (at / (n - 2) / n, at / (n - 2) % n, at % (n - 2));
        // Along y neighbours follow each other.
        let points = [0, 1, 2].map(|k| if direction == 0 { line * n + first + k } else { (first + k) * n + line });
        let t = points.map(|point| [theta[point], theta[n * n + point]]);
        let step = if direction == 0 { [0.0, params.spacing] } else { [params.spacing, 0.0] };
        Triple {
            points,
            d: [0, 1].map(|axis| step[axis] + (t[1][axis] - t[0][axis])),
            s: [0, 1].map(|axis| (t[2][axis] - t[1][axis]) - (t[1][axis] - t[0][axis])),
            m: [0, 1].map(|axis| 2.0 * step[axis] + (t[2][axis] - t[0][axis])),
        }
    }

    fn area(&self) -> f32 {
        self.d[0] * self.s[1] - self.d[1] * self.s[0]
    }
}

fn forward(_: &Cpu, params: &Params, [theta]: [&[f32]; 1], [y]: [&mut [f32]; 1]) {
    let n = params.n as usize;
    let images = y.chunks_exact_mut(2 * n * (n - 2)).zip(theta.chunks_exact(2 * n * n));
    for (y, theta) in images {
        for (at, y) in y.iter_mut().enumerate() {
            let t = Triple::new(params, theta, at);
            let change = (t.s[0] * t.m[0]).abs() + (t.s[1] * t.m[1]).abs();
            *y = change / (n * (n - 2)) as f32 + t.area().abs();
        }
    }
}

fn backward(_: &Cpu, params: &Params, [theta, dy]: [&[f32]; 2], [dtheta]: [&mut [f32]; 1]) {
    let n = params.n as usize;
    // Not `signum`, which is 1 at 0.
    let sign = |v: f32| if v == 0.0 { 0.0 } else { v.signum() };
    dtheta.fill(0.0);
    let images = dtheta.chunks_exact_mut(2 * n * n).zip(theta.chunks_exact(2 * n * n));
    for ((dtheta, theta), dy) in images.zip(dy.chunks_exact(2 * n * (n - 2))) {
        for (at, dy) in dy.iter().enumerate() {
            let t = Triple::new(params, theta, at);
            // Derivatives of d, s and m by each point's displacement.
            let derivatives = [[-1.0, 1.0, -1.0], [1.0, -2.0, 0.0], [0.0, 1.0, 1.0]];
            for (point, [by_d, by_s, by_m]) in t.points.into_iter().zip(derivatives) {
                let area = [by_d * t.s[1] - by_s * t.d[1], by_s * t.d[0] - by_d * t.s[0]];
                for axis in 0..2 {
                    let change = sign(t.s[axis] * t.m[axis]) * (by_s * t.m[axis] + by_m * t.s[axis]);
                    dtheta[axis * n * n + point] += dy * (change / (n * (n - 2)) as f32 + sign(t.area()) * area[axis]);
                }
            }
        }
    }
}

/// How far n by n control points, displaced by `theta` (N, 2 n n, 1, 1), are from even, straight lines: a scalar. The
/// displacements are those of [`tps_grid`](crate::tps_grid): all x, then all y; y runs fastest; the points are evenly
/// spaced from -0.9 to 0.9.
///
/// For neighbouring steps d and e along each line of points, it is `|d^2 - e^2|` in x and in y, each averaged over all
/// lines of a direction, plus `|d x e|`, which is 0 where three points are on a line, summed over them; all of that for
/// lines along y, plus the same for lines along x, averaged over the batch. Where an absolute value is 0, so is its
/// gradient.
///
/// # Errors
/// If `theta` is of another shape, n is less than 3, or the device reports an error.
pub fn second_order_constraint(theta: &Tensor) -> Result<Tensor> {
    let [batch, parameters, h, w] = theta.shape().nchw("second_order_constraint", "theta")?;
    let n = (parameters / 2).isqrt();
    if n < 3 || 2 * n * n != parameters || h * w != 1 {
        let expected = "(N, 2 n n, 1, 1) with n of at least 3";
        return Err(Error::shape("second_order_constraint", "theta", &theta.shape(), expected));
    }
    let params = Params { batch: batch as u32, n: n as u32, spacing: (1.8 / (n - 1) as f64) as f32 };
    let y = Tensor::empty(theta.device(), &[batch, 2, n, n - 2])?;
    let triples = y.numel();
    theta.device().launch(&FORWARD, &params, &[theta], &[&y], Work::threads(triples).flops(26 * triples as u64))?;

    let saved = theta.clone();
    let terms = y.with_backward([theta], move |dy| {
        let dtheta = Tensor::empty(dy.device(), &[batch, 2 * n * n, 1, 1])?;
        let work = Work::threads(batch * n * n).flops(3 * 40 * triples as u64);
        dy.device().launch(&BACKWARD, &params, &[&saved, dy], &[&dtheta], work)?;
        Ok([Some(dtheta)])
    });
    scale(&sum(&terms)?, 1.0 / batch as f32)
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    struct SecondOrderConstraint;

    /// Calls `f` with the image and the indices of three neighbouring control points, for all lines in both directions.
    fn for_each_triple(theta: &Array, mut f: impl FnMut(usize, [usize; 3])) {
        let n = (theta.shape[1] / 2).isqrt();
        for image in 0..theta.shape[0] {
            for i in 0..n {
                for j in 0..n - 2 {
                    f(image, [0, 1, 2].map(|k| n * i + j + k));
                    f(image, [0, 1, 2].map(|k| n * (j + k) + i));
                }
            }
        }
    }

    /// The displaced control point `k`.
    fn point(theta: &Array, image: usize, k: usize) -> [f64; 2] {
        let count = theta.shape[1] / 2;
        let n = count.isqrt();
        let c = |i: usize| -0.9 + 1.8 * i as f64 / (n - 1) as f64;
        [c(k / n) + theta[[image, k, 0, 0]], c(k % n) + theta[[image, count + k, 0, 0]]]
    }

    impl Twin for SecondOrderConstraint {
        fn forward(&self, x: &[Array]) -> Array {
            let (batch, n) = (x[0].shape[0], (x[0].shape[1] / 2).isqrt());
            let mut total = 0.0;
            for_each_triple(&x[0], |image, points| {
                let [a, b, c] = points.map(|k| point(&x[0], image, k));
                let (d, e) = ([b[0] - a[0], b[1] - a[1]], [c[0] - b[0], c[1] - b[1]]);
                let change: f64 = (0..2).map(|axis| (e[axis].powi(2) - d[axis].powi(2)).abs()).sum();
                total += change / (n * (n - 2)) as f64 + (d[0] * e[1] - d[1] * e[0]).abs();
            });
            Array::new(&[], vec![total / batch as f64])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let (batch, count) = (x[0].shape[0], x[0].shape[1] / 2);
            let n = count.isqrt();
            let share = dy.data[0] / batch as f64;
            let mut dtheta = Array::zeros(&x[0].shape);
            for_each_triple(&x[0], |image, points| {
                let [a, b, c] = points.map(|k| point(&x[0], image, k));
                let (d, e) = ([b[0] - a[0], b[1] - a[1]], [c[0] - b[0], c[1] - b[1]]);
                let area = (d[0] * e[1] - d[1] * e[0]).signum();
                let (by_d, by_e) = ([area * e[1], -area * e[0]], [-area * d[1], area * d[0]]);
                for axis in 0..2 {
                    let change = (e[axis].powi(2) - d[axis].powi(2)).signum() * 2.0 / (n * (n - 2)) as f64;
                    let (by_d, by_e) = (by_d[axis] - change * d[axis], by_e[axis] + change * e[axis]);
                    for (k, gradient) in points.into_iter().zip([-by_d, by_d - by_e, by_e]) {
                        dtheta[[image, axis * count + k, 0, 0]] += share * gradient;
                    }
                }
            });
            vec![Some(dtheta)]
        }
    }

    #[test]
    fn matches_twin() {
        for (batch, n, range) in [(1, 3, 1.0), (2, 5, 0.5), (3, 5, 0.01), (7, 4, 0.2)] {
            let theta = Random::new(3).array(&[batch, 2 * n * n, 1, 1]).map(|t| f64::from((range * t) as f32));
            check(&SecondOrderConstraint, &[theta], |t| super::second_order_constraint(&t[0]));
        }
    }

    /// Points in even lines, where every absolute value is 0.
    #[test]
    fn no_displacement_has_no_gradient() {
        for device in devices() {
            let theta = Tensor::new(&device, &[2, 50, 1, 1], &[0.0; 100]).unwrap().requires_grad();
            let y = super::second_order_constraint(&theta).unwrap();
            assert_eq!(y.to_vec().unwrap(), [0.0]);
            let gradients = y.backward(&Tensor::new(&device, &[], &[1.0]).unwrap()).unwrap();
            assert_eq!(gradients.get(&theta).unwrap().to_vec().unwrap(), [0.0; 100]);
        }
    }
}
