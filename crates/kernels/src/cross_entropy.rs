//! Cross entropy of the pixels' classes.

use crate::{kernel, mean};
use alias_tensor::{Error, Gpu, Kernel, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(CROSS_ENTROPY, GRID, MATH);
static FORWARD: Kernel = kernel("cross_entropy", SOURCE, "forward");
static BACKWARD: Kernel = kernel("cross_entropy", SOURCE, "backward");

params! { batch: u32, channels: u32, plane: u32 }

/// The class of each pixel (N, H, W), from 0.
#[derive(Clone, Debug)]
pub struct PixelClasses {
    on_device: Tensor,
    count: usize,
}

impl PixelClasses {
    /// Uploads `classes` of `shape` (N, H, W), each less than `count`, the number of classes.
    ///
    /// # Errors
    /// If a class is out of range, `classes` does not have N H W values, or the device reports an error.
    pub fn new(gpu: &Gpu, shape: [usize; 3], classes: &[u32], count: usize) -> Result<PixelClasses> {
        if let Some(&class) = classes.iter().find(|&&class| class as usize >= count) {
            return Err(Error::argument("classes", "a class", class, format!("less than {count}")));
        }
        Ok(PixelClasses { on_device: Tensor::indices(gpu, &shape, classes)?, count })
    }
}

/// `torch.nn.functional.cross_entropy(scores, classes)`, a scalar: the mean over pixels of `-ln softmax(scores)[class]`,
/// for `scores` (N, C, H, W), with the softmax over channels.
///
/// # Errors
/// If the shapes do not match, the `classes` are not C, or the device reports an error.
pub fn cross_entropy(scores: &Tensor, classes: &PixelClasses) -> Result<Tensor> {
    let [n, c, h, w] = scores.shape().nchw("cross_entropy", "scores")?;
    classes.on_device.shape().check("cross_entropy", "classes", &[n, h, w])?;
    if classes.count != c {
        return Err(Error::argument("cross_entropy", "the number of classes", classes.count, c));
    }
    let params = Params { batch: n as u32, channels: c as u32, plane: (h * w) as u32 };
    let work = Work::threads(n * h * w).flops(22 * scores.numel() as u64);
    let y = Tensor::empty(scores.gpu(), &[n, h, w])?;
    scores.gpu().launch(&FORWARD, &params, &[scores, &classes.on_device], &[&y], work)?;

    let (saved, classes) = (scores.clone(), classes.on_device.clone());
    let by_pixel = y.with_backward([scores], move |dy| {
        let dscores = Tensor::empty(dy.gpu(), &[n, c, h, w])?;
        let work = Work::threads(n * h * w).flops(42 * dscores.numel() as u64);
        dy.gpu().launch(&BACKWARD, &params, &[&saved, &classes, dy], &[&dscores], work)?;
        Ok([Some(dscores)])
    });
    mean(&by_pixel)
}

#[cfg(test)]
mod tests {
    use super::PixelClasses;
    use alias_oracle::{Array, Random, Twin, check, gpu};
    use alias_tensor::Tensor;

    struct CrossEntropy<'a>(&'a [u32]);

    /// Softmax over channels at a pixel.
    fn softmax(x: &Array, [n, c, i, j]: [usize; 4]) -> f64 {
        x[[n, c, i, j]].exp() / (0..x.shape[1]).map(|c| x[[n, c, i, j]].exp()).sum::<f64>()
    }

    impl CrossEntropy<'_> {
        fn class(&self, x: &Array, [n, i, j]: [usize; 3]) -> usize {
            self.0[(n * x.shape[2] + i) * x.shape[3] + j] as usize
        }
    }

    impl Twin for CrossEntropy<'_> {
        fn forward(&self, x: &[Array]) -> Array {
            let [n, _, h, w] = x[0].nchw();
            let losses =
                Array::from_fn([n, h, w], |at @ [n, i, j]| -softmax(&x[0], [n, self.class(&x[0], at), i, j]).ln());
            Array::new(&[], vec![losses.data.iter().sum::<f64>() / losses.data.len() as f64])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let [n, _, h, w] = x[0].nchw();
            let share = dy.data[0] / (n * h * w) as f64;
            vec![Some(Array::from_fn(x[0].nchw(), |at @ [n, c, i, j]| {
                let own = if c == self.class(&x[0], [n, i, j]) { 1.0 } else { 0.0 };
                share * (softmax(&x[0], at) - own)
            }))]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, range) in [
            ([1, 2, 1, 1], 1.0),
            ([2, 3, 5, 7], 8.0),
            ([3, 13, 4, 2], 1.0),
            ([2, 5, 31, 17], 0.01),
            ([1, 4, 3, 5], 40.0),
        ] {
            let mut random = Random::new(2);
            let scores = random.array(&shape).map(|s| f64::from((range * s) as f32));
            let [n, c, h, w] = shape;
            let classes: Vec<u32> = (0..n * h * w).map(|_| (random.bits() % c as u64) as u32).collect();
            check(&CrossEntropy(&classes), &[scores], |t| {
                super::cross_entropy(&t[0], &PixelClasses::new(t[0].gpu(), [n, h, w], &classes, c)?)
            });
        }
    }

    #[test]
    fn large_scores_and_nan() {
        let loss = |scores: [f32; 3], class| {
            let scores = Tensor::new(gpu(), &[1, 3, 1, 1], &scores).unwrap();
            let classes = PixelClasses::new(gpu(), [1, 1, 1], &[class], 3).unwrap();
            super::cross_entropy(&scores, &classes).unwrap().to_vec().unwrap()[0]
        };
        assert_eq!(loss([1e30, 0.0, -1e30], 0), 0.0);
        assert_eq!(loss([1000.0, 0.0, -1000.0], 2), 2000.0);
        assert_eq!(loss([f32::NEG_INFINITY, 0.0, 0.0], 0), f32::INFINITY);
        assert!(loss([f32::NAN, 0.0, 0.0], 1).is_nan() && loss([0.0, 0.0, f32::NAN], 1).is_nan());
    }

    #[test]
    fn classes_out_of_range_are_refused() {
        let error = PixelClasses::new(gpu(), [1, 1, 2], &[0, 3], 3).unwrap_err().to_string();
        assert_eq!(error, "classes: a class is 3, expected less than 3");
        let scores = Tensor::new(gpu(), &[1, 2, 1, 2], &[0.0; 4]).unwrap();
        let classes = PixelClasses::new(gpu(), [1, 1, 2], &[0, 2], 3).unwrap();
        let error = super::cross_entropy(&scores, &classes).unwrap_err().to_string();
        assert_eq!(error, "cross_entropy: the number of classes is 3, expected 2");
    }
}
