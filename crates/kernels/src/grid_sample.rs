//! Bilinear look-up of pictures at given places.

use crate::{cross_entropy::runs_of_pixels, kernel};
use alias_cpu::Cpu;
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(GRID_SAMPLE, GRID, BILINEAR);
static FORWARD: Kernel<OnCores<Params, 2, 1>> = kernel("grid_sample", SOURCE, "forward").on_cores(forward);
static BACKWARD_GRID: Kernel<OnCores<Params, 3, 1>> =
    kernel("grid_sample", SOURCE, "backward_grid").on_cores(backward_grid);

params! { batch: u32, channels: u32, h: u32, w: u32, pixels: u32 }

/// Pixels per task.
const RUN: usize = 256;

/// Where a coordinate falls between pixels, as `look_up` of shaders/shared/bilinear.wgsl says.
struct Position {
    first: usize,
    second: usize,
    /// Share of the second.
    part: f32,
    /// Derivative by the coordinate, 0 where it was clamped.
    slope: f32,
}

impl Position {
    #[inline(always)]
    fn of(coordinate: f32, size: usize) -> Position {
        let (half, last) = (size as f32 * 0.5, (size - 1) as f32);
        let position = coordinate * half + last * 0.5;
        let inside = position > 0.0 && position < last;
        // NaN counts as the first edge.
        let outside = if position >= last { last } else { 0.0 };
        let clamped = if inside { position } else { outside };
        let first = clamped as i32;
        let (first, part) = (first as usize, clamped - first as f32);
        Position { first, second: (first + 1).min(size - 1), part, slope: if inside { half } else { 0.0 } }
    }
}

/// A place in pictures of one size.
pub(crate) struct Place {
    x: Position,
    y: Position,
    width: usize,
}

impl Place {
    /// The place `[x, y]` in pictures of `size` [h, w].
    #[inline(always)]
    pub(crate) fn new([x, y]: [f32; 2], [h, w]: [usize; 2]) -> Place {
        Place { x: Position::of(x, w), y: Position::of(y, h), width: w }
    }

    /// The four values around it: upper left, upper right, lower left, lower right.
    #[inline(always)]
    fn corners(&self, plane: &[f32]) -> [f32; 4] {
        let (upper, lower) = (self.y.first * self.width, self.y.second * self.width);
        let (left, right) = (self.x.first, self.x.second);
        [plane[upper + left], plane[upper + right], plane[lower + left], plane[lower + right]]
    }

    /// The value of a picture's plane there.
    #[inline(always)]
    pub(crate) fn value(&self, plane: &[f32]) -> f32 {
        let corners = self.corners(plane);
        let [upper, lower] = [0, 2].map(|k| corners[k] + self.x.part * (corners[k + 1] - corners[k]));
        upper + self.y.part * (lower - upper)
    }

    /// The derivatives of [`Place::value`] by the positions in x and y.
    #[inline(always)]
    fn derivatives(&self, plane: &[f32]) -> [f32; 2] {
        let corners = self.corners(plane);
        let across = [0, 2].map(|k| corners[k + 1] - corners[k]);
        let down = [0, 1].map(|k| corners[k + 2] - corners[k]);
        [across[0] + self.y.part * (across[1] - across[0]), down[0] + self.x.part * (down[1] - down[0])]
    }
}

fn forward(_: &Cpu, params: &Params, [picture, grid]: [&[f32]; 2], [y]: [&mut [f32]; 1]) {
    let &Params { channels, h, w, pixels, .. } = params;
    let [channels, h, w, pixels] = [channels, h, w, pixels].map(|size| size as usize);
    let grid: &[[f32; 2]] = bytemuck::cast_slice(grid);
    runs_of_pixels(y, [channels, pixels], RUN).into_par_iter().for_each(|([n, first], y)| {
        let grid = &grid[n * pixels..][..pixels][first..];
        let places: Vec<Place> = grid.iter().take(RUN).map(|&at| Place::new(at, [h, w])).collect();
        for (y, plane) in y.into_iter().zip(picture[n * channels * h * w..].chunks_exact(h * w)) {
            for (y, place) in y.iter_mut().zip(&places) {
                *y = place.value(plane);
            }
        }
    });
}

