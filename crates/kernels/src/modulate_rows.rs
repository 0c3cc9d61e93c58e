//! SPADE modulation by table: pixels with the same 5x5 window of labels have the same scale and shift, so a table has
//! one entry for each distinct 5x5 window, and each pixel looks up its own.

use crate::{kernel, sum_segments::Segments};
use alias_tensor::{Error, Gpu, Kernel, Result, Tensor, Work};
use std::sync::{Arc, OnceLock};

const SOURCE: &[&str] = wgsl!(MODULATE_ROWS, GRID);
static FORWARD: Kernel = kernel("modulate_rows", SOURCE, "forward");
static BACKWARD: Kernel = kernel("modulate_rows", SOURCE, "backward");
static BACKWARD_PARTS: Kernel = kernel("modulate_rows", SOURCE, "backward_parts");

params! { batch: u32, channels: u32, plane: u32, rows: u32, parts: u32 }

/// The table entry of each pixel (N, H, W), that is, the number of its 5x5 window, from 1.
#[derive(Clone, Debug)]
pub struct Rows(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    map: Vec<u32>,
    on_device: Tensor,
    rows: usize,
    /// The pixels of each entry. Made when a gradient first needs it.
    inverse: OnceLock<Segments>,
}

impl Rows {
    /// Uploads `map`, of `shape` (N, H, W), whose values are 1 to `rows`, the number of table entries.
    ///
    /// # Errors
    /// If a value is out of range, `map` does not have N H W values, or the device reports an error.
    pub fn new(gpu: &Gpu, shape: [usize; 3], map: Vec<u32>, rows: usize) -> Result<Rows> {
        if let Some(&number) = map.iter().find(|&&number| !(1..=rows).contains(&(number as usize))) {
            return Err(Error::argument("rows", "a number", number, format!("1 to {rows}")));
        }
        let on_device = Tensor::indices(gpu, &shape, &map)?;
        Ok(Rows(Arc::new(Inner { map, on_device, rows, inverse: OnceLock::new() })))
    }

    fn inverse(&self, gpu: &Gpu) -> Result<&Segments> {
        if let Some(inverse) = self.0.inverse.get() {
            return Ok(inverse);
        }
        let made = Segments::new(gpu, &self.0.map, self.0.rows)?;
        Ok(self.0.inverse.get_or_init(|| made))
    }
}

/// `x * (1 + gamma) + beta` for `x` (N, C, H, W), where `gamma` and `beta` (1, C, 1, R) are tables of R entries and
/// `rows` is the entry of each pixel.
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn modulate_rows(x: &Tensor, gamma: &Tensor, beta: &Tensor, rows: &Rows) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("modulate_rows", "x")?;
    rows.0.on_device.shape().check("modulate_rows", "rows", &[n, h, w])?;
    gamma.shape().check("modulate_rows", "gamma", &[1, c, 1, rows.0.rows])?;
    beta.shape().check("modulate_rows", "beta", &[1, c, 1, rows.0.rows])?;
    let params =
        Params { batch: n as u32, channels: c as u32, plane: (h * w) as u32, rows: rows.0.rows as u32, parts: 0 };
    let numel = x.numel();
    let work = Work::threads(numel).flops(3 * numel as u64);
    let y = Tensor::empty(x.gpu(), &x.shape())?;
    x.gpu().launch(&FORWARD, &params, &[x, gamma, beta, &rows.0.on_device], &[&y], work)?;

    let (saved_x, saved_gamma, rows) = (x.clone(), gamma.clone(), rows.clone());
    let learned = gamma.is_tracked() || beta.is_tracked();
    Ok(y.with_backward([x, gamma, beta], move |dy| {
        let gpu = dy.gpu();
        let by_input = || {
            let dx = Tensor::empty(gpu, &dy.shape())?;
            gpu.launch(&BACKWARD, &params, &[dy, &saved_gamma, &rows.0.on_device], &[&dx], work)?;
            Ok(dx)
        };
        let dx = saved_x.is_tracked().then(by_input).transpose()?;
        if !learned {
            return Ok([dx, None, None]);
        }
        let inverse = rows.inverse(gpu)?;
        let parts = inverse.parts();
        let params = Params { parts: parts as u32, ..params };
        let (dgamma, dbeta) = (Tensor::empty(gpu, &[c, parts])?, Tensor::empty(gpu, &[c, parts])?);
        let inputs = [dy, &saved_x, &inverse.parts, &inverse.entries];
        let work = Work::threads(c * parts).flops(3 * numel as u64);
        gpu.launch(&BACKWARD_PARTS, &params, &inputs, &[&dgamma, &dbeta], work)?;
        Ok([dx, Some(inverse.sum(&dgamma)?), Some(inverse.sum(&dbeta)?)])
    }))
}

#[cfg(test)]
mod tests {
    use super::Rows;
    use alias_oracle::{Array, Random, Twin, check};

    struct ModulateRows<'a>(&'a [u32]);

    impl ModulateRows<'_> {
        fn row(&self, x: &Array, [n, c, y, x_]: [usize; 4]) -> [usize; 4] {
            let [_, _, h, w] = x.nchw();
            [0, c, 0, self.0[(n * h + y) * w + x_] as usize - 1]
        }
    }

    impl Twin for ModulateRows<'_> {
        fn forward(&self, x: &[Array]) -> Array {
            Array::from_fn(x[0].nchw(), |at| {
                let row = self.row(&x[0], at);
                x[0][at] * (1.0 + x[1][row]) + x[2][row]
            })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let (mut dgamma, mut dbeta) = (Array::zeros(&x[1].shape), Array::zeros(&x[2].shape));
            let dx = Array::from_fn(dy.nchw(), |at| {
                let row = self.row(&x[0], at);
                dgamma[row] += dy[at] * x[0][at];
                dbeta[row] += dy[at];
                dy[at] * (1.0 + x[1][row])
            });
            vec![Some(dx), Some(dgamma), Some(dbeta)]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, rows) in [([1, 1, 1, 1], 1), ([2, 3, 5, 7], 4), ([1, 2, 31, 33], 2), ([3, 5, 4, 6], 90)] {
            let mut random = Random::new(5);
            let [n, c, h, w] = shape;
            let map: Vec<u32> = (0..n * h * w).map(|_| (random.bits() % rows as u64) as u32 + 1).collect();
            let inputs = [random.array(&shape), random.array(&[1, c, 1, rows]), random.array(&[1, c, 1, rows])];
            check(&ModulateRows(&map), &inputs, |t| {
                super::modulate_rows(&t[0], &t[1], &t[2], &Rows::new(t[0].gpu(), [n, h, w], map.clone(), rows)?)
            });
        }
    }
}
