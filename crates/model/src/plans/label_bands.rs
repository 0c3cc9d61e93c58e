//! The distinct windows of a label map that a band of image rows sees.

use super::choice::shares_products;
use crate::label_map::{Distinct, OUTSIDE};
use alias_plan::ModulationTable;
use std::ops::Range;

/// The distinct windows that a band of image rows sees, renumbered within the band.
pub(crate) struct LabelBand {
    /// The output's rows.
    pub(crate) rows: Range<usize>,
    /// The input's rows that a 3x3 kernel sees.
    pub(crate) seen: Range<usize>,
    /// The distinct 3x3 windows, each with the numbers of its labels.
    pub(crate) windows: Vec<[u32; 9]>,
    /// The distinct 5x5 windows, each with the numbers of its 3x3 windows, from 1.
    pub(crate) entries: Vec<[u32; 9]>,
    /// For every pixel in `seen` rows, its index in the map and its 5x5 window, from 0.
    pub(crate) pixels: Vec<(usize, u32)>,
}

impl LabelBand {
    /// Divides maps (N, H, W) into bands whose tables of `channels`, and their intermediate results, take at most
    /// `largest` bytes each. A band of one row may take more.
    pub(crate) fn divide(
        distinct: &Distinct,
        size: [usize; 3],
        [hidden, channels]: [usize; 2],
        largest: u64,
    ) -> Vec<LabelBand> {
        let whole = 0..size[1];
        let (mut left, mut bands) = (vec![whole], Vec::new());
        while let Some(rows) = left.pop() {
            let band = LabelBand::new(distinct, size, rows.clone());
            let columns = ModulationTable::columns(channels);
            let between = if band.shares_products() { 9 * columns } else { hidden };
            let bytes = 4 * (band.windows.len() * between).max(band.entries.len() * columns) as u64;
            if bytes <= largest || rows.len() == 1 {
                bands.push(band);
            } else {
                let middle = rows.start + rows.len() / 2;
                left.extend([middle..rows.end, rows.start..middle]);
            }
        }
        bands
    }

    /// Whether 5x5 windows share the products of 3x3 windows in its table.
    pub(crate) fn shares_products(&self) -> bool {
        shares_products(self.windows.len(), self.entries.len())
    }

    fn new(distinct: &Distinct, [n, h, w]: [usize; 3], rows: Range<usize>) -> LabelBand {
        let seen = rows.start.saturating_sub(1)..(rows.end + 1).min(h);
        let (mut windows, mut entries) = (Vec::new(), Vec::new());
        let mut pixels = Vec::with_capacity(n * seen.len() * w);
        // From the map's numbers to the band's, which start at 1.
        let mut entry_of = vec![0u32; distinct.windows_5x5.len()];
        let mut window_of = vec![0u32; distinct.windows_3x3.len()];
        for image in 0..n {
            for k in (image * h + seen.start) * w..(image * h + seen.end) * w {
                let at = distinct.map[k] as usize - 1;
                if entry_of[at] == 0 {
                    let entry = distinct.windows_5x5[at].map(|window| {
                        if window == OUTSIDE {
                            return OUTSIDE;
                        }
                        let window = window as usize - 1;
                        if window_of[window] == 0 {
                            windows.push(distinct.windows_3x3[window]);
                            window_of[window] = windows.len() as u32;
                        }
                        window_of[window]
                    });
                    entries.push(entry);
                    entry_of[at] = entries.len() as u32;
                }
                pixels.push((k, entry_of[at] - 1));
            }
        }
        LabelBand { rows, seen, windows, entries, pixels }
    }
}
