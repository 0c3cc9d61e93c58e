//! Concatenation along channels.

use crate::kernel;
use alias_cpu::{Cpu, map};
use alias_tensor::{Error, Kernel, OnCores, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(CONCAT, GRID);
static FORWARD: Kernel<OnCores<Params, 2, 1>> = kernel("concat", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 1, 2>> = kernel("concat", SOURCE, "backward").on_cores(backward);

params! { batch: u32, a: u32, b: u32, whole: u32, offset: u32 }

impl Params {
    /// What an image has of the two parts, in the whole: where they start and how many elements they have.
    fn places(&self) -> [(usize, usize); 2] {
        let [a, b, offset] = [self.a, self.b, self.offset].map(|elements| elements as usize);
        [(offset, a), (offset + a, b)]
    }
}

/// Writes the elements of two parts, of which the second may be empty.
fn forward(cpu: &Cpu, params: &Params, parts: [&[f32]; 2], [y]: [&mut [f32]; 1]) {
    for (x, (start, length)) in parts.into_iter().zip(params.places()).filter(|(_, (_, length))| *length > 0) {
        for (x, y) in x.chunks_exact(length).zip(y.chunks_exact_mut(params.whole as usize)) {
            map(cpu, [x], [&mut y[start..][..length]], |x| x);
        }
    }
}

fn backward(cpu: &Cpu, params: &Params, [dy]: [&[f32]; 1], gradients: [&mut [f32]; 2]) {
    for (dx, (start, length)) in gradients.into_iter().zip(params.places()).filter(|(_, (_, length))| *length > 0) {
        for (dy, dx) in dy.chunks_exact(params.whole as usize).zip(dx.chunks_exact_mut(length)) {
            map(cpu, [&dy[start..][..length]], [dx], |dy| dy);
        }
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
    for pair in parts.chunks(2) {
        let elements = |k: usize| pair.get(k).map_or(0, |part| part.numel() / n);
        let [a, b] = [elements(0), elements(1)];
        let [batch, a, b, whole, before] = [n, a, b, channels * h * w, offset].map(|size| size as u32);
        let params = Params { batch, a, b, whole, offset: before };
        let work = Work::threads(pair.iter().map(|part| part.numel()).sum());
        // Every binding needs a buffer; of an empty part nothing is read.
        y.device().launch(&FORWARD, &params, &[pair[0], pair[pair.len() - 1]], &[&y], work)?;
        offset += elements(0) + elements(1);
        let gradients: Vec<_> = pair.iter().map(|part| (part.shape(), part.is_tracked())).collect();
        layout.push((params, gradients, work));
    }

    Ok(y.with_backward_of(parts, move |dy| {
        let mut all = Vec::new();
        for (params, pair, work) in &layout {
            if !pair.iter().any(|(_, is_tracked)| *is_tracked) {
                all.extend(pair.iter().map(|_| None));
                continue;
            }
            let shape = |k: usize| pair.get(k).map_or(vec![1], |(shape, _)| shape.to_vec());
            let [da, db] = [Tensor::empty(dy.device(), &shape(0))?, Tensor::empty(dy.device(), &shape(1))?];
            dy.device().launch(&BACKWARD, params, &[dy], &[&da, &db], *work)?;
            all.extend([Some(da), Some(db)].into_iter().take(pair.len()));
        }
        Ok(all)
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
