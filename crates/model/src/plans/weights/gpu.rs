//! Weights for a GPU.

use super::{Filter, Pack};
use crate::Result;
use alias_kernels::plan::{TableWeights, winograd_weight};
use alias_plan::{Method, ModulationTable, Precision};
use alias_tensor::{Gpu, Tensor};

/// Packs weights for a GPU.
#[derive(Debug)]
pub(in crate::plans) struct GpuPack {
    pub(in crate::plans) gpu: Gpu,
    pub(in crate::plans) precision: Precision,
}

impl Pack for GpuPack {
    /// (Cin K K + 1, Cout padded to a multiple of 4), or (16 Cin + 1, ...) for Winograd's algorithm. The last row is
    /// the bias.
    type Convolution = Tensor;
    /// (outputs, inputs), then the bias (outputs).
    type Linear = Tensor;
    type Table = TableWeights;
    type Scale = Tensor;

    fn convolution(&self, filter: &Filter, _: &[usize], method: Method) -> Result<Tensor> {
        let [cout, _] = filter.shape();
        let width = cout.next_multiple_of(4);
        let mut rows = filter.transposed(width);
        if method == Method::Winograd(2) {
            rows = transformed(&rows, width);
        }
        rows.extend(&filter.bias);
        rows.resize(rows.len().next_multiple_of(width), 0.0);
        self.upload(&rows)
    }

    fn linear(&self, weight: &[f32], bias: &[f32], _: &[usize]) -> Result<Tensor> {
        self.upload(&[weight, bias].concat())
    }

    fn table(&self, [shared, gamma, beta]: [&Filter; 3], _: &[usize]) -> Result<TableWeights> {
        // A patch is (9, labels), a row of the weight (labels, 9).
        let [hidden, inner] = shared.shape();
        let labels = inner / 9;
        let mut rows = vec![0.0; ModulationTable::patch_width(labels) * hidden];
        for (k, row) in shared.transposed(hidden).chunks(hidden).enumerate() {
            rows[(k % 9 * labels + k / 9) * hidden..][..hidden].copy_from_slice(row);
        }
        let [channels, inner] = gamma.shape();
        let columns = ModulationTable::columns(channels);
        let mut taps = vec![0.0; inner * columns];
        let both = gamma.transposed(channels).into_iter().zip(beta.transposed(channels)).collect::<Vec<_>>();
        for (row, both) in taps.chunks_mut(columns).zip(both.chunks(channels)) {
            for (pair, &(gamma, beta)) in row.chunks_mut(2).zip(both) {
                pair.copy_from_slice(&[gamma, beta]);
            }
        }
        let mut bias: Vec<f32> = gamma.bias.iter().zip(&beta.bias).flat_map(|(g, b)| [1.0 + g, *b]).collect();
        bias.resize(columns, 0.0);
        Ok(TableWeights {
            shared: self.upload(&rows)?,
            shared_bias: Tensor::new(&self.gpu, &[hidden], &shared.bias)?,
            taps: self.upload(&taps)?,
            bias: Tensor::new(&self.gpu, &[columns], &bias)?,
        })
    }

    fn scale(&self, values: Vec<f32>) -> Result<Tensor> {
        Ok(Tensor::new(&self.gpu, &[values.len()], &values)?)
    }

    fn threads(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

impl GpuPack {
    /// Uploads weights in the precision of storage. In float16, an element of the tensor holds a pair.
    fn upload(&self, values: &[f32]) -> Result<Tensor> {
        match self.precision {
            Precision::F32 => Ok(Tensor::new(&self.gpu, &[values.len()], values)?),
            Precision::F16 => {
                let halves = halves(values);
                Ok(Tensor::indices(&self.gpu, &[halves.len() / 2], bytemuck::cast_slice(&halves))?)
            }
        }
    }
}

/// Values in float16, padded to an even number.
fn halves(values: &[f32]) -> Vec<half::f16> {
    let mut halves: Vec<_> = values.iter().map(|&v| half::f16::from_f32(v)).collect();
    halves.resize(halves.len().next_multiple_of(2), half::f16::ZERO);
    halves
}

/// Transforms weights for Winograd's F(2x2, 3x3), from (Cin, 9, width) to (Cin, 16, width).
fn transformed(kernel: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; kernel.len() / 9 * 16];
    for (from, to) in kernel.chunks(9 * width).zip(out.chunks_mut(16 * width)) {
        for co in 0..width {
            let weight = winograd_weight(std::array::from_fn(|k| from[k * width + co].into()));
            weight.iter().enumerate().for_each(|(k, &w)| to[k * width + co] = w as f32);
        }
    }
    out
}
