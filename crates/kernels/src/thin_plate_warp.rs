//! Pictures warped by a thin-plate spline, without a stored grid.

use crate::grid_sample::Place;
use crate::kernel;
use crate::tps_grid::{PIXEL_FLOPS, Spline, look_up_row};
use alias_cpu::Cpu;
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(THIN_PLATE_WARP, GRID, MATH, THIN_PLATE, BILINEAR);
static FORWARD: Kernel<OnCores<Params, 5, 1>> = kernel("thin_plate_warp", SOURCE, "forward").on_cores(forward);

params! { batch: u32, channels: u32, h: u32, w: u32, oh: u32, ow: u32 }

fn forward(cpu: &Cpu, params: &Params, inputs: [&[f32]; 5], [y]: [&mut [f32]; 1]) {
    let &Params { channels, h, w, oh, ow, .. } = params;
    let [channels, h, w, oh, ow] = [channels, h, w, oh, ow].map(|size| size as usize);
    let [pictures, spline @ ..] = inputs;
    let images = y.chunks_exact_mut(channels * oh * ow).zip(pictures.chunks_exact(channels * h * w));
    for (n, (y, picture)) in images.enumerate() {
        // Of each row, the part in each channel.
        let mut rows: Vec<Vec<&mut [f32]>> = (0..oh).map(|_| Vec::with_capacity(channels)).collect();
        for plane in y.chunks_exact_mut(oh * ow) {
            rows.iter_mut().zip(plane.chunks_exact_mut(ow)).for_each(|(row, part)| row.push(part));
        }
        rows.into_par_iter().enumerate().for_each_init(
            || vec![[0.0; 2]; ow],
            |places, (i, mut row)| {
                look_up_row(cpu, spline, n, i, places);
                for (j, &place) in places.iter().enumerate() {
                    let place = Place::new(place, [h, w]);
                    let values = picture.chunks_exact(h * w).map(|plane| place.value(plane));
                    row.iter_mut().zip(values).for_each(|(part, value)| part[j] = value);
                }
            },
        );
    }
}

/// [`grid_sample`](crate::grid_sample)`(pictures, `[`tps_grid`](crate::tps_grid)`(theta, height, width))` in one pass:
/// `pictures` (N, C, H, W), `theta` (N, 50, 1, 1); the result is (N, C, height, width). Not differentiable.
///
/// # Errors
/// If the shapes do not match, a side is 0, or the device reports an error.
pub fn thin_plate_warp(pictures: &Tensor, theta: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let [n, c, h, w] = pictures.shape().nchw("thin_plate_warp", "pictures")?;
    theta.shape().check("thin_plate_warp", "theta", &[n, 50, 1, 1])?;
    let spline = Spline::new("thin_plate_warp", theta, height, width)?;
    let y = Tensor::empty(pictures.device(), &[n, c, height, width])?;
    let params =
        Params { batch: n as u32, channels: c as u32, h: h as u32, w: w as u32, oh: height as u32, ow: width as u32 };
    let pixels = n * height * width;
    let inputs = [pictures, &spline.coefficient, &spline.line, &spline.column_x, &spline.row_y];
    let work = Work::threads(pixels).flops(PIXEL_FLOPS * pixels as u64 + 9 * y.numel() as u64);
    pictures.device().launch(&FORWARD, &params, &inputs, &[&y], work)?;
    Ok(y)
}

#[cfg(test)]
mod tests {
    use crate::grid_sample::tests::GridSample;
    use crate::tps_grid::tests::{TpsGrid, displacements};
    use crate::{grid_sample, tps_grid};
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    struct ThinPlateWarp {
        size: [usize; 2],
    }

    impl Twin for ThinPlateWarp {
        fn forward(&self, x: &[Array]) -> Array {
            let grid = TpsGrid { size: self.size }.forward(&x[1..]);
            GridSample.forward(&[x[0].clone(), grid])
        }

        fn backward(&self, _: &[Array], _: &Array) -> Vec<Option<Array>> {
            vec![None, None]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, size) in [([1, 1, 1, 1], [2, 3]), ([2, 3, 5, 7], [4, 6]), ([3, 2, 9, 4], [31, 17])] {
            let theta = displacements(shape[0]).map(|t| f64::from((t / 16.0) as f32));
            check(&ThinPlateWarp { size }, &[Random::new(2).array(&shape), theta], |t| {
                super::thin_plate_warp(&t[0], &t[1], size[0], size[1])
            });
        }
    }

    #[test]
    fn equals_the_two_operations() {
        for device in devices() {
            let picture = Random::new(2).array(&[2, 3, 24, 18]);
            let picture = Tensor::new(&device, &picture.shape, &picture.to_f32()).unwrap().requires_grad();
            let theta = Tensor::new(&device, &[2, 50, 1, 1], &displacements(2).to_f32()).unwrap().requires_grad();
            let warped = super::thin_plate_warp(&picture, &theta, 29, 23).unwrap();
            assert!(!warped.is_tracked());
            let expected = grid_sample(&picture, &tps_grid(&theta, 29, 23).unwrap()).unwrap().to_vec().unwrap();
            let worst = warped.to_vec().unwrap().iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= 1e-5, "{worst:e}");
        }
    }
}
