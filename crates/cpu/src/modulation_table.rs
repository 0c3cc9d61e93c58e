//! SPADE's scale and shift for each distinct 5x5 window of a label map.

use crate::aligned::{Aligned, Scratch};
use crate::product::{SLACK, product};
use crate::weights::{Filter, for_weights};
use crate::{BLOCK, Cpu, Error, HostBuffers, PANEL, blocks, places};
use alias_plan::ModulationTable;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// The weights of a [`ModulationTable`]. A panel of taps is 1 + gamma for a block of channels, then beta for it.
#[derive(Debug)]
pub struct TableWeights {
    /// (panels, blocks of a patch, BLOCK, PANEL): from the labels in a 3x3 window, a patch, to the hidden layer.
    shared: Aligned,
    /// (panels, PANEL).
    shared_bias: Vec<f32>,
    /// (panels, 9, blocks of hidden, BLOCK, PANEL): from the hidden layer to gamma and beta, for each tap.
    taps: Aligned,
    /// (panels, PANEL).
    bias: Vec<f32>,
}

impl TableWeights {
    /// Packs a norm's three convolutions: shared (hidden, labels, 3, 3), gamma and beta (C, hidden, 3, 3). C is the sum
    /// of `operands`, the channels of each tensor that the norm's input concatenates.
    ///
    /// # Errors
    /// [`Error::WeightsOutOfMemory`] if the system does not have the memory.
    pub fn new([shared, gamma, beta]: &[Filter; 3], operands: &[usize]) -> Result<TableWeights, Error> {
        let hidden = shared.bias.len();
        let labels = shared.weight.len() / (9 * hidden);
        let inner = blocks(ModulationTable::patch_width(labels)) * BLOCK;
        let panels = hidden.div_ceil(PANEL);
        let mut packed_shared = for_weights(panels * inner * PANEL)?;
        for (co, row) in shared.weight.chunks_exact(9 * labels).enumerate() {
            let to = &mut packed_shared[co / PANEL * inner * PANEL + co % PANEL..];
            for (k, &w) in row.iter().enumerate() {
                // A patch is (9, labels), but a row of the weight (labels, 9).
                to[(k % 9 * labels + k / 9) * PANEL] = (f64::from(w) * shared.scale) as f32;
            }
        }
        let mut shared_bias = shared.bias.to_vec();
        shared_bias.resize(panels * PANEL, 0.0);

        let panels: usize = operands.iter().map(|&channels| blocks(channels)).sum();
        let inner = blocks(hidden) * BLOCK;
        let mut taps = for_weights(panels * 9 * inner * PANEL)?;
        let mut bias = vec![0.0; panels * PANEL];
        for (filter, half, plus) in [(gamma, 0, 1.0), (beta, BLOCK, 0.0)] {
            let rows = filter.weight.chunks_exact(9 * hidden).zip(filter.bias);
            for (place, (row, own)) in places(operands).zip(rows) {
                let (panel, column) = (place / BLOCK, place % BLOCK + half);
                bias[panel * PANEL + column] = plus + own;
                let to = &mut taps[panel * 9 * inner * PANEL + column..];
                for (k, &w) in row.iter().enumerate() {
                    to[(k % 9 * inner + k / 9) * PANEL] = (f64::from(w) * filter.scale) as f32;
                }
            }
        }
        Ok(TableWeights { shared: packed_shared, shared_bias, taps, bias })
    }

    /// Bytes that the weights take.
    pub fn bytes(labels: usize, hidden: usize, operands: &[usize]) -> u64 {
        let panels: usize = operands.iter().map(|&channels| blocks(channels)).sum();
        let shared =
            (ModulationTable::patch_width(labels).next_multiple_of(BLOCK) + 1) * hidden.next_multiple_of(PANEL);
        4 * (shared + (9 * hidden.next_multiple_of(BLOCK) + 1) * panels * PANEL) as u64
    }
}

pub(crate) fn run(cpu: &Cpu, step: &ModulationTable, buffers: &mut HostBuffers, weights: &TableWeights) {
    let (windows, width) = (step.windows, ModulationTable::patch_width(step.labels));
    buffers.write([step.output], |buffers, [out]| {
        // Patches and hidden layer as (blocks, windows, BLOCK), the layout in which `product` reads its rows.
        let patches = buffers.get(step.patches);
        let plane = (windows + SLACK) * BLOCK;
        let (inner, hidden) = (blocks(width) * plane, blocks(step.hidden_channels) * plane);
        let mut scratch = Scratch::take(inner + hidden);
        let (rows, hidden) = scratch.split_at_mut(inner);
        for (window, patch) in patches.chunks(width).take(windows).enumerate() {
            for (block, values) in patch.chunks(BLOCK).enumerate() {
                let to = &mut rows[block * plane + window * BLOCK..][..BLOCK];
                to[..values.len()].copy_from_slice(values);
                to[values.len()..].fill(0.0);
            }
        }
        let (rows, hidden) = (&*rows, &mut hidden[..blocks(step.hidden_channels) * plane]);
        let each = blocks(width) * BLOCK * PANEL;
        hidden.par_chunks_mut(2 * plane).enumerate().for_each(|(panel, hidden)| {
            let (b, bias) = (&weights.shared[panel * each..][..each], &weights.shared_bias[panel * PANEL..][..PANEL]);
            cpu.dispatch(Hidden { rows, windows, b, bias, hidden });
        });
        let (hidden, index) = (&*hidden, buffers.indices(step.index));
        let each = 9 * blocks(step.hidden_channels) * BLOCK * PANEL;
        out.par_chunks_mut(step.entries * PANEL).enumerate().for_each(|(panel, out)| {
            let (b, bias) = (&weights.taps[panel * each..][..each], &weights.bias[panel * PANEL..][..PANEL]);
            let shares_products = step.shares_products;
            cpu.dispatch(Taps { hidden, windows, index, b, bias, shares_products, out });
        });
    });
}

