//! The label map as numbers, and its distinct windows at each resolution.
//!
//! SPADE's scale and shift at a pixel are a function of the 5x5 labels around it, and labels are constant almost
//! everywhere: a map of a million pixels has some hundred distinct 3x3 windows and some thousand distinct 5x5 ones. What is
//! computed once for each of those need not be computed for each pixel, and comes out the same.

use crate::Result;
use crate::architecture::HIDDEN;
use alias_kernels::{Rows, Windows};
use alias_tensor::{Gpu, Tensor};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Stands for what lies outside the image: unlike every label, unlike every window.
const OUTSIDE: u32 = 0;
/// Tables are filled up to a multiple of this, so that their columns make a plane of that width.
const WIDTH: usize = 8;

/// The labels of a batch of images.
#[derive(Debug)]
pub(crate) struct LabelMap {
    size: [usize; 3],
    /// (N, H, W): numbers from 1 of the entries of `labels`.
    numbers: Vec<u32>,
    /// What each number stands for: a value for each label.
    labels: Vec<Vec<f32>>,
    /// By height and width: windows are found once for all norms of a resolution.
    tables: Mutex<HashMap<[usize; 2], Option<Arc<Table>>>>,
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

impl LabelMap {
    /// The map whose pixel `at` has the labels `labels_of(at)`, for (N, H, W) pixels.
    pub(crate) fn new(size: [usize; 3], labels_of: impl Fn(usize) -> Vec<f32>) -> LabelMap {
        let mut by_bits = HashMap::new();
        let mut labels = Vec::new();
        let number = |at| {
            let here = labels_of(at);
            let bits: Vec<u32> = here.iter().map(|v| v.to_bits()).collect();
            *by_bits.entry(bits).or_insert_with(|| {
                labels.push(here);
                labels.len() as u32
            })
        };
        let numbers = (0..size.iter().product()).map(number).collect();
        LabelMap { size, numbers, labels, tables: Mutex::default() }
    }

    /// The distinct windows of the map, resized to the nearest pixels of height `h` and width `w`; `None` where scale and
    /// shift take less work by pixel.
    pub(crate) fn table(&self, gpu: &Gpu, h: usize, w: usize) -> Result<Option<Arc<Table>>> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(&[h, w]) {
            return Ok(table.clone());
        }
        let table = self.find(gpu, h, w)?.map(Arc::new);
        tables.insert([h, w], table.clone());
        Ok(table)
    }

    fn find(&self, gpu: &Gpu, h: usize, w: usize) -> Result<Option<Table>> {
        let [n, full_h, full_w] = self.size;
        let resized = (0..n * h * w).map(|at| {
            let (y, x) = (at / w % h, at % w);
            self.numbers[(at / (h * w) * full_h + y * full_h / h) * full_w + x * full_w / w]
        });
        let Numbered { map, windows } = Numbered::windows_of(&resized.collect::<Vec<_>>(), [n, h, w]);
        let Numbered { map, windows: mut rows } = Numbered::windows_of(&map, [n, h, w]);
        rows.resize(rows.len().next_multiple_of(WIDTH), [OUTSIDE; 9]);
        if !pays(gpu, rows.len(), n * h * w) {
            return Ok(None);
        }
        let columns = windows.len().next_multiple_of(WIDTH);
        let labels = self.labels[0].len();
        let mut patches = vec![0.0; labels * 9 * columns];
        for (column, window) in windows.iter().enumerate() {
            for (k, &number) in window.iter().enumerate().filter(|&(_, &number)| number != OUTSIDE) {
                for (label, &value) in self.labels[number as usize - 1].iter().enumerate() {
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

/// A map of numbers from 1, and for each number what it stands for.
#[derive(Debug, PartialEq, Eq)]
struct Numbered {
    /// (N, H, W), the number at each place.
    map: Vec<u32>,
    /// What each number from 1 stands for: nine numbers of the map it was made from, row by row, [`OUTSIDE`] past its edge.
    windows: Vec<[u32; 9]>,
}

impl Numbered {
    /// Numbers the distinct 3x3 windows of `map` (N, H, W), whose numbers start at 1, in the order in which they occur.
    fn windows_of(map: &[u32], [n, h, w]: [usize; 3]) -> Numbered {
        // A window is a column of three runs, and a run a row of three numbers.
        let (runs, run_of) = number_triples(map.len(), |at| {
            let x = at % w;
            let left = if x > 0 { map[at - 1] } else { OUTSIDE };
            let right = if x + 1 < w { map[at + 1] } else { OUTSIDE };
            [left, map[at], right]
        });
        let (map, columns) = number_triples(n * h * w, |at| {
            let y = at / w % h;
            let above = if y > 0 { runs[at - w] } else { OUTSIDE };
            let below = if y + 1 < h { runs[at + w] } else { OUTSIDE };
            [above, runs[at], below]
        });
        let run = |number: u32| if number == OUTSIDE { [OUTSIDE; 3] } else { run_of[number as usize - 1] };
        let window = |column: &[u32; 3]| {
            let [[a, b, c], [d, e, f], [g, h, i]] = column.map(run);
            [a, b, c, d, e, f, g, h, i]
        };
        Numbered { map, windows: columns.iter().map(window).collect() }
    }
}

/// Numbers the distinct triples `at(0)`, `at(1)`, ... from 1: the number at each place, and the triples in that order.
fn number_triples(places: usize, at: impl Fn(usize) -> [u32; 3]) -> (Vec<u32>, Vec<[u32; 3]>) {
    let mut numbers = HashMap::new();
    let mut triples = Vec::new();
    let mut last = ([u32::MAX; 3], 0);
    let map = (0..places).map(|place| {
        let triple = at(place);
        // Most places are like the one before.
        if triple != last.0 {
            let number = *numbers.entry(triple).or_insert_with(|| {
                triples.push(triple);
                triples.len() as u32
            });
            last = (triple, number);
        }
        last.1
    });
    (map.collect(), triples)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looked up where they are, numbers give back every window of the map.
    #[test]
    fn windows_are_those_of_the_map() {
        let size @ [n, h, w] = [2, 5, 7];
        let map: Vec<u32> = (0..n * h * w).map(|at| (at * at * 31 % 97 % 3) as u32 + 1).collect();
        let numbered = Numbered::windows_of(&map, size);
        for at in 0..map.len() {
            let (y, x) = (at / w % h, at % w);
            let expected: [u32; 9] = std::array::from_fn(|k| {
                let (dy, dx) = (y + k / 3, x + k % 3);
                if (1..=h).contains(&dy) && (1..=w).contains(&dx) {
                    map[at + k / 3 * w + k % 3 - w - 1]
                } else {
                    OUTSIDE
                }
            });
            assert_eq!(numbered.windows[numbered.map[at] as usize - 1], expected, "at {at}");
        }
        let mut distinct = numbered.windows.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), numbered.windows.len(), "no window twice");
    }

    #[test]
    fn a_flat_map_has_the_windows_of_its_border() {
        let numbered = Numbered::windows_of(&[1; 600], [1, 20, 30]);
        assert_eq!(numbered.windows.len(), 9);
        assert_eq!(Numbered::windows_of(&numbered.map, [1, 20, 30]).windows.len(), 25);
        assert_eq!(Numbered::windows_of(&[1], [1, 1, 1]).windows, [[0, 0, 0, 0, 1, 0, 0, 0, 0]]);
    }
}
