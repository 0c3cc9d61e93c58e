//! The distinct windows of a label map on a device, for operations on the tape.

use crate::label_map::{Distinct, LabelMap, OUTSIDE};
use crate::plans::choice::table_pays;
use alias_kernels::{PixelEntries, Windows};
use alias_tensor::{Device, Result, Tensor};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Tables are padded to a multiple of this many columns, so that the columns form a plane of this width.
const WIDTH: usize = 8;

/// The distinct windows of a label map by height and width, found once for all norms of a resolution.
#[derive(Debug)]
pub(super) struct WindowTables {
    map: LabelMap,
    found: Mutex<HashMap<[usize; 2], Option<Arc<WindowTable>>>>,
}

/// The distinct windows of a label map at one resolution.
#[derive(Debug)]
pub(crate) struct WindowTable {
    /// The labels in each of U distinct 3x3 windows, unfolded (im2col): (1, 9 labels, U / 8, 8), where U is padded.
    pub(crate) patches: Tensor,
    /// The nine 3x3 windows of each distinct 5x5 window.
    pub(crate) windows: Windows,
    /// The 5x5 window of each pixel.
    pub(crate) entries: PixelEntries,
}

impl WindowTables {
    pub(crate) fn new(map: LabelMap) -> WindowTables {
        WindowTables { map, found: Mutex::default() }
    }

    /// The distinct windows of the map, resized by nearest neighbour to (`n`, `h`, `w`). `None` if SPADE takes less
    /// work at each pixel, or its table for `channels` does not fit the device.
    pub(crate) fn get(&self, device: &Device, [n, channels, h, w]: [usize; 4]) -> Result<Option<Arc<WindowTable>>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let table = match found.get(&[h, w]) {
            Some(table) => table.clone(),
            None => {
                let table = self.find(device, [n, h, w])?.map(Arc::new);
                found.insert([h, w], table.clone());
                table
            }
        };
        let limit = device.largest_tensor();
        let largest = |windows: &Windows| 2 * channels * (9 * windows.columns()).max(windows.entries());
        Ok(table.filter(|table| 4 * largest(&table.windows) as u64 <= limit))
    }

    fn find(&self, device: &Device, [n, h, w]: [usize; 3]) -> Result<Option<WindowTable>> {
        let Distinct { windows_3x3: windows, windows_5x5, map } = self.map.distinct(h, w);
        let columns = windows.len().next_multiple_of(WIDTH);
        if !table_pays(columns, n * h * w) {
            return Ok(None);
        }
        let labels = self.map.classes();
        let mut patches = vec![0.0; labels * 9 * columns];
        for (column, window) in windows.iter().enumerate() {
            for (k, &number) in window.iter().enumerate().filter(|&(_, &number)| number != OUTSIDE) {
                for (label, &value) in self.map.values(number).iter().enumerate() {
                    patches[(label * 9 + k) * columns + column] = value;
                }
            }
        }
        Ok(Some(WindowTable {
            patches: Tensor::new(device, &[1, 9 * labels, columns / WIDTH, WIDTH], &patches)?,
            windows: Windows::new(device, &windows_5x5, columns)?,
            entries: PixelEntries::new(device, [n, h, w], map, windows_5x5.len())?,
        }))
    }
}
