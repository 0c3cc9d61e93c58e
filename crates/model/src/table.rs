//! The distinct windows of a label map on a device, for operations on the tape.

use crate::conv::Conv2d;
use crate::label_map::{Distinct, LabelMap, OUTSIDE};
use alias_kernels::{Rows, Windows, sum_windows};
use alias_tensor::{Gpu, Result, Tensor};
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
    /// and shift of `channels` take less work by pixel, or do not fit the device by table.
    pub(crate) fn get(&self, gpu: &Gpu, [n, channels, h, w]: [usize; 4]) -> Result<Option<Arc<Table>>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let table = match found.get(&[h, w]) {
            Some(table) => table.clone(),
            None => {
                let table = self.find(gpu, [n, h, w])?.map(Arc::new);
                found.insert([h, w], table.clone());
                table
            }
        };
        let limit = gpu.limits().max_storage_buffer_binding_size;
        Ok(table.filter(|table| 4 * 9 * (channels * table.windows.columns()) as u64 <= limit))
    }

    fn find(&self, gpu: &Gpu, [n, h, w]: [usize; 3]) -> Result<Option<Table>> {
        let Distinct { windows, rows, map } = self.map.distinct(h, w);
        let columns = windows.len().next_multiple_of(WIDTH);
        // By far the largest product is the one from the hidden layer, once for each column instead of each pixel.
        if 2 * columns >= n * h * w {
            return Ok(None);
        }
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

impl Table {
    /// What `conv`, a 3x3 kernel, makes of a layer whose `columns` (1, C, U / 8, 8) are those of the 3x3 windows, at one pixel
    /// of each 5x5 window: (1, Cout, 1, R).
    pub(crate) fn convolve(&self, conv: &Conv2d, columns: &Tensor) -> Result<Tensor> {
        let bias = conv.bias().expect("scale and shift are predicted with a bias");
        let products = conv.forward_taps(columns)?;
        let [_, c, h, w] = products.shape().nchw("table", "products")?;
        sum_windows(&products.reshape(&[1, c, 1, h * w])?, &self.windows, bias)
    }
}
