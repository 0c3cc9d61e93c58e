//! The distinct windows of a label map on a device, for operations on the tape.

use super::conv::Conv2d;
use crate::label_map::{Distinct, LabelMap, OUTSIDE};
use crate::plans::choice::table_pays;
use alias_kernels::{PixelEntries, Windows, sum_windows};
use alias_tensor::{Gpu, Result, Tensor};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Tables are filled up to a multiple of this, so that their columns make a plane of that width.
const WIDTH: usize = 8;

/// The tables of a label map by height and width: windows are found once for all norms of a resolution.
#[derive(Debug)]
pub struct WindowTables {
    map: LabelMap,
    found: Mutex<HashMap<[usize; 2], Option<Arc<WindowTable>>>>,
}

/// The distinct windows of a label map at one resolution.
#[derive(Debug)]
pub(crate) struct WindowTable {
    /// The labels under each distinct 3x3 window, as the pixels under a kernel: (1, 9 labels, U / 8, 8).
    pub(crate) patches: Tensor,
    /// For each distinct 5x5 window, the nine 3x3 ones that it is made of.
    pub(crate) windows: Windows,
    /// The 5x5 window of each pixel.
    pub(crate) entries: PixelEntries,
}

impl WindowTables {
    pub(crate) fn new(map: LabelMap) -> WindowTables {
        WindowTables { map, found: Mutex::default() }
    }

    /// The distinct windows of the `n` maps, resized to the nearest pixels of height `h` and width `w`; `None` where scale
    /// and shift of `channels` take less work by pixel, or do not fit the device by table.
    pub(crate) fn get(&self, gpu: &Gpu, [n, channels, h, w]: [usize; 4]) -> Result<Option<Arc<WindowTable>>> {
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

    fn find(&self, gpu: &Gpu, [n, h, w]: [usize; 3]) -> Result<Option<WindowTable>> {
        let Distinct { windows_3x3: windows, windows_5x5, map } = self.map.distinct(h, w);
        let columns = windows.len().next_multiple_of(WIDTH);
        if !table_pays(columns, n * h * w) {
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
        Ok(Some(WindowTable {
            patches: Tensor::new(gpu, &[1, 9 * labels, columns / WIDTH, WIDTH], &patches)?,
            windows: Windows::new(gpu, &windows_5x5, columns)?,
            entries: PixelEntries::new(gpu, [n, h, w], map, windows_5x5.len())?,
        }))
    }
}

impl WindowTable {
    /// What `conv`, a 3x3 kernel, makes of a layer whose `columns` (1, C, U / 8, 8) are those of the 3x3 windows, at one pixel
    /// of each 5x5 window: (1, Cout, 1, E).
    pub(crate) fn convolve(&self, conv: &Conv2d, columns: &Tensor) -> Result<Tensor> {
        let bias = conv.bias().expect("scale and shift are predicted with a bias");
        let products = conv.forward_taps(columns)?;
        let [_, c, h, w] = products.shape().nchw("table", "products")?;
        sum_windows(&products.reshape(&[1, c, 1, h * w])?, &self.windows, bias)
    }
}
