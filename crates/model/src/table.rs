//! The distinct windows of a label map on a device, for operations on the tape.

use crate::Result;
use crate::architecture::HIDDEN;
use crate::label_map::{Distinct, LabelMap, OUTSIDE};
use alias_kernels::{Rows, Windows};
use alias_tensor::{Gpu, Tensor};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Tables are filled up to a multiple of this, so that their columns make a plane of that width.
const WIDTH: usize = 8;

/// The tables of a label map by height and width: windows are found once for all norms of a resolution.
#[derive(Debug)]
pub(crate) struct Tables {
    map: LabelMap,
    found: Mutex<HashMap<[usize; 2], Option<Arc<Table>>>>,
}

/// The distinct windows of a label map at one resolution.
#[derive(Debug)]
pub(crate) struct Table {
    /// The labels under each distinct 3x3 window, as the pixels under a kernel: (1, 9 labels, U / 8, 8).
    pub(crate) patches: Tensor,
    /// For each distinct 5x5 window, the nine 3x3 ones that it is made of.
    pub(crate) windows: Windows,
    /// The 5x5 window of each pixel.
    pub(crate) rows: Rows,
}

impl Tables {
    pub(crate) fn new(map: LabelMap) -> Tables {
        Tables { map, found: Mutex::default() }
    }

    /// The distinct windows of the `n` maps, resized to the nearest pixels of height `h` and width `w`; `None` where scale
    /// and shift take less work by pixel.
    pub(crate) fn get(&self, gpu: &Gpu, [n, h, w]: [usize; 3]) -> Result<Option<Arc<Table>>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = found.get(&[h, w]) {
            return Ok(table.clone());
        }
        let table = self.find(gpu, [n, h, w])?.map(Arc::new);
        found.insert([h, w], table.clone());
        Ok(table)
    }

    fn find(&self, gpu: &Gpu, [n, h, w]: [usize; 3]) -> Result<Option<Table>> {
        let Distinct { windows, mut rows, map } = self.map.distinct(h, w);
        rows.resize(rows.len().next_multiple_of(WIDTH), [OUTSIDE; 9]);
        if !pays(gpu, rows.len(), n * h * w) {
            return Ok(None);
        }
        let columns = windows.len().next_multiple_of(WIDTH);
        let labels = self.map.labels();
        let mut patches = vec![0.0; labels * 9 * columns];
        for (column, window) in windows.iter().enumerate() {
            for (k, &number) in window.iter().enumerate().filter(|&(_, &number)| number != OUTSIDE) {
                for (label, &value) in self.map.values(number).iter().enumerate() {
                    patches[(label * 9 + k) * columns + column] = value;
                }
            }
        }
        Ok(Some(Table {
            patches: Tensor::new(gpu, &[1, 9 * labels, columns / WIDTH, WIDTH], &patches)?,
            windows: Windows::new(gpu, &rows, columns)?,
            rows: Rows::new(gpu, [n, h, w], map, rows.len())?,
        }))
    }
}

/// Whether scale and shift for `rows` windows take less work than for `pixels`.
fn pays(gpu: &Gpu, rows: usize, pixels: usize) -> bool {
    // By far the largest product is the one from the hidden layer, once for each row; its operand has to fit a binding.
    let unfolded = 4 * 9 * (HIDDEN * rows) as u64;
    2 * rows < pixels && unfolded <= gpu.limits().max_storage_buffer_binding_size
}

impl Table {
    /// A table (1, C, 1, columns) as a plane, (1, C, columns / 8, 8): what convolutions are made for.
    pub(crate) fn as_plane(table: &Tensor) -> Result<Tensor> {
        let [_, c, _, columns] = table.shape().nchw("table", "x")?;
        Ok(table.reshape(&[1, c, columns / WIDTH, WIDTH])?)
    }

    /// The reverse of [`Table::as_plane`].
    pub(crate) fn as_columns(plane: &Tensor) -> Result<Tensor> {
        let [_, c, h, w] = plane.shape().nchw("table", "x")?;
        Ok(plane.reshape(&[1, c, 1, h * w])?)
    }
}
