//! A range of a tensor's channels.

use crate::kernel;
use alias_cpu::{Cpu, map};
use alias_tensor::{Error, Kernel, OnCores, Result, Tensor, Work};
use std::ops::Range;

const SOURCE: &[&str] = wgsl!(SLICE, GRID);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("slice", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 1, 1>> = kernel("slice", SOURCE, "backward").on_cores(backward);

params! { batch: u32, part: u32, whole: u32, offset: u32 }

fn forward(cpu: &Cpu, params: &Params, [x]: [&[f32]; 1], [y]: [&mut [f32]; 1]) {
    let [part, whole, offset] = [params.part, params.whole, params.offset].map(|elements| elements as usize);
    for (x, y) in x.chunks_exact(whole).zip(y.chunks_exact_mut(part)) {
        map(cpu, [&x[offset..][..part]], [y], |x| x);
    }
}

fn backward(cpu: &Cpu, params: &Params, [dy]: [&[f32]; 1], [dx]: [&mut [f32]; 1]) {
    let [part, whole, offset] = [params.part, params.whole, params.offset].map(|elements| elements as usize);
    for (dy, dx) in dy.chunks_exact(part).zip(dx.chunks_exact_mut(whole)) {
        let (before, rest) = dx.split_at_mut(offset);
        let (inside, after) = rest.split_at_mut(part);
        map(cpu, [dy], [inside], |dy| dy);
        for outside in [before, after] {
            map(cpu, [], [outside], move |[]| [0.0]);
        }
    }
}

/// `x[:, start:end]` of `x` (N, C, H, W), with `channels` as `start..end`.
///
/// # Errors
/// If the range is empty or ends after C, or the device reports an error.
pub fn slice(x: &Tensor, channels: Range<usize>) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("slice", "x")?;
    if channels.is_empty() || channels.end > c {
        return Err(Error::argument("slice", "channels", format!("{channels:?}"), format!("a range within 0..{c}")));
    }
    let params = Params {
        batch: n as u32,
        part: (channels.len() * h * w) as u32,
        whole: (c * h * w) as u32,
        offset: (channels.start * h * w) as u32,
    };
    let y = Tensor::empty(x.device(), &[n, channels.len(), h, w])?;
    x.device().launch(&FORWARD, &params, &[x], &[&y], Work::threads(y.numel()))?;

    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.device(), &[n, c, h, w])?;
        dy.device().launch(&BACKWARD, &params, &[dy], &[&dx], Work::threads(dx.numel()))?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};
    use std::ops::Range;

    struct Slice(Range<usize>);

    impl Twin for Slice {
        fn forward(&self, x: &[Array]) -> Array {
            let [n, _, h, w] = x[0].nchw();
            Array::from_fn([n, self.0.len(), h, w], |[n, c, y, x_]| x[0][[n, self.0.start + c, y, x_]])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let inside =
                |[n, c, y, x]: [usize; 4]| if self.0.contains(&c) { dy[[n, c - self.0.start, y, x]] } else { 0.0 };
            vec![Some(Array::from_fn(x[0].nchw(), inside))]
        }
    }

    #[test]
    fn matches_twin() {
        for channels in [0..1, 0..7, 2..5, 6..7] {
            check(&Slice(channels.clone()), &[Random::new(1).array(&[2, 7, 3, 5])], |t| {
                super::slice(&t[0], channels.clone())
            });
        }
    }
}
