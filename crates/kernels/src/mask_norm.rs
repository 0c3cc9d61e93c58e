//! ALIAS's mask normalization (VITON-HD, section 3.4): standardizes the misaligned region and the rest separately.

use crate::kernel;
use alias_tensor::{Kernel, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(MASK_NORM, GRID, REDUCE);
static STATISTICS: Kernel = kernel("mask_norm", SOURCE, "statistics");
// For small planes, where 256 invocations would mostly wait at barriers.
static STATISTICS_SMALL: Kernel = kernel("mask_norm", SOURCE, "statistics").workgroup(32);
static FORWARD: Kernel = kernel("mask_norm", SOURCE, "forward");
static BACKWARD: Kernel = kernel("mask_norm", SOURCE, "backward");

params! { planes: u32, channels: u32, plane: u32, eps: f32 }

/// `x` (N, C, H, W) standardized in two regions, `mask` (N, 1, H, W; values in [0, 1], fractional at edges) and
/// `1 - mask`. For each region, the rest of the plane is filled with the region's mean, instance norm standardizes the
/// plane, and the result is scaled by the square root of the region's share of the plane. The two results are added. An
/// empty region adds nothing. The mask gets no gradient.
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn mask_norm(x: &Tensor, mask: &Tensor, eps: f32) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("mask_norm", "x")?;
    mask.shape().check("mask_norm", "mask", &[n, 1, h, w])?;
    let params = Params { planes: (n * c) as u32, channels: c as u32, plane: (h * w) as u32, eps };
    let elements = x.numel() as u64;
    // Saved for backward: five numbers for each of the two regions of a plane.
    let regions = Tensor::empty(x.gpu(), &[n * c, 2, 5])?;
    let reduction = if h * w <= 256 { &STATISTICS_SMALL } else { &STATISTICS };
    let work = Work::groups(n * c).flops(17 * elements);
    x.gpu().launch(reduction, &params, &[x, mask], &[&regions], work)?;
    let y = Tensor::empty(x.gpu(), &x.shape())?;
    let work = Work::threads(x.numel()).flops(8 * elements);
    x.gpu().launch(&FORWARD, &params, &[x, mask, &regions], &[&y], work)?;

    let (saved_x, saved_mask) = (x.clone(), mask.detach());
    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.gpu(), &dy.shape())?;
        let work = Work::groups(n * c).flops(30 * elements);
        dy.gpu().launch(&BACKWARD, &params, &[&saved_x, &saved_mask, &regions, dy], &[&dx], work)?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
mod tests {
    use crate::instance_norm::tests::{moments, pull_back};
    use alias_oracle::{Array, Random, Twin, check, gpu};
    use alias_tensor::Tensor;

    const EPS: f64 = 1e-5;

    /// Follows the paper literally, filling included.
    struct MaskNorm;

    struct Region {
        mask: Vec<f64>,
        filled: Vec<f64>,
        count: f64,
        share: f64,
    }

    impl Region {
        fn new(x: &[f64], mask: Vec<f64>) -> Region {
            let total = mask.iter().sum::<f64>();
            let count = if total == 0.0 { 1.0 } else { total };
            let mean = x.iter().zip(&mask).map(|(x, m)| x * m).sum::<f64>() / count;
            let filled = x.iter().zip(&mask).map(|(x, m)| m * x + (1.0 - m) * mean).collect();
            Region { mask, filled, count, share: (count / x.len() as f64).sqrt() }
        }

        fn forward(&self) -> Vec<f64> {
            let (mean, rstd) = moments(&self.filled, EPS);
            self.filled.iter().map(|v| (v - mean) * rstd * self.share).collect()
        }

        fn backward(&self, dy: &[f64]) -> Vec<f64> {
            let scaled: Vec<_> = dy.iter().map(|dy| dy * self.share).collect();
            let dv = pull_back(&self.filled, &scaled, EPS);
            let dmean = dv.iter().zip(&self.mask).map(|(dv, m)| dv * (1.0 - m)).sum::<f64>();
            dv.iter().zip(&self.mask).map(|(dv, m)| m * (dv + dmean / self.count)).collect()
        }
    }

