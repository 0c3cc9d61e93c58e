//! A 3x3 convolution at the centre of each distinct 5x5 window of a label map: adds, for each of its nine 3x3 windows,
//! the product with one tap. The products are computed once for each distinct 3x3 window.

use crate::{kernel, sum_segments::Segments};
use alias_tensor::{Error, Gpu, Kernel, Result, Tensor, Work};
use std::sync::{Arc, OnceLock};

const SOURCE: &[&str] = wgsl!(SUM_WINDOWS, GRID, REDUCE);
static FORWARD: Kernel = kernel("sum_windows", SOURCE, "forward");
static BACKWARD_PARTS: Kernel = kernel("sum_windows", SOURCE, "backward_parts");
static BACKWARD_BIAS: Kernel = kernel("sum_windows", SOURCE, "backward_bias");

params! { channels: u32, columns: u32, entries: u32, parts: u32 }

/// The nine 3x3 windows of each distinct 5x5 window, as columns of a table: from 1, or 0 outside the image.
#[derive(Clone, Debug)]
pub struct Windows(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// (9, E): for each tap, the column of each 5x5 window.
    index: Vec<u32>,
    on_device: Tensor,
    columns: usize,
    /// The 5x5 windows that use each column at each tap. Built when a gradient first needs it.
    inverse: OnceLock<Segments>,
}

impl Windows {
    /// Uploads the nine columns of each 5x5 window in `entries`, in a table of `columns` columns.
    ///
    /// # Errors
    /// If a number is over `columns`, `entries` is empty, or the device reports an error.
    pub fn new(gpu: &Gpu, entries: &[[u32; 9]], columns: usize) -> Result<Windows> {
        let index: Vec<u32> = (0..9).flat_map(|k| entries.iter().map(move |windows| windows[k])).collect();
        if let Some(&number) = index.iter().find(|&&number| number as usize > columns) {
            return Err(Error::argument("windows", "a number", number, format!("at most {columns}")));
        }
        let on_device = Tensor::indices(gpu, &[9, entries.len()], &index)?;
        Ok(Windows(Arc::new(Inner { index, on_device, columns, inverse: OnceLock::new() })))
    }

    /// Number of 5x5 windows, E.
    pub fn entries(&self) -> usize {
        self.0.index.len() / 9
    }

    /// Number of columns of the table, U.
    pub fn columns(&self) -> usize {
        self.0.columns
    }

    fn inverse(&self, gpu: &Gpu) -> Result<&Segments> {
        if let Some(inverse) = self.0.inverse.get() {
            return Ok(inverse);
        }
        // A column has a different product at each tap, so each pair (tap, column) is a target.
        let target = |(at, &column): (usize, &u32)| match column {
            0 => 0,
            column => (at / self.entries() * self.0.columns) as u32 + column,
        };
        let targets: Vec<_> = self.0.index.iter().enumerate().map(target).collect();
        let made = Segments::new(gpu, &targets, 9 * self.0.columns)?;
        Ok(self.0.inverse.get_or_init(|| made))
    }
}

/// The sum of nine products plus `bias` (C) for each of E 5x5 windows: (1, C, 1, E). `x` (1, 9 C, 1, U) is the table of
/// products: channel 9 c + k of a column is the product of output channel c at tap k.
///
/// # Errors
/// If the shapes do not match each other and `windows`, or the device reports an error.
pub fn sum_windows(x: &Tensor, windows: &Windows, bias: &Tensor) -> Result<Tensor> {
    let &[c] = &*bias.shape() else {
        return Err(Error::shape("sum_windows", "bias", &bias.shape(), "one dimension"));
    };
    let columns = windows.0.columns;
    x.shape().check("sum_windows", "x", &[1, 9 * c, 1, columns])?;
    let entries = windows.entries();
    let params = Params { channels: c as u32, columns: columns as u32, entries: entries as u32, parts: 0 };
    let y = Tensor::empty(x.gpu(), &[1, c, 1, entries])?;
    let work = Work::threads(y.numel()).flops(9 * y.numel() as u64);
    x.gpu().launch(&FORWARD, &params, &[x, &windows.0.on_device, bias], &[&y], work)?;

    let (windows, x_tracked, bias_tracked) = (windows.clone(), x.is_tracked(), bias.is_tracked());
    Ok(y.with_backward([x, bias], move |dy| {
        let gpu = dy.gpu();
        let by_input = || {
            let inverse = windows.inverse(gpu)?;
            let params = Params { parts: inverse.parts() as u32, ..params };
            let partial = Tensor::empty(gpu, &[c, inverse.parts()])?;
            let work = Work::threads(partial.numel()).flops(9 * dy.numel() as u64);
            gpu.launch(&BACKWARD_PARTS, &params, &[dy, &inverse.parts, &inverse.places], &[&partial], work)?;
            inverse.sum(&partial)?.reshape(&[1, 9 * c, 1, columns])
        };
        let by_bias = || {
            let dbias = Tensor::empty(gpu, &[c])?;
            let work = Work::groups(c).flops(dy.numel() as u64);
            gpu.launch(&BACKWARD_BIAS, &params, &[dy], &[&dbias], work)?;
            Ok(dbias)
        };
        Ok([x_tracked.then(by_input).transpose()?, bias_tracked.then(by_bias).transpose()?])
    }))
}

#[cfg(test)]
mod tests {
    use super::Windows;
    use alias_oracle::{Array, Random, Twin, check};

    struct SumWindows<'a>(&'a [[u32; 9]]);

    impl SumWindows<'_> {
        /// The element of the table that 5x5 window `e` looks up at tap `k` for channel `c`, if it is inside the image.
        fn place(&self, c: usize, k: usize, e: usize) -> Option<[usize; 4]> {
            let column = self.0[e][k].checked_sub(1)?;
            Some([0, 9 * c + k, 0, column as usize])
        }
    }

    impl Twin for SumWindows<'_> {
        fn forward(&self, x: &[Array]) -> Array {
            Array::from_fn([1, x[1].shape[0], 1, self.0.len()], |[_, c, _, e]| {
                x[1][[c]] + (0..9).filter_map(|k| self.place(c, k, e)).map(|at| x[0][at]).sum::<f64>()
            })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let (mut dx, mut dbias) = (Array::zeros(&x[0].shape), Array::zeros(&x[1].shape));
            Array::from_fn(dy.nchw(), |at @ [_, c, _, e]| {
                (0..9).filter_map(|k| self.place(c, k, e)).for_each(|place| dx[place] += dy[at]);
                dbias[[c]] += dy[at];
                0.0
            });
            vec![Some(dx), Some(dbias)]
        }
    }

    #[test]
    fn matches_twin() {
        // The last case has segments of more than one part.
        for (channels, columns, entries) in [(1, 1, 1), (3, 5, 7), (2, 40, 11), (5, 2, 90), (2, 2, 1200)] {
            let mut random = Random::new(3);
            let drawn: Vec<[u32; 9]> =
                (0..entries).map(|_| std::array::from_fn(|_| (random.bits() % (columns as u64 + 1)) as u32)).collect();
            let inputs = [random.array(&[1, 9 * channels, 1, columns]), random.array(&[channels])];
            check(&SumWindows(&drawn), &inputs, |t| {
                super::sum_windows(&t[0], &Windows::new(t[0].gpu(), &drawn, columns)?, &t[1])
            });
        }
    }
}