fn backward_grid(_: &Cpu, params: &Params, [picture, grid, dy]: [&[f32]; 3], [dgrid]: [&mut [f32]; 1]) {
    let &Params { channels, h, w, pixels, .. } = params;
    let [channels, h, w, pixels] = [channels, h, w, pixels].map(|size| size as usize);
    let (grid, dgrid): (&[[f32; 2]], &mut [[f32; 2]]) = (bytemuck::cast_slice(grid), bytemuck::cast_slice_mut(dgrid));
    let images = dgrid.par_chunks_exact_mut(pixels).zip(grid.par_chunks_exact(pixels)).enumerate();
    images.for_each(|(n, (dgrid, grid))| {
        let (picture, dy) = (&picture[n * channels * h * w..], &dy[n * channels * pixels..][..channels * pixels]);
        dgrid.par_chunks_mut(RUN).zip(grid.par_chunks(RUN)).enumerate().for_each(|(run, (dgrid, grid))| {
            for (i, (dgrid, &at)) in dgrid.iter_mut().zip(grid).enumerate() {
                let place = Place::new(at, [h, w]);
                let mut sum = [0.0; 2];
                for (plane, dy) in picture.chunks_exact(h * w).zip(dy.chunks_exact(pixels)) {
                    let ([by_x, by_y], dy) = (place.derivatives(plane), dy[run * RUN + i]);
                    sum = [sum[0] + dy * by_x, sum[1] + dy * by_y];
                }
                let times = |sum: f32, slope: f32| if slope == 0.0 { 0.0 } else { sum * slope };
                *dgrid = [times(sum[0], place.x.slope), times(sum[1], place.y.slope)];
            }
        });
    });
}

/// `torch.nn.functional.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)`:
/// `picture` (N, C, H, W), `grid` (N, h, w, 2), each place as x and y; the result is (N, C, h, w). x from -1 to 1 spans
/// the picture from outer edge to outer edge. Places outside, and NaN, are moved to the border.
///
/// The grid gets a gradient, which is 0 where a place was moved. The picture gets none.
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn grid_sample(picture: &Tensor, grid: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = picture.shape().nchw("grid_sample", "picture")?;
    let [_, height, width, _] = grid.shape().nchw("grid_sample", "grid")?;
    grid.shape().check("grid_sample", "grid", &[n, height, width, 2])?;
    let (pixels, work) = (height * width, Work::threads(n * height * width));
    let params = Params { batch: n as u32, channels: c as u32, h: h as u32, w: w as u32, pixels: pixels as u32 };
    let y = Tensor::empty(picture.device(), &[n, c, height, width])?;
    let elements = y.numel() as u64;
    picture.device().launch(&FORWARD, &params, &[picture, grid], &[&y], work.flops(9 * elements))?;

    let (saved_picture, saved_grid) = (picture.detach(), grid.clone());
    Ok(y.with_backward([grid], move |dy| {
        let dgrid = Tensor::empty(dy.device(), &[n, height, width, 2])?;
        let inputs = [&saved_picture, &saved_grid, dy];
        dy.device().launch(&BACKWARD_GRID, &params, &inputs, &[&dgrid], work.flops(14 * elements))?;
        Ok([Some(dgrid)])
    }))
}

#[cfg(test)]
pub(crate) mod tests {
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    pub(crate) struct GridSample;

    /// Pixels before and after, the share of the second, and the derivative of the position by the coordinate.
    fn around(at: f64, size: usize) -> ([usize; 2], f64, f64) {
        let position = (at + 1.0) * size as f64 / 2.0 - 0.5;
        let last = (size - 1) as f64;
        let clamped = position.clamp(0.0, last);
        let first = clamped as usize;
        let slope = if position > 0.0 && position < last { size as f64 / 2.0 } else { 0.0 };
        ([first, (first + 1).min(size - 1)], clamped - first as f64, slope)
    }

