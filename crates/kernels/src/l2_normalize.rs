//! L2 normalization over channels.

use crate::plan::{DeviceBuffers, holds};
use crate::{ShaderText, kernel};
use alias_plan::L2Normalization;
use alias_tensor::{Error, Kernel, Recording, Result, Tensor, Work};

const TEXT: ShaderText = stored!(L2_NORMALIZE, GRID);
const SOURCE: &[&str] = TEXT.f32;
static LENGTHS: Kernel = kernel("l2_normalize", SOURCE, "lengths");
static FORWARD: Kernel = kernel("l2_normalize", SOURCE, "forward");
static DOTS: Kernel = kernel("l2_normalize", SOURCE, "dots");
static BACKWARD: Kernel = kernel("l2_normalize", SOURCE, "backward");

params! { batch: u32, channels: u32, plane: u32, eps: f32 }

/// `torch.nn.functional.normalize(x, dim=1)`: each place of `x` (N, C, H, W) divided by its L2 norm over channels, or by
/// 1e-12 where that is larger.
///
/// # Errors
/// If `x` does not have four dimensions or the device reports an error.
pub fn l2_normalize(x: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("l2_normalize", "x")?;
    let params = Params { batch: n as u32, channels: c as u32, plane: (h * w) as u32, eps: L2Normalization::EPS };
    let (elements, places) = (x.numel(), n * h * w);
    let by_place = Work::threads(places).flops(2 * elements as u64);
    let length = Tensor::empty(x.gpu(), &[n, h, w])?;
    x.gpu().launch(&LENGTHS, &params, &[x], &[&length], by_place)?;
    let y = Tensor::empty(x.gpu(), &x.shape())?;
    let work = Work::threads(elements).flops(elements as u64);
    x.gpu().launch(&FORWARD, &params, &[x, &length], &[&y], work)?;

    let saved = y.detach();
    Ok(y.with_backward([x], move |dy| {
        let gpu = dy.gpu();
        let dots = Tensor::empty(gpu, &[n, h, w])?;
        gpu.launch(&DOTS, &params, &[&saved, dy], &[&dots], by_place)?;
        let dx = Tensor::empty(gpu, &dy.shape())?;
        let work = Work::threads(elements).flops(3 * elements as u64);
        gpu.launch(&BACKWARD, &params, &[&saved, dy, &length, &dots], &[&dx], work)?;
        Ok([Some(dx)])
    }))
}

/// Records a step of a plan.
pub(crate) fn record(recording: &mut Recording, step: &L2Normalization, buffers: &DeviceBuffers) -> Result<()> {
    let (input, precision) = (&step.input, buffers.precision());
    let [operand] = &input.operands[..] else {
        return Err(Error::argument("l2_normalize", "the number of operands", input.operands.len(), 1));
    };
    buffers.check_input("l2_normalize", input, &(0..input.height))?;
    let (elements, places) = (input.elements(), input.batch * input.plane());
    let lengths = buffers.stored("l2_normalize", "lengths", step.lengths)?;
    holds("l2_normalize", "the lengths", lengths, 4 * places as u64)?;
    holds("l2_normalize", "the output", buffers.get(step.output), elements as u64 * precision.bytes())?;
    let (batch, channels, plane) = (input.batch as u32, operand.channels as u32, input.plane() as u32);
    let params = Params { batch, channels, plane, eps: L2Normalization::EPS };
    let (x, text) = (buffers.get(operand.buffer), TEXT.of(precision));
    let work = Work::threads(places).flops(step.flops());
    recording.launch(&kernel("l2_normalize", text, "lengths"), &params, &[x], &[lengths], work)?;
    let forward = kernel("l2_normalize", text, "forward");
    recording.launch(&forward, &params, &[x, lengths], &[buffers.get(step.output)], Work::threads(elements))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check, gpu, relative_l2};
    use alias_tensor::Tensor;

    struct L2Normalize;

    /// The sum over channels of the products of `a` and `b`.
    fn dot(a: &Array, b: &Array, [n, _, y, x]: [usize; 4]) -> f64 {
        (0..a.shape[1]).map(|c| a[[n, c, y, x]] * b[[n, c, y, x]]).sum()
    }

    impl Twin for L2Normalize {
        fn forward(&self, x: &[Array]) -> Array {
            Array::from_fn(x[0].nchw(), |at| x[0][at] / dot(&x[0], &x[0], at).sqrt())
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let y = self.forward(x);
            let dx = |at| (dy[at] - y[at] * dot(dy, &y, at)) / dot(&x[0], &x[0], at).sqrt();
            vec![Some(Array::from_fn(dy.nchw(), dx))]
        }
    }

    #[test]
    fn matches_twin() {
        // At least three channels: with fewer, what is left of the gradient is mostly rounding.
        for shape in [[1, 3, 1, 1], [2, 3, 5, 7], [3, 32, 2, 1], [2, 33, 1, 5], [1, 517, 4, 3], [2, 70, 17, 31]] {
            check(&L2Normalize, &[Random::new(1).array(&shape)], |t| super::l2_normalize(&t[0]));
        }
    }

    /// Sums over channels are taken in runs; one long sum would miss the bar tenfold.
    #[test]
    fn sums_over_many_channels_are_exact() {
        // Equal terms round alike: in one sum errors would add up to 5e-5, where random ones cancel.
        let x = Array::from_fn([1, 16_384, 1, 2], |[_, _, _, x]| f64::from([1.1f32, 0.7][x]));
        let y = super::l2_normalize(&Tensor::new(gpu(), &x.shape, &x.to_f32()).unwrap()).unwrap().to_vec().unwrap();
        let error = relative_l2(&y, &L2Normalize.forward(&[x]).data);
        assert!(error < 5e-6, "{error:.1e}");
    }

    /// Two places shorter than 1e-12, one of 0, and one that is not a number.
    #[test]
    fn short_places_are_divided_by_the_bound() {
        let x = Tensor::new(gpu(), &[1, 2, 1, 4], &[3e-13, 0.0, 1.0, f32::NAN, -4e-13, 0.0, -1.0, 1.0]).unwrap();
        let x = x.requires_grad();
        let y = super::l2_normalize(&x).unwrap();
        let values = y.to_vec().unwrap();
        let dy = Tensor::new(gpu(), &[1, 2, 1, 4], &[1.0, 2.0, 0.5, 1.0, 3.0, 4.0, 0.5, 1.0]).unwrap();
        let dx = y.backward(&dy).unwrap().get(&x).unwrap().to_vec().unwrap();
        let root = 0.5f64.sqrt();
        let numbers = |v: &[f32]| [v[0], v[1], v[2], v[4], v[5], v[6]];
        assert!(relative_l2(&numbers(&values), &[0.3, 0.0, root, -0.4, 0.0, -root]) < 1e-6, "{values:?}");
        assert!(values[3].is_nan() && values[7].is_nan() && dx[3].is_nan() && dx[7].is_nan());
        let scaled = numbers(&dx).map(|v| v / 1e12);
        assert!(relative_l2(&scaled, &[1.0, 2.0, 0.5 * root / 1e12, 3.0, 4.0, 0.5 * root / 1e12]) < 1e-6, "{dx:?}");
        assert!(relative_l2(&[dx[2], dx[6]], &[0.5 * root, 0.5 * root]) < 1e-6, "{dx:?}");
    }
}