    /// The masked region and the rest of each plane.
    fn regions(x: &Array, mask: &Array) -> Vec<[Region; 2]> {
        let [_, c, h, w] = x.nchw();
        let planes = x.data.chunks(h * w).enumerate();
        planes
            .map(|(k, plane)| {
                let m = &mask.data[k / c * h * w..][..h * w];
                [Region::new(plane, m.to_vec()), Region::new(plane, m.iter().map(|m| 1.0 - m).collect())]
            })
            .collect()
    }

    fn sum([a, b]: [Vec<f64>; 2]) -> Vec<f64> {
        a.iter().zip(&b).map(|(a, b)| a + b).collect()
    }

    impl Twin for MaskNorm {
        fn forward(&self, x: &[Array]) -> Array {
            let data = regions(&x[0], &x[1]).into_iter().flat_map(|r| sum(r.map(|r| r.forward()))).collect();
            Array::new(&x[0].shape, data)
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let plane = x[0].shape[2] * x[0].shape[3];
            let pairs = regions(&x[0], &x[1]).into_iter().zip(dy.data.chunks(plane));
            let data = pairs.flat_map(|(r, dy)| sum(r.map(|r| r.backward(dy)))).collect();
            vec![Some(Array::new(&x[0].shape, data)), None]
        }
    }

    #[test]
    fn matches_twin() {
        let empty = |_: f64| 0.0;
        let full = |_: f64| 1.0;
        let hard = |v: f64| f64::from(v > 0.3);
        let fractional = |v: f64| f64::from(v.abs() as f32);
        let soft_edge = |v: f64| f64::from((2.0 * v).clamp(0.0, 1.0) as f32);
        for kind in [empty, full, hard, fractional, soft_edge] {
            // More than two pixels: two always normalize to -1 and 1, so their gradient is pure rounding.
            for shape in [[2, 3, 5, 7], [3, 2, 17, 31], [1, 4, 5, 1]] {
                let mut random = Random::new(1);
                let [n, _, h, w] = shape;
                let mask = random.array(&[n, 1, h, w]).map(kind);
                check(&MaskNorm, &[random.array(&shape), mask], |t| super::mask_norm(&t[0], &t[1], EPS as f32));
            }
        }
    }

    /// A plane of one pixel equals its mean, so output and gradient are zero. Products with these masks are exact.
    #[test]
    fn one_pixel_matches_twin() {
        for m in [0.0, 0.5, 1.0] {
            let x = Random::new(1).array(&[2, 3, 1, 1]);
            check(&MaskNorm, &[x, Array::new(&[2, 1, 1, 1], vec![m; 2])], |t| {
                super::mask_norm(&t[0], &t[1], EPS as f32)
            });
        }
    }

    /// An example worked out by hand: three adjacent misaligned pixels in a plane of 25.
    #[test]
    fn worked_example() {
        let x = [1, 2, 3, 2, 2, 2, 2, 2, 2, 2, 1, 1, 3, 2, 3, 2, 2, 1, 2, 3, 3, 1, 2, 2, 2].map(|v| v as f32);
        let mut mask = [0.0; 25];
        mask[11..14].fill(1.0);
        let x = Tensor::new(gpu(), &[1, 1, 5, 5], &x).unwrap();
        let mask = Tensor::new(gpu(), &[1, 1, 5, 5], &mask).unwrap();
        // An eps of 0 gives round numbers: the variances are 2 / 25 and 8 / 25.
        let y = super::mask_norm(&x, &mask, 0.0).unwrap().to_vec().unwrap();
        let inside = (3.0f32 / 25.0).sqrt() * (25.0f32 / 2.0).sqrt();
        let outside = (22.0f32 / 25.0).sqrt() * (25.0f32 / 8.0).sqrt();
        let close = |got: f32, want: f32| assert!((got - want).abs() < 1e-5, "{got}, not {want}");
        (11..14).zip([-inside, inside, 0.0]).for_each(|(i, want)| close(y[i], want));
        (0..3).zip([-outside, 0.0, outside]).for_each(|(i, want)| close(y[i], want));
        // The source of the example rounds: -3.5 and 3.5 inside, 1.7 outside, before the scaling by the square roots.
        assert!((inside / (3.0f32 / 25.0).sqrt() - 3.5).abs() < 0.05);
        assert!((outside / (22.0f32 / 25.0).sqrt() - 1.7).abs() < 0.07);
    }
}