    impl Twin for GridSample {
        fn forward(&self, x: &[Array]) -> Array {
            let [n, c, h, w] = x[0].nchw();
            let [_, height, width, _] = x[1].nchw();
            Array::from_fn([n, c, height, width], |[n, c, i, j]| {
                let (columns, by_x, _) = around(x[1][[n, i, j, 0]], w);
                let (rows, by_y, _) = around(x[1][[n, i, j, 1]], h);
                let row = |y| (1.0 - by_x) * x[0][[n, c, y, columns[0]]] + by_x * x[0][[n, c, y, columns[1]]];
                (1.0 - by_y) * row(rows[0]) + by_y * row(rows[1])
            })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let [_, _, h, w] = x[0].nchw();
            let mut dgrid = Array::zeros(&x[1].shape);
            Array::from_fn(dy.nchw(), |[n, c, i, j]| {
                let (columns, by_x, slope_x) = around(x[1][[n, i, j, 0]], w);
                let (rows, by_y, slope_y) = around(x[1][[n, i, j, 1]], h);
                let v = |a: usize, b: usize| x[0][[n, c, rows[a], columns[b]]];
                let across = (1.0 - by_y) * (v(0, 1) - v(0, 0)) + by_y * (v(1, 1) - v(1, 0));
                let down = (1.0 - by_x) * (v(1, 0) - v(0, 0)) + by_x * (v(1, 1) - v(0, 1));
                dgrid[[n, i, j, 0]] += dy[[n, c, i, j]] * across * slope_x;
                dgrid[[n, i, j, 1]] += dy[[n, c, i, j]] * down * slope_y;
                0.0
            });
            vec![None, Some(dgrid)]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, size) in [
            ([1, 1, 1, 1], [2, 3]),
            ([2, 3, 5, 7], [4, 6]),
            ([1, 2, 1, 9], [11, 3]),
            ([3, 1, 8, 1], [2, 5]),
            ([2, 3, 31, 17], [29, 23]),
        ] {
            let mut random = Random::new(1);
            let picture = random.array(&shape);
            // Some places lie outside.
            let grid = random.array(&[shape[0], size[0], size[1], 2]).map(|g| f64::from((1.3 * g) as f32));
            check(&GridSample, &[picture, grid], |t| super::grid_sample(&t[0], &t[1]));
        }
    }

    /// Places outside, on the outermost centres and not a number: PyTorch's results and gradients.
    #[test]
    fn clamped_places_get_no_gradient() {
        for device in devices() {
            let picture = Tensor::new(&device, &[1, 1, 1, 2], &[1.0, 3.0]).unwrap().requires_grad();
            // Centres lie at -0.5 and 0.5.
            let x = [-9.0, -0.5, -0.25, 0.5, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0];
            let places: Vec<f32> = x.iter().flat_map(|&x| [x, 0.0]).collect();
            let grid = Tensor::new(&device, &[1, 8, 1, 2], &places).unwrap().requires_grad();
            let y = super::grid_sample(&picture, &grid).unwrap();
            assert_eq!(y.to_vec().unwrap(), [1.0, 1.0, 1.5, 3.0, 3.0, 1.0, 1.0, 2.0]);
            let dy = Tensor::new(&device, &[1, 1, 8, 1], &[1.0; 8]).unwrap();
            let gradients = y.backward(&dy).unwrap();
            let dx: Vec<f32> = gradients.get(&grid).unwrap().to_vec().unwrap();
            assert_eq!(dx.iter().step_by(2).copied().collect::<Vec<_>>(), [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 2.0]);
            assert!(dx.iter().skip(1).step_by(2).all(|&dy| dy == 0.0), "{dx:?}");
            assert!(gradients.get(&picture).is_none());
        }
    }
}
