//! Thin-plate splines: where to look in a picture, and looking there, without storing the grid.

use crate::log::log;
use crate::{BLOCK, Cpu};
use alias_plan::ThinPlate;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Channels of the pictures that are warped together, at most.
const CHANNELS: usize = 4;

/// Looks pictures (N, C, H, W) of at most four channels up where the splines of `theta` (N, 50) send each pixel of an
/// image of `size` [h, w]: (N, C, h, w). Bilinear; beyond the border the nearest pixel counts. As `grid_sample` of
/// PyTorch with border padding and without aligned corners, on the grid of [`thin_plate_grid`], which is not stored.
///
/// # Panics
/// If the pictures have more than four channels, or an array's length does not fit.
pub fn thin_plate_warp(cpu: &Cpu, theta: &[f32], pictures: &[f32], shape: [usize; 4], size: [usize; 2]) -> Vec<f32> {
    let ([n, c, picture_h, picture_w], [h, w]) = (shape, size);
    assert!(c <= CHANNELS && pictures.len() == n * c * picture_h * picture_w, "pictures of shape {shape:?}");
    let splines = Spline::of_batch(theta, n, size);
    let mut warped = vec![0.0; n * c * h * w];
    cpu.install(|| {
        for ((spline, picture), warped) in
            splines.iter().zip(pictures.chunks_exact(c * picture_h * picture_w)).zip(warped.chunks_exact_mut(c * h * w))
        {
            // The channels of a pixel are loaded together.
            let mut pixels = vec![[0.0; CHANNELS]; picture_h * picture_w];
            for (channel, plane) in picture.chunks_exact(picture_h * picture_w).enumerate() {
                pixels.iter_mut().zip(plane).for_each(|(pixel, &value)| pixel[channel] = value);
            }
            let mut rows: Vec<Vec<&mut [f32]>> = (0..h).map(|_| Vec::with_capacity(c)).collect();
            for plane in warped.chunks_exact_mut(h * w) {
                rows.iter_mut().zip(plane.chunks_exact_mut(w)).for_each(|(row, of_plane)| row.push(of_plane));
            }
            rows.into_par_iter().enumerate().with_min_len(8).for_each(|(row, out)| {
                cpu.dispatch(Look { spline, row, pixels: &pixels, picture: [picture_h, picture_w], out });
            });
        }
    });
    warped
}

/// Where the splines of `theta` (N, 50) send each pixel of an image of `size` [h, w]: (N, h, w, 2), x and y in [-1, 1] from
/// edge to edge of the picture to look up.
pub fn thin_plate_grid(cpu: &Cpu, theta: &[f32], batch: usize, size: [usize; 2]) -> Vec<f32> {
    let [h, w] = size;
    let splines = Spline::of_batch(theta, batch, size);
    let mut grid = vec![0.0; batch * h * w * 2];
    cpu.install(|| {
        grid.par_chunks_exact_mut(2 * w).enumerate().with_min_len(8).for_each(|(row, out)| {
            let spline = &splines[row / h];
            cpu.dispatch(Grid { spline, row: row % h, out });
        });
    });
    grid
}

/// The spline of one image, for an output of one size.
struct Spline {
    /// Weights of the control points' kernels, then of 1, x and y: for x, then for y.
    coefficients: [[f32; ThinPlate::POINTS + 3]; 2],
    /// The x of each column, padded to whole vectors.
    x: Vec<f32>,
    /// The y of each row.
    y: Vec<f32>,
    /// Number of columns.
    w: usize,
}

impl Spline {
    fn new(theta: &[f32], [h, w]: [usize; 2]) -> Spline {
        let positions = |count: usize| (0..count).map(move |k| ThinPlate::position(k, count) as f32);
        let mut x: Vec<f32> = positions(w).collect();
        x.resize(w.next_multiple_of(BLOCK), 0.0);
        Spline { coefficients: ThinPlate::coefficients(theta), x, y: positions(h).collect(), w }
    }

    /// The splines of displacements (N, 50).
    fn of_batch(theta: &[f32], batch: usize, size: [usize; 2]) -> Vec<Spline> {
        assert_eq!(theta.len(), batch * 2 * ThinPlate::POINTS, "displacements of {batch} images");
        theta.chunks_exact(2 * ThinPlate::POINTS).map(|theta| Spline::new(theta, size)).collect()
    }

