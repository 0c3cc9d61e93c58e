//! SPADE modulation by table: pixels with the same 5x5 window of labels have the same scale and shift. A table has one
//! entry for each distinct 5x5 window, and each pixel looks up its entry.

use crate::{kernel, sum_segments::Segments};
use alias_tensor::{Error, Gpu, Kernel, Result, Tensor, Work};
use std::sync::{Arc, OnceLock};

const SOURCE: &[&str] = wgsl!(MODULATE_BY_TABLE, GRID);
static FORWARD: Kernel = kernel("modulate_by_table", SOURCE, "forward");
static BACKWARD: Kernel = kernel("modulate_by_table", SOURCE, "backward");
static BACKWARD_PARTS: Kernel = kernel("modulate_by_table", SOURCE, "backward_parts");

params! { batch: u32, channels: u32, plane: u32, entries: u32, parts: u32 }

/// The table entry of each pixel (N, H, W): the number of its 5x5 window, from 1.
#[derive(Clone, Debug)]
pub struct PixelEntries(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    map: Vec<u32>,
    on_device: Tensor,
    count: usize,
    /// The pixels of each entry. Built when a gradient first needs it.
    inverse: OnceLock<Segments>,
}

impl PixelEntries {
    /// Uploads `map` of `shape` (N, H, W). Its values are 1 to `count`, the number of table entries.
    ///
    /// # Errors
    /// If a value is out of range, `map` does not have N H W values, or the device reports an error.
    pub fn new(gpu: &Gpu, shape: [usize; 3], map: Vec<u32>, count: usize) -> Result<PixelEntries> {
        if let Some(&number) = map.iter().find(|&&number| !(1..=count).contains(&(number as usize))) {
            return Err(Error::argument("entries", "a number", number, format!("1 to {count}")));
        }
        let on_device = Tensor::indices(gpu, &shape, &map)?;
        Ok(PixelEntries(Arc::new(Inner { map, on_device, count, inverse: OnceLock::new() })))
    }

    fn inverse(&self, gpu: &Gpu) -> Result<&Segments> {
        if let Some(inverse) = self.0.inverse.get() {
            return Ok(inverse);
        }
        let made = Segments::new(gpu, &self.0.map, self.0.count)?;
        Ok(self.0.inverse.get_or_init(|| made))
    }
}

/// `x * (1 + gamma) + beta` for `x` (N, C, H, W), where each pixel takes `gamma` and `beta` from its entry of two
/// tables (1, C, 1, E).
///
/// # Errors
/// If the shapes do not match or the device reports an error.
pub fn modulate_by_table(x: &Tensor, gamma: &Tensor, beta: &Tensor, entries: &PixelEntries) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("modulate_by_table", "x")?;
    entries.0.on_device.shape().check("modulate_by_table", "entries", &[n, h, w])?;
    gamma.shape().check("modulate_by_table", "gamma", &[1, c, 1, entries.0.count])?;
    beta.shape().check("modulate_by_table", "beta", &[1, c, 1, entries.0.count])?;
    let (plane, count) = ((h * w) as u32, entries.0.count as u32);
    let params = Params { batch: n as u32, channels: c as u32, plane, entries: count, parts: 0 };
    let numel = x.numel();
    let work = Work::threads(numel).flops(3 * numel as u64);
    let y = Tensor::empty(x.gpu(), &x.shape())?;
    x.gpu().launch(&FORWARD, &params, &[x, gamma, beta, &entries.0.on_device], &[&y], work)?;

    let (saved_x, saved_gamma, entries) = (x.clone(), gamma.clone(), entries.clone());
    let learned = gamma.is_tracked() || beta.is_tracked();
    Ok(y.with_backward([x, gamma, beta], move |dy| {
        let gpu = dy.gpu();
        let by_input = || {
            let dx = Tensor::empty(gpu, &dy.shape())?;
            gpu.launch(&BACKWARD, &params, &[dy, &saved_gamma, &entries.0.on_device], &[&dx], work)?;
            Ok(dx)
        };
        let dx = saved_x.is_tracked().then(by_input).transpose()?;
        if !learned {
            return Ok([dx, None, None]);
        }
        let inverse = entries.inverse(gpu)?;
        let parts = inverse.parts();
        let params = Params { parts: parts as u32, ..params };
        let (dgamma, dbeta) = (Tensor::empty(gpu, &[c, parts])?, Tensor::empty(gpu, &[c, parts])?);
        let inputs = [dy, &saved_x, &inverse.parts, &inverse.places];
        let work = Work::threads(c * parts).flops(3 * numel as u64);
        gpu.launch(&BACKWARD_PARTS, &params, &inputs, &[&dgamma, &dbeta], work)?;
        Ok([dx, Some(inverse.sum(&dgamma)?), Some(inverse.sum(&dbeta)?)])
    }))
}

#[cfg(test)]
mod tests {
    use super::PixelEntries;
    use alias_oracle::{Array, Random, Twin, check};

    struct ModulateByTable<'a>(&'a [u32]);

    impl ModulateByTable<'_> {
        fn entry(&self, x: &Array, [n, c, y, x_]: [usize; 4]) -> [usize; 4] {
            let [_, _, h, w] = x.nchw();
            [0, c, 0, self.0[(n * h + y) * w + x_] as usize - 1]
        }
    }

    impl Twin for ModulateByTable<'_> {
        fn forward(&self, x: &[Array]) -> Array {
            Array::from_fn(x[0].nchw(), |at| {
                let entry = self.entry(&x[0], at);
                x[0][at] * (1.0 + x[1][entry]) + x[2][entry]
            })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let (mut dgamma, mut dbeta) = (Array::zeros(&x[1].shape), Array::zeros(&x[2].shape));
            let dx = Array::from_fn(dy.nchw(), |at| {
                let entry = self.entry(&x[0], at);
                dgamma[entry] += dy[at] * x[0][at];
                dbeta[entry] += dy[at];
                dy[at] * (1.0 + x[1][entry])
            });
            vec![Some(dx), Some(dgamma), Some(dbeta)]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, entries) in [([1, 1, 1, 1], 1), ([2, 3, 5, 7], 4), ([1, 2, 31, 33], 2), ([3, 5, 4, 6], 90)] {
            let mut random = Random::new(5);
            let [n, c, h, w] = shape;
            let map: Vec<u32> = (0..n * h * w).map(|_| (random.bits() % entries as u64) as u32 + 1).collect();
            let inputs = [random.array(&shape), random.array(&[1, c, 1, entries]), random.array(&[1, c, 1, entries])];
            check(&ModulateByTable(&map), &inputs, |t| {
                let entries = PixelEntries::new(t[0].gpu(), [n, h, w], map.clone(), entries)?;
                super::modulate_by_table(&t[0], &t[1], &t[2], &entries)
            });
        }
    }
}
