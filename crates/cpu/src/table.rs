//! SPADE's scale and shift for each distinct window of a label map.

use crate::aligned::{Aligned, Scratch};
use crate::product::{SLACK, product};
use crate::{BLOCK, Buffers, Cpu, PANEL, blocks, places};
use alias_plan::Table;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// What a table is made with. A panel has a block of channels of 1 + gamma, then of beta.
#[derive(Debug)]
pub struct TableWeights {
    /// (panels, blocks of labels' columns, BLOCK, PANEL): labels under a window to the hidden layer.
    shared: Aligned,
    /// (panels, PANEL).
    shared_bias: Vec<f32>,
    /// (panels, 9, blocks of hidden, BLOCK, PANEL): the hidden layer to the taps of gamma and beta.
    taps: Aligned,
    /// (panels, PANEL).
    bias: Vec<f32>,
}

impl TableWeights {
    /// From `shared` (inner, hidden), its bias (hidden), and `taps` (hidden, 9, [`Table::columns`]) and `bias` (columns), gamma
    /// and beta of a channel side by side. Channels are those of `sources`, one after the other.
    pub fn new(shared: &[f32], shared_bias: &[f32], taps: &[f32], bias: &[f32], sources: &[usize]) -> TableWeights {
        let hidden = shared_bias.len();
        let inner = shared.len() / hidden;
        let panels = hidden.div_ceil(PANEL);
        let mut packed_shared = Aligned::zeros(panels * blocks(inner) * BLOCK * PANEL);
        for (k, row) in shared.chunks(hidden).enumerate() {
            for (co, &w) in row.iter().enumerate() {
                packed_shared[(co / PANEL * blocks(inner) * BLOCK + k) * PANEL + co % PANEL] = w;
            }
        }
        let mut packed_bias = shared_bias.to_vec();
        packed_bias.resize(panels * PANEL, 0.0);

        let columns = Table::columns(sources.iter().sum());
        let panels: usize = sources.iter().map(|&channels| blocks(channels)).sum();
        let places: Vec<usize> = places(sources).collect();
        let column = |channel: usize, beta: usize| places[channel] % BLOCK + beta * BLOCK;
        let each = 9 * blocks(hidden) * BLOCK * PANEL;
        let mut packed_taps = Aligned::zeros(panels * each);
        let mut all_bias = vec![0.0; panels * PANEL];
        packed_taps.par_chunks_mut(each).zip(all_bias.par_chunks_mut(PANEL)).enumerate().for_each(
            |(panel, (to, to_bias))| {
                for channel in (0..places.len()).filter(|&channel| places[channel] / BLOCK == panel) {
                    for beta in 0..2 {
                        to_bias[column(channel, beta)] = bias[2 * channel + beta];
                        for k in 0..hidden {
                            for tap in 0..9 {
                                let at = (tap * blocks(hidden) * BLOCK + k) * PANEL + column(channel, beta);
                                to[at] = taps[(k * 9 + tap) * columns + 2 * channel + beta];
                            }
                        }
                    }
                }
            },
        );
        TableWeights { shared: packed_shared, shared_bias: packed_bias, taps: packed_taps, bias: all_bias }
    }

    /// Bytes that the weights take.
    pub fn bytes(labels: usize, hidden: usize, sources: &[usize]) -> u64 {
        let panels: usize = sources.iter().map(|&channels| blocks(channels)).sum();
        let shared = (Table::patch_width(labels).next_multiple_of(BLOCK) + 1) * hidden.next_multiple_of(PANEL);
        4 * (shared + (9 * hidden.next_multiple_of(BLOCK) + 1) * panels * PANEL) as u64
    }
}

pub(crate) fn run(cpu: &Cpu, step: &Table, buffers: &mut Buffers, weights: &TableWeights) {
    let (windows, width) = (step.windows, Table::patch_width(step.labels));
    buffers.write(step.output, |buffers, out| {
        // (blocks, windows, BLOCK), as products want rows.
        let patches = buffers.get(step.patches);
        let plane = (windows + SLACK) * BLOCK;
        let mut rows = Aligned::zeros(blocks(width) * plane);
        for (window, patch) in patches.chunks(width).take(windows).enumerate() {
            for (k, &value) in patch.iter().enumerate() {
                rows[k / BLOCK * plane + window * BLOCK + k % BLOCK] = value;
            }
        }
        let mut hidden = Aligned::zeros(blocks(step.hidden_channels) * plane);
        let each = blocks(width) * BLOCK * PANEL;
        hidden.par_chunks_mut(2 * plane).enumerate().for_each(|(panel, hidden)| {
            let (b, bias) = (&weights.shared[panel * each..][..each], &weights.shared_bias[panel * PANEL..][..PANEL]);
            cpu.dispatch(Hidden { rows: &rows, windows, b, bias, hidden });
        });
        let index = buffers.indices(step.index);
        let each = 9 * blocks(step.hidden_channels) * BLOCK * PANEL;
        out.par_chunks_mut(step.rows * PANEL).enumerate().for_each(|(panel, out)| {
            let (b, bias) = (&weights.taps[panel * each..][..each], &weights.bias[panel * PANEL..][..PANEL]);
            let shares_products = step.shares_products;
            cpu.dispatch(Taps { hidden: &hidden, windows, index, b, bias, shares_products, out });
        });
    });
}

/// A panel of the hidden layer: `relu(rows b + bias)`.
struct Hidden<'a> {
    rows: &'a [f32],
    windows: usize,
    b: &'a [f32],
    bias: &'a [f32],
    /// Two blocks, or one.
    hidden: &'a mut [f32],
}

impl WithSimd for Hidden<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Hidden { rows, windows, b, bias, hidden } = self;
        let plane = (windows + SLACK) * BLOCK;
        let starts: Vec<usize> = (0..rows.len() / plane).map(|block| block * plane).collect();
        let mut sums = Aligned::zeros((windows + SLACK) * PANEL);
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
    /// (rows, 9), from 1; 0 for none.
    index: &'a [u32],
    b: &'a [f32],
    bias: &'a [f32],
    shares_products: bool,
    /// (rows, PANEL).
    out: &'a mut [f32],
}

/// Rows that convolve by themselves at once.
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
            let mut scratch = Scratch::take(9 * sums);
            for (b, sums) in b.chunks_exact(blocks * BLOCK * PANEL).zip(scratch.chunks_exact_mut(sums)) {
                product(simd, hidden, &starts, windows, PANEL, b, sums);
            }
            for (out, index) in out.chunks_exact_mut(PANEL).zip(index.chunks_exact(9)) {
                let mut total = [0.0; PANEL];
                for (tap, &window) in index.iter().enumerate().filter(|&(_, &window)| window != 0) {
                    let products = &scratch[tap * sums + (window as usize - 1) * PANEL..][..PANEL];
                    total.iter_mut().zip(products).for_each(|(total, product)| *total += product);
                }
                out.iter_mut().zip(total).zip(bias).for_each(|((out, total), bias)| *out = bias + total);
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
