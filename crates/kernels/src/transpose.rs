//! Transposes a batch of matrices.

use crate::kernel;
use alias_cpu::Cpu;
use alias_tensor::{Error, Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(TRANSPOSE, GRID);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("transpose", SOURCE, "forward").on_cores(forward);

params! { batch: u32, rows: u32, columns: u32 }

/// Rows and columns that are transposed at once: a cache line each.
const TILE: usize = 16;

fn forward(cpu: &Cpu, params: &Params, [x]: [&[f32]; 1], [y]: [&mut [f32]; 1]) {
    let (rows, columns) = (params.rows as usize, params.columns as usize);
    let matrices = y.par_chunks_exact_mut(rows * columns).zip(x.par_chunks_exact(rows * columns));
    matrices.for_each(|(y, x)| {
        y.par_chunks_mut(TILE * rows).enumerate().for_each(|(part, y)| {
            cpu.dispatch(
                #[inline(always)]
                || transpose_columns(x, columns, part * TILE, y, rows),
            );
        });
    });
}

/// Writes the columns of `x` from `first` on as rows of `y`.
#[inline(always)]
fn transpose_columns(x: &[f32], columns: usize, first: usize, y: &mut [f32], rows: usize) {
    let count = y.len() / rows;
    let mut tile = [[0.0; TILE]; TILE];
    for (part, x) in x.chunks(TILE * columns).enumerate() {
        for (tile, x) in tile.iter_mut().zip(x.chunks_exact(columns)) {
            tile[..count].copy_from_slice(&x[first..][..count]);
        }
        let height = x.len() / columns;
        for (j, y) in y.chunks_exact_mut(rows).enumerate() {
            y[part * TILE..][..height].iter_mut().zip(&tile).for_each(|(y, row)| *y = row[j]);
        }
    }
}

/// Transposes `x`, read as `batch` matrices (rows, columns) whatever its shape: (batch, columns, rows).
///
/// # Errors
/// If `x` does not have batch x rows x columns elements or the device reports an error.
pub fn transpose(x: &Tensor, [batch, rows, columns]: [usize; 3]) -> Result<Tensor> {
    if [rows, columns].iter().try_fold(batch, |n, &side| n.checked_mul(side)) != Some(x.numel()) {
        let expected = format!("as many elements as [{batch}, {rows}, {columns}]");
        return Err(Error::shape("transpose", "x", &x.shape(), expected));
    }
    let params = Params { batch: batch as u32, rows: rows as u32, columns: columns as u32 };
    let y = Tensor::empty(x.device(), &[batch, columns, rows])?;
    x.device().launch(&FORWARD, &params, &[x], &[&y], Work::threads(y.numel()))?;

    let shape = x.shape();
    Ok(y.with_backward([x], move |dy| Ok([Some(transpose(dy, [batch, columns, rows])?.reshape(&shape)?)])))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::{Error, Tensor};

    struct Transpose([usize; 3]);

    impl Twin for Transpose {
        fn forward(&self, x: &[Array]) -> Array {
            let [batch, rows, columns] = self.0;
            Array::from_fn([batch, columns, rows], |[b, j, i]| x[0].data[(b * rows + i) * columns + j])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let [_, rows, columns] = self.0;
            let at = |k: usize| [k / (rows * columns), k % columns, k / columns % rows];
            vec![Some(Array::new(&x[0].shape, (0..dy.data.len()).map(|k| dy[at(k)]).collect()))]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, matrices) in
            [(&[1][..], [1, 1, 1]), (&[5, 7, 3, 3], [5, 7, 9]), (&[2, 300], [2, 20, 15]), (&[2, 37, 50], [2, 37, 50])]
        {
            check(&Transpose(matrices), &[Random::new(1).array(shape)], |t| super::transpose(&t[0], matrices));
        }
    }

    #[test]
    fn matrices_have_all_elements() {
        for device in devices() {
            let x = Tensor::new(&device, &[6], &[0.0; 6]).unwrap();
            assert!(matches!(super::transpose(&x, [1, 2, 2]), Err(Error::Shape { .. })));
        }
    }
}