/// A panel of the hidden layer: `relu(rows b + bias)`.
struct Hidden<'a> {
    rows: &'a [f32],
    windows: usize,
    b: &'a [f32],
    bias: &'a [f32],
    /// The panel's two blocks, or the last one alone.
    hidden: &'a mut [f32],
}

impl WithSimd for Hidden<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Hidden { rows, windows, b, bias, hidden } = self;
        let plane = (windows + SLACK) * BLOCK;
        let starts: Vec<usize> = (0..rows.len() / plane).map(|block| block * plane).collect();
        let mut sums = Scratch::take((windows + SLACK) * PANEL);
        product(simd, rows, &starts, windows, PANEL, b, &mut sums);
        for (half, hidden) in hidden.chunks_mut(plane).enumerate() {
            let bias = &bias[half * BLOCK..][..BLOCK];
            for (to, sums) in hidden.chunks_mut(BLOCK).zip(sums.chunks(PANEL)).take(windows) {
                for ((to, &sum), &bias) in to.iter_mut().zip(&sums[half * BLOCK..]).zip(bias) {
                    let value = sum + bias;
                    *to = if value < 0.0 { 0.0 } else { value };
                }
            }
        }
    }
}

/// A panel of the table.
struct Taps<'a> {
    hidden: &'a [f32],
    windows: usize,
    /// (entries, 9): 3x3 windows, from 1; 0 outside the image.
    index: &'a [u32],
    b: &'a [f32],
    bias: &'a [f32],
    shares_products: bool,
    /// (entries, PANEL).
    out: &'a mut [f32],
}

/// Entries that are convolved at once, if each is convolved by itself.
const ROWS: usize = 64;

impl WithSimd for Taps<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Taps { hidden, windows, index, b, bias, shares_products, out } = self;
        let plane = (windows + SLACK) * BLOCK;
        let blocks = hidden.len() / plane;
        if shares_products {
            let sums = (windows + SLACK) * PANEL;
            let starts: Vec<usize> = (0..blocks).map(|block| block * plane).collect();
            let mut products = Scratch::take(sums);
            for row in out.chunks_exact_mut(PANEL) {
                row.copy_from_slice(bias);
            }
            for (tap, b) in b.chunks_exact(blocks * BLOCK * PANEL).enumerate() {
                product(simd, hidden, &starts, windows, PANEL, b, &mut products);
                for (out, index) in out.chunks_exact_mut(PANEL).zip(index.chunks_exact(9)) {
                    let Some(window) = index[tap].checked_sub(1) else { continue };
                    let products = &products[window as usize * PANEL..][..PANEL];
                    for (out, product) in out.iter_mut().zip(products) {
                        *out += product;
                    }
                }
            }
            return;
        }
        let gathered = 9 * blocks * (ROWS + SLACK) * BLOCK;
        let plane_of_rows = (ROWS + SLACK) * BLOCK;
        let starts: Vec<usize> = (0..9 * blocks).map(|k| k * plane_of_rows).collect();
        let mut scratch = Scratch::take(gathered + (ROWS + SLACK) * PANEL);
        let (gathered, sums) = scratch.split_at_mut(gathered);
        for (out, index) in out.chunks_mut(ROWS * PANEL).zip(index.chunks(ROWS * 9)) {
            for (row, index) in index.chunks_exact(9).enumerate() {
                for (tap, &window) in index.iter().enumerate() {
                    for block in 0..blocks {
                        let to = &mut gathered[(tap * blocks + block) * plane_of_rows + row * BLOCK..][..BLOCK];
                        match window {
                            0 => to.fill(0.0),
                            _ => to.copy_from_slice(&hidden[block * plane + (window as usize - 1) * BLOCK..][..BLOCK]),
                        }
                    }
                }
            }
            product(simd, gathered, &starts, index.len() / 9, PANEL, b, sums);
            for (out, sums) in out.chunks_exact_mut(PANEL).zip(sums.chunks_exact(PANEL)) {
                out.iter_mut().zip(sums).zip(bias).for_each(|((out, sum), bias)| *out = bias + sum);
            }
        }
    }
}
