//! Packs operands of a convolution so that a shader can load four channels at once.

use crate::kernel;
use crate::spectral_norm::SpectralNorm;
use alias_cpu::map;
use alias_tensor::{Cores, Device, Gpu, Kernel, Result, Shape, Tensor, Work};

const SOURCE: &[&str] = wgsl!(PACK, GRID);
static FORWARD: Kernel = kernel("pack", SOURCE, "forward").workgroup(64);
/// Columns per invocation, as in the shader.
const RUN: usize = 16;

params! {
    batch: u32, rows: u32, columns: u32, batch_stride: u32, row_stride: u32, column_stride: u32, reverse: u32,
    divided: u32,
}

/// A convolution's weight in the layout that its kernels read. Packed once, used any number of times.
#[derive(Clone, Debug)]
pub struct PackedWeight {
    /// On a GPU (Cin, K, K, Cout), Cout padded with zeros to a multiple of four. On processor cores the weight as it is, or
    /// divided by its spectral norm: how it is packed depends on the convolution.
    pub(crate) packed: Tensor,
    /// (Cout, Cin, K, K).
    pub(crate) shape: Shape,
    /// What was divided, if it was. A GPU's gradient by input reads it as it is.
    pub(crate) source: Option<SpectralNorm>,
}

impl PackedWeight {
    /// Packs `weight` (Cout, Cin, K, K).
    ///
    /// # Errors
    /// If it does not have four dimensions or the device reports an error.
    pub fn new(weight: &Tensor) -> Result<PackedWeight> {
        PackedWeight::divided(weight, None)
    }

    /// Packs a weight divided by its spectral norm.
    ///
    /// # Errors
    /// As [`PackedWeight::new`].
    pub fn normalized(weight: &SpectralNorm) -> Result<PackedWeight> {
        PackedWeight::divided(&weight.weight, Some(weight))
    }

    pub(crate) fn divided(weight: &Tensor, norm: Option<&SpectralNorm>) -> Result<PackedWeight> {
        let [cout, cin, kh, kw] = weight.shape().nchw("packed weight", "weight")?;
        let sigma = norm.map(|norm| &norm.sigma);
        let packed = match weight.device() {
            Device::Gpu(gpu) => pack(gpu, weight, Matrices::row_major([1, cout, cin * kh * kw]), false, sigma)?,
            Device::Cores(cores) => sigma.map_or(Ok(weight.detach()), |sigma| divided(cores, weight, sigma))?,
        };
        Ok(PackedWeight { packed, shape: weight.shape(), source: norm.cloned() })
    }

    /// The same data as the weight (Cout, Cin K K, 1, 1) of a 1x1 convolution over unfolded input (im2col).
    ///
    /// # Errors
    /// As [`Shape::new`].
    pub fn unfolded(&self) -> Result<PackedWeight> {
        let [cout, cin, kh, kw] = self.shape.nchw("packed weight", "weight")?;
        let shape = Shape::new(&[cout, cin * kh * kw, 1, 1])?;
        Ok(PackedWeight { packed: self.packed.clone(), shape, source: None })
    }
}

/// `weight / sigma`
fn divided(cores: &Cores, weight: &Tensor, sigma: &Tensor) -> Result<Tensor> {
    let quotient = Tensor::empty(cores, &weight.shape())?;
    cores.run(
        "pack",
        "divided",
        &[weight, sigma],
        &[&quotient],
        weight.numel() as u64,
        |cpu, [weight, sigma], quotient| {
            let sigma = sigma[0];
            map(cpu, [weight], quotient, move |[w]| [w / sigma]);
        },
    )?;
    Ok(quotient)
}

/// A tensor viewed as `batch` matrices (`rows`, `columns`): the length and the stride of each dimension, in elements.
#[derive(Clone, Copy)]
pub(crate) struct Matrices {
    pub(crate) batch: (usize, usize),
    pub(crate) rows: (usize, usize),
    pub(crate) columns: (usize, usize),
}

impl Matrices {
    /// Contiguous row-major matrices, one after another.
    pub(crate) fn row_major([batch, rows, columns]: [usize; 3]) -> Matrices {
        Matrices { batch: (batch, rows * columns), rows: (rows, columns), columns: (columns, 1) }
    }
}

/// The transpose of each of the `matrices` of `source`, divided by `divisor` (1), rows padded with zeros to a multiple
/// of four, columns in reverse order if `reverse`: (batch, columns, 4 ceil(rows / 4)). Not differentiable.
pub(crate) fn pack(
    gpu: &Gpu,
    source: &Tensor,
    matrices: Matrices,
    reverse: bool,
    divisor: Option<&Tensor>,
) -> Result<Tensor> {
    let Matrices { batch, rows, columns } = matrices;
    let last = [batch, rows, columns].map(|(length, stride)| (length - 1) * stride).iter().sum::<usize>();
    assert!(last < source.numel(), "matrices reach outside their tensor");
    let params = Params {
        batch: batch.0 as u32,
        rows: rows.0 as u32,
        columns: columns.0 as u32,
        batch_stride: batch.1 as u32,
        row_stride: rows.1 as u32,
        column_stride: columns.1 as u32,
        reverse: reverse.into(),
        divided: divisor.is_some().into(),
    };
    let packed = Tensor::empty(gpu, &[batch.0, columns.0, rows.0.next_multiple_of(4)])?;
    let work = Work::threads(batch.0 * columns.0.div_ceil(RUN) * rows.0.div_ceil(4));
    // Every binding needs a buffer; without a divisor the shader does not read this one.
    gpu.launch(&FORWARD, &params, &[source, divisor.unwrap_or(source)], &[&packed], work)?;
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check_on_gpu};
    use alias_tensor::{Device, Tensor};

    struct Pack {
        reverse: bool,
    }

    impl Twin for Pack {
        fn forward(&self, x: &[Array]) -> Array {
            let &[batch, rows, columns] = x[0].shape.as_slice() else { panic!("three dimensions") };
            Array::from_fn([batch, columns, rows.next_multiple_of(4)], |[b, j, i]| {
                let j = if self.reverse { columns - 1 - j } else { j };
                let divisor = x.get(1).map_or(1.0, |divisor| divisor.data[0]);
                if i < rows { x[0][[b, i, j]] / divisor } else { 0.0 }
            })
        }

        fn backward(&self, x: &[Array], _: &Array) -> Vec<Option<Array>> {
            vec![None; x.len()]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, reverse) in [([1, 1, 1], false), ([2, 3, 5], false), ([3, 8, 9], true), ([1, 7, 257], true)] {
            let mut random = Random::new(1);
            let inputs = [random.array(&shape), random.array(&[1])];
            let matrices = super::Matrices::row_major(shape);
            let pack = |t: &[Tensor]| {
                let Device::Gpu(gpu) = t[0].device() else { unreachable!("only a GPU's operands are packed by it") };
                super::pack(gpu, &t[0], matrices, reverse, t.get(1))
            };
            check_on_gpu(&Pack { reverse }, &inputs[..1], pack);
            check_on_gpu(&Pack { reverse }, &inputs, pack);
        }
    }
}
