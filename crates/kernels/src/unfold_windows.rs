//! The windows of a table: for each row of an index, the nine columns that it names, as `torch.nn.functional.unfold` lays
//! out the nine pixels under a 3x3 kernel.

use crate::{kernel, sum_segments::Segments};
use alias_tensor::{Error, Gpu, Kernel, Result, Tensor, Work};
use std::sync::{Arc, OnceLock};

const SOURCE: &str = wgsl!("unfold_windows", "grid");
static FORWARD: Kernel = kernel("unfold_windows", SOURCE, "forward");
static BACKWARD_PARTS: Kernel = kernel("unfold_windows", SOURCE, "backward_parts");

params! { channels: u32, columns: u32, rows: u32, parts: u32 }

/// Which column each of the nine places of each window is: numbers from 1, or 0 for none.
#[derive(Clone, Debug)]
pub struct Windows(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    index: Vec<u32>,
    on_device: Tensor,
    columns: usize,
    /// Made when a gradient first needs it.
    inverse: OnceLock<Segments>,
}

impl Windows {
    /// Uploads windows onto a table of `columns`.
    ///
    /// # Errors
    /// Where a number is past `columns` or there is no window; what the device reports.
    pub fn new(gpu: &Gpu, windows: &[[u32; 9]], columns: usize) -> Result<Windows> {
        let index = windows.as_flattened().to_vec();
        if let Some(&number) = index.iter().find(|&&number| number as usize > columns) {
            return Err(Error::argument("windows", "a number", number, format!("at most {columns}")));
        }
        let on_device = Tensor::indices(gpu, &[windows.len(), 9], &index)?;
        Ok(Windows(Arc::new(Inner { index, on_device, columns, inverse: OnceLock::new() })))
    }

    /// How many windows there are.
    pub fn rows(&self) -> usize {
        self.0.index.len() / 9
    }

    fn inverse(&self, gpu: &Gpu) -> Result<&Segments> {
        if let Some(inverse) = self.0.inverse.get() {
            return Ok(inverse);
        }
        let made = Segments::new(gpu, &self.0.index, self.0.columns)?;
        Ok(self.0.inverse.get_or_init(|| made))
    }
}

/// The columns of the table `x` (1, C, 1, U) under each of the R windows: (1, 9 C, 1, R), channel 9 c + k being place k of
/// channel c, 0 where a window names no column. A 1x1 convolution of it by a 3x3 kernel reshaped to (Cout, 9 C, 1, 1) is
/// the 3x3 convolution of a map at one pixel of each window.
///
/// # Errors
/// Where `x` is not a table of as many columns as the windows are made for; what the device reports.
pub fn unfold_windows(x: &Tensor, windows: &Windows) -> Result<Tensor> {
    let [_, c, _, columns] = x.shape().nchw("unfold_windows", "x")?;
    x.shape().check("unfold_windows", "x", &[1, c, 1, windows.0.columns])?;
    let rows = windows.rows();
    let params = Params { channels: c as u32, columns: columns as u32, rows: rows as u32, parts: 0 };
    let y = Tensor::empty(x.gpu(), &[1, 9 * c, 1, rows])?;
    x.gpu().launch(&FORWARD, &params, &[x, &windows.0.on_device], &[&y], Work::threads(y.numel()))?;

    let windows = windows.clone();
    Ok(y.with_backward([x], move |dy| {
        let inverse = windows.inverse(dy.gpu())?;
        let params = Params { parts: inverse.parts() as u32, ..params };
        let partial = Tensor::empty(dy.gpu(), &[c, inverse.parts()])?;
        let work = Work::threads(partial.numel()).flops(dy.numel() as u64);
        dy.gpu().launch(&BACKWARD_PARTS, &params, &[dy, &inverse.parts, &inverse.entries], &[&partial], work)?;
        Ok([Some(inverse.sum(&partial)?)])
    }))
}

#[cfg(test)]
mod tests {
    use super::Windows;
    use alias_oracle::{Array, Random, Twin, check};

    struct Unfold<'a>(&'a [[u32; 9]]);

    impl Twin for Unfold<'_> {
        fn forward(&self, x: &[Array]) -> Array {
            Array::from_fn([1, 9 * x[0].shape[1], 1, self.0.len()], |[_, ck, _, r]| match self.0[r][ck % 9] {
                0 => 0.0,
                number => x[0][[0, ck / 9, 0, number as usize - 1]],
            })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let mut dx = Array::zeros(&x[0].shape);
            Array::from_fn(dy.nchw(), |[n, ck, y, r]| {
                if let number @ 1.. = self.0[r][ck % 9] {
                    dx[[0, ck / 9, 0, number as usize - 1]] += dy[[n, ck, y, r]];
                }
                0.0
            });
            vec![Some(dx)]
        }
    }

    #[test]
    fn matches_twin() {
        for (channels, columns, rows) in [(1, 1, 1), (3, 5, 7), (2, 40, 11), (5, 2, 90)] {
            let mut random = Random::new(3);
            let windows: Vec<[u32; 9]> =
                (0..rows).map(|_| std::array::from_fn(|_| (random.bits() % (columns as u64 + 1)) as u32)).collect();
            let x = random.array(&[1, channels, 1, columns]);
            check(&Unfold(&windows), &[x], |t| {
                super::unfold_windows(&t[0], &Windows::new(t[0].gpu(), &windows, columns)?)
            });
        }
    }
}