    /// Where to look for each pixel of a row: x and y, each padded to whole vectors.
    #[inline(always)]
    fn row<S: Simd>(&self, simd: S, row: usize, to_x: &mut [f32], to_y: &mut [f32]) {
        let k = |value: f32| simd.splat_f32s(value);
        let lines = ThinPlate::LINES.map(|line| line as f32);
        let y = self.y[row];
        let dy = lines.map(|line| k((y - line) * (y - line)));
        let [of_x, of_y] = &self.coefficients;
        let xs = S::as_simd_f32s(&self.x).0;
        let (to_x, to_y) = (S::as_mut_simd_f32s(to_x).0, S::as_mut_simd_f32s(to_y).0);
        for ((&x, to_x), to_y) in xs.iter().zip(to_x).zip(to_y) {
            let (mut bend_x, mut bend_y) = (k(0.0), k(0.0));
            for (i, &line) in lines.iter().enumerate() {
                let dx = simd.sub_f32s(x, k(line));
                let dx = simd.mul_f32s(dx, dx);
                for (j, &dy) in dy.iter().enumerate() {
                    let d = simd.add_f32s(dx, dy);
                    // d ln d is 0 at 0, as is 0 times the logarithm of the smallest normal number.
                    let u = simd.mul_f32s(d, log(simd, simd.max_f32s(d, k(f32::MIN_POSITIVE))));
                    // The control points' y runs fastest.
                    let point = i * lines.len() + j;
                    bend_x = simd.mul_add_e_f32s(u, k(of_x[point]), bend_x);
                    bend_y = simd.mul_add_e_f32s(u, k(of_y[point]), bend_y);
                }
            }
            let plane = |c: &[f32; ThinPlate::POINTS + 3], bend| {
                let [one, by_x, by_y] = *c.last_chunk().expect("three are last");
                let line = simd.mul_add_e_f32s(k(by_x), x, k(one + by_y * y));
                simd.add_f32s(line, bend)
            };
            // The displacement is small; the point is added last.
            *to_x = simd.add_f32s(x, plane(of_x, bend_x));
            *to_y = simd.add_f32s(k(y), plane(of_y, bend_y));
        }
    }
}

struct Grid<'a> {
    spline: &'a Spline,
    row: usize,
    /// (w, 2).
    out: &'a mut [f32],
}

impl WithSimd for Grid<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Grid { spline, row, out } = self;
        let (mut x, mut y) = (vec![0.0; spline.x.len()], vec![0.0; spline.x.len()]);
        spline.row(simd, row, &mut x, &mut y);
        for (out, (&x, &y)) in out.chunks_exact_mut(2).zip(x.iter().zip(&y)) {
            out.copy_from_slice(&[x, y]);
        }
    }
}

/// One row of a warped picture.
struct Look<'a> {
    spline: &'a Spline,
    row: usize,
    pixels: &'a [[f32; CHANNELS]],
    /// Height and width of the picture.
    picture: [usize; 2],
    /// The row of each channel.
    out: Vec<&'a mut [f32]>,
}

impl WithSimd for Look<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Look { spline, row, pixels, picture: [h, w], mut out } = self;
        let (mut x, mut y) = (vec![0.0; spline.x.len()], vec![0.0; spline.x.len()]);
        spline.row(simd, row, &mut x, &mut y);
        // Clamped to the centres of the outermost pixels. `max` before `min` makes 0 of NaN.
        let place = |v: f32, side: usize| {
            let at = ((v + 1.0) * side as f32 * 0.5 - 0.5).max(0.0).min((side - 1) as f32);
            let first = at as usize;
            (first, (first + 1).min(side - 1), at - first as f32)
        };
        for (column, (&x, &y)) in x.iter().zip(&y).take(spline.w).enumerate() {
            let ((left, right, fx), (top, bottom, fy)) = (place(x, w), place(y, h));
            let weights = [(1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy];
            let corners = [top * w + left, top * w + right, bottom * w + left, bottom * w + right];
            let mut sum = [0.0; CHANNELS];
            for (corner, weight) in corners.into_iter().zip(weights) {
                sum.iter_mut().zip(&pixels[corner]).for_each(|(sum, value)| *sum += weight * value);
            }
            out.iter_mut().zip(sum).for_each(|(out, value)| out[column] = value);
        }
    }
}
