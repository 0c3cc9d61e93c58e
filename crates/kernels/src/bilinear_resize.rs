//! Bilinear resize.

use crate::kernel;
use alias_cpu::{Cpu, map};
use alias_tensor::{Error, Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(BILINEAR_RESIZE, GRID);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("bilinear_resize", SOURCE, "forward").on_cores(forward);

params! { planes: u32, h: u32, w: u32, oh: u32, ow: u32 }

/// The inputs around output `o`, and the share of the second. The position is computed in integers, so that its
/// fraction is rounded once.
fn neighbours(o: usize, inputs: usize, outputs: usize) -> ([usize; 2], f32) {
    let numerator = ((2 * o + 1) * inputs).saturating_sub(outputs);
    let first = numerator / (2 * outputs);
    ([first, (first + 1).min(inputs - 1)], (numerator % (2 * outputs)) as f32 / (2 * outputs) as f32)
}

fn forward(cpu: &Cpu, &Params { h, w, oh, ow, .. }: &Params, [x]: [&[f32]; 1], [y]: [&mut [f32]; 1]) {
    let [h, w, oh, ow] = [h, w, oh, ow].map(|side| side as usize);
    let columns: Vec<_> = (0..ow).map(|ox| neighbours(ox, w, ow)).collect();
    y.par_chunks_exact_mut(ow).enumerate().for_each_init(
        || vec![0.0; w],
        |mixed, (row, y)| {
            let (plane, (rows, part)) = (row / oh, neighbours(row % oh, h, oh));
            let rows = rows.map(|iy| &x[(plane * h + iy) * w..][..w]);
            map(cpu, rows, [mixed], move |[upper, lower]| [upper + part * (lower - upper)]);
            for (y, &([left, right], part)) in y.iter_mut().zip(&columns) {
                *y = mixed[left] + part * (mixed[right] - mixed[left]);
            }
        },
    );
}

/// `torch.nn.functional.interpolate(x, (height, width), mode="bilinear", align_corners=False)` of `x` (N, C, H, W): no
/// smoothing where the size shrinks. Not differentiable.
///
/// # Errors
/// If `x` does not have four dimensions, a side is not 1 to 32,767, or the device reports an error.
pub fn bilinear_resize(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("bilinear_resize", "x")?;
    // The shader multiplies a side of x by twice one of the result.
    let expected = "sides of 1 to 32767";
    if h.max(w) > 32_767 {
        return Err(Error::shape("bilinear_resize", "x", &x.shape(), expected));
    }
    if ![height, width].iter().all(|side| (1..=32_767).contains(side)) {
        return Err(Error::argument("bilinear_resize", "height, width", format!("{height}, {width}"), expected));
    }
    let params = Params { planes: (n * c) as u32, h: h as u32, w: w as u32, oh: height as u32, ow: width as u32 };
    let y = Tensor::empty(x.device(), &[n, c, height, width])?;
    let work = Work::threads(y.numel()).flops(9 * y.numel() as u64);
    x.device().launch(&FORWARD, &params, &[x], &[&y], work)?;
    Ok(y)
}

#[cfg(test)]
pub(crate) mod tests {
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    pub(crate) struct BilinearResize {
        pub(crate) size: [usize; 2],
    }

    impl Twin for BilinearResize {
        fn forward(&self, x: &[Array]) -> Array {
            let [n, c, h, w] = x[0].nchw();
            let around = |o: usize, inputs: usize, outputs: usize| {
                let at = ((o as f64 + 0.5) * inputs as f64 / outputs as f64 - 0.5).max(0.0);
                let first = (at as usize).min(inputs - 1);
                ([first, (first + 1).min(inputs - 1)], [1.0 - (at - first as f64), at - first as f64])
            };
            Array::from_fn([n, c, self.size[0], self.size[1]], |[n, c, oy, ox]| {
                let (rows, by_row) = around(oy, h, self.size[0]);
                let (columns, by_column) = around(ox, w, self.size[1]);
                let corner = |k: usize| by_row[k / 2] * by_column[k % 2] * x[0][[n, c, rows[k / 2], columns[k % 2]]];
                (0..4).map(corner).sum()
            })
        }

        fn backward(&self, _: &[Array], _: &Array) -> Vec<Option<Array>> {
            vec![None]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, size) in [
            ([1, 1, 1, 1], [3, 2]),
            ([2, 3, 5, 7], [20, 28]), // by 4 up
            ([2, 3, 16, 28], [4, 7]), // by 4 down
            ([1, 2, 11, 13], [7, 29]),
            ([3, 1, 6, 4], [6, 4]),
            ([1, 1, 2, 3], [301, 1]),
        ] {
            let x = Random::new(1).array(&shape);
            check(&BilinearResize { size }, &[x], |t| super::bilinear_resize(&t[0], size[0], size[1]));
        }
    }

    /// What a network sees of a picture that is four times as large.
    #[test]
    fn a_quarter_of_the_size_is_the_mean_of_the_middle_pixels() {
        for device in devices() {
            let x = Tensor::new(&device, &[1, 1, 1, 8], &[9.0, 1.0, 2.0, 9.0, 9.0, 3.0, 6.0, 9.0]).unwrap();
            assert_eq!(super::bilinear_resize(&x, 1, 2).unwrap().to_vec().unwrap(), [1.5, 4.5]);
        }
    }

    #[test]
    fn the_result_is_not_tracked() {
        for device in devices() {
            let x = Tensor::new(&device, &[1, 1, 1, 2], &[0.0, 1.0]).unwrap().requires_grad();
            assert!(!super::bilinear_resize(&x, 2, 4).unwrap().is_tracked());
        }
    }
}
