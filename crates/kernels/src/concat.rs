//! Concatenation along channels.

use crate::kernel;
use alias_cpu::{Cpu, map};
use alias_tensor::{Error, Kernel, OnCores, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(CONCAT, GRID);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("concat", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 1, 1>> = kernel("concat", SOURCE, "backward").on_cores(backward);

params! { batch: u32, part: u32, whole: u32, offset: u32 }

/// Writes the elements of one part; each has its own launch.
fn forward(cpu: &Cpu, params: &Params, [x]: [&[f32]; 1], [y]: [&mut [f32]; 1]) {
    let [part, whole, offset] = [params.part, params.whole, params.offset].map(|elements| elements as usize);
    for (x, y) in x.chunks_exact(part).zip(y.chunks_exact_mut(whole)) {
        map(cpu, [x], [&mut y[offset..][..part]], |x| x);
    }
}

fn backward(cpu: &Cpu, params: &Params, [dy]: [&[f32]; 1], [dx]: [&mut [f32]; 1]) {
    let [part, whole, offset] = [params.part, params.whole, params.offset].map(|elements| elements as usize);
    for (dy, dx) in dy.chunks_exact(whole).zip(dx.chunks_exact_mut(part)) {
        map(cpu, [&dy[offset..][..part]], [dx], |dy| dy);
    }
}

/// `torch.cat(parts, dim=1)` of `parts` (N, Ci, H, W): (N, sum of Ci, H, W).
///
/// # Errors
/// If `parts` is empty, N, H or W differ, or the device reports an error.
pub fn concat(parts: &[&Tensor]) -> Result<Tensor> {
    let Some(first) = parts.first() else {
        return Err(Error::argument("concat", "parts", "none", "at least one tensor"));
    };
    let [n, _, h, w] = first.shape().nchw("concat", "parts")?;
    let mut channels = 0;
    for part in parts {
        let [part_n, c, part_h, part_w] = part.shape().nchw("concat", "parts")?;
        if [part_n, part_h, part_w] != [n, h, w] {
            return Err(Error::shape("concat", "parts", &part.shape(), format!("[{n}, any, {h}, {w}]")));
        }
        channels += c;
    }
    let y = Tensor::empty(first.device(), &[n, channels, h, w])?;
    let mut layout = Vec::new();
    let mut offset = 0;
    for part in parts {
        let elements = part.numel() / n;
        let params =
            Params { batch: n as u32, part: elements as u32, whole: (channels * h * w) as u32, offset: offset as u32 };
        y.device().launch(&FORWARD, &params, &[part], &[&y], Work::threads(part.numel()))?;
        offset += elements;
        layout.push((params, part.shape(), part.is_tracked()));
    }

    Ok(y.with_backward_of(parts, move |dy| {
        let gradient = |(params, shape, tracked): &(Params, alias_tensor::Shape, bool)| {
            if !tracked {
                return Ok(None);
            }
            let dx = Tensor::empty(dy.device(), shape)?;
            dy.device().launch(&BACKWARD, params, &[dy], &[&dx], Work::threads(dx.numel()))?;
            Ok(Some(dx))
        };
        layout.iter().map(gradient).collect()
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    struct Concat;

    impl Twin for Concat {
        fn forward(&self, x: &[Array]) -> Array {
            let [n, _, h, w] = x[0].nchw();
            let channels = x.iter().map(|part| part.shape[1]).sum();
            Array::from_fn([n, channels, h, w], |[n, mut c, y, x_]| {
                let part = x.iter().find(|part| {
                    let here = c < part.shape[1];
                    if !here {
                        c -= part.shape[1];
                    }
                    here
                });
                part.unwrap()[[n, c, y, x_]]
            })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let mut before = 0;
            let mut gradient = |part: &Array| {
                let dx = Array::from_fn(part.nchw(), |[n, c, y, x]| dy[[n, before + c, y, x]]);
                before += part.shape[1];
                Some(dx)
            };
            x.iter().map(&mut gradient).collect()
        }
    }

    #[test]
    fn matches_twin() {
        for channels in [&[4][..], &[1, 1], &[3, 5], &[2, 7, 1]] {
            let mut random = Random::new(1);
            let inputs: Vec<_> = channels.iter().map(|&c| random.array(&[2, c, 3, 5])).collect();
            check(&Concat, &inputs, |t| super::concat(&t.iter().collect::<Vec<_>>()));
        }
    }
}
