//! Two 3x3 convolutions at the centre of each distinct 5x5 window of a label map: adds, for each of its nine 3x3 windows,
//! the product with one tap. The products are computed once for each distinct 3x3 window.

use crate::{kernel, sum_segments::Segments};
use alias_cpu::{Cpu, sum};
use alias_tensor::{Device, Error, Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

const SOURCE: &[&str] = wgsl!(SUM_WINDOWS, GRID, REDUCE);
static FORWARD: Kernel<OnCores<Params, 4, 1>> = kernel("sum_windows", SOURCE, "forward").on_cores(forward);
static BACKWARD_PARTS: Kernel<OnCores<Params, 3, 1>> =
    kernel("sum_windows", SOURCE, "backward_parts").on_cores(backward_parts);
static BACKWARD_BIAS: Kernel<OnCores<Params, 1, 2>> =
    kernel("sum_windows", SOURCE, "backward_bias").on_cores(backward_bias);

params! { channels: u32, columns: u32, entries: u32, parts: u32 }

/// Channels that a task computes: they lie side by side where they are looked up.
const LANES: usize = 8;

/// The values of up to [`LANES`] rows of as many columns as `to` has, side by side.
fn side_by_side<'a>(rows: impl Iterator<Item = &'a [f32]>, to: &mut [[f32; LANES]]) {
    for (lane, row) in rows.enumerate() {
        to.iter_mut().zip(row).for_each(|(to, &value)| to[lane] = value);
    }
}

fn add(a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
    std::array::from_fn(|lane| a[lane] + b[lane])
}

fn forward(_: &Cpu, params: &Params, [x, index, first, second]: [&[f32]; 4], [y]: [&mut [f32]; 1]) {
    let (columns, entries) = (params.columns as usize, params.entries as usize);
    let bias = [first, second].concat();
    let index: &[u32] = bytemuck::cast_slice(index);
    let channels = y.par_chunks_mut(LANES * entries).zip(x.par_chunks(LANES * 9 * columns));
    channels.zip(bias.par_chunks(LANES)).for_each(|((y, x), bias)| {
        // Column 0 is outside the image and stays 0.
        let (mut products, mut sums) = (vec![[0.0; LANES]; columns + 1], vec![[0.0; LANES]; entries]);
        for (k, index) in index.chunks_exact(entries).enumerate() {
            side_by_side(x.chunks_exact(columns).skip(k).step_by(9), &mut products[1..]);
            sums.iter_mut().zip(index).for_each(|(sums, &column)| *sums = add(*sums, products[column as usize]));
        }
        for (lane, (y, bias)) in y.chunks_exact_mut(entries).zip(bias).enumerate() {
            y.iter_mut().zip(&sums).for_each(|(y, sums)| *y = sums[lane] + bias);
        }
    });
}

fn backward_parts(_: &Cpu, params: &Params, [dy, part, place]: [&[f32]; 3], [partial]: [&mut [f32]; 1]) {
    let (entries, parts) = (params.entries as usize, params.parts as usize);
    let (part, place): (&[[u32; 2]], &[u32]) = (bytemuck::cast_slice(part), bytemuck::cast_slice(place));
    // Once for all channels, whose loops then have no division.
    let entry: Vec<usize> = place.par_iter().map(|&place| place as usize % entries).collect();
    partial.par_chunks_mut(LANES * parts).zip(dy.par_chunks(LANES * entries)).for_each(|(partial, dy)| {
        let mut gradients = vec![[0.0; LANES]; entries];
        side_by_side(dy.chunks_exact(entries), &mut gradients);
        for (k, &[start, end]) in part.iter().enumerate() {
            let of_part = entry[start as usize..end as usize].iter().map(|&entry| gradients[entry]);
            let sums = of_part.fold([0.0; LANES], add);
            for (channel, sum) in sums.into_iter().take(partial.len() / parts).enumerate() {
                partial[channel * parts + k] = sum;
            }
        }
    });
}

fn backward_bias(cpu: &Cpu, params: &Params, [dy]: [&[f32]; 1], [dfirst, dsecond]: [&mut [f32]; 2]) {
    dfirst.par_iter_mut().chain(dsecond.par_iter_mut()).zip(dy.par_chunks_exact(params.entries as usize)).for_each(
        |(dbias, dy)| {
            let [sum] = sum(cpu, [dy], |dy| dy);
            *dbias = sum as f32;
        },
    );
}

/// The nine 3x3 windows of each distinct 5x5 window, as columns of a table: from 1, or 0 outside the image.
#[derive(Clone, Debug)]
pub struct Windows(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// (9, E): for each tap, the column of each 5x5 window.
    index: Vec<u32>,
    on_device: Tensor,
    columns: usize,
    /// The 5x5 windows that use each column at each tap. Built when a gradient first needs it.
    inverse: OnceLock<Segments>,
}

impl Windows {
    /// Uploads the nine columns of each 5x5 window in `entries`, in a table of `columns` columns.
    ///
    /// # Errors
    /// If a number is over `columns`, `entries` is empty, or the device reports an error.
    pub fn new(device: impl Into<Device>, entries: &[[u32; 9]], columns: usize) -> Result<Windows> {
        let index: Vec<u32> = (0..9).flat_map(|k| entries.iter().map(move |windows| windows[k])).collect();
        if let Some(&number) = index.iter().find(|&&number| number as usize > columns) {
            return Err(Error::argument("windows", "a number", number, format!("at most {columns}")));
        }
        let on_device = Tensor::indices(device, &[9, entries.len()], &index)?;
        Ok(Windows(Arc::new(Inner { index, on_device, columns, inverse: OnceLock::new() })))
    }

    /// Number of 5x5 windows, E.
    pub fn entries(&self) -> usize {
        self.0.index.len() / 9
    }

    /// Number of columns of the table, U.
    pub fn columns(&self) -> usize {
        self.0.columns
    }

    fn inverse(&self, device: &Device) -> Result<&Segments> {
        if let Some(inverse) = self.0.inverse.get() {
            return Ok(inverse);
        }
        // A column has a different product at each tap, so each pair (tap, column) is a target.
        let target = |(at, &column): (usize, &u32)| match column {
            0 => 0,
            column => (at / self.entries() * self.0.columns) as u32 + column,
        };
        let targets: Vec<_> = self.0.index.iter().enumerate().map(target).collect();
        let made = Segments::new(device, &targets, 9 * self.0.columns)?;
        Ok(self.0.inverse.get_or_init(|| made))
    }
}

/// The sum of nine products plus bias for each of E 5x5 windows: (1, 2 C, 1, E). `x` (1, 9 * 2 C, 1, U) is the table of
/// products: channel 9 c + k of a column is the product of output channel c at tap k. The output channels are C of one
/// convolution, then C of another; `biases` (C) are theirs.
///
/// # Errors
/// If the shapes do not match each other and `windows`, or the device reports an error.
pub fn sum_windows(x: &Tensor, windows: &Windows, biases: [&Tensor; 2]) -> Result<Tensor> {
    let [first, second] = biases;
    let &[of_each] = &*first.shape() else {
        return Err(Error::shape("sum_windows", "the first bias", &first.shape(), "one dimension"));
    };
    second.shape().check("sum_windows", "the second bias", &[of_each])?;
    let c = 2 * of_each;
    let columns = windows.0.columns;
    x.shape().check("sum_windows", "x", &[1, 9 * c, 1, columns])?;
    let entries = windows.entries();
    let params = Params { channels: c as u32, columns: columns as u32, entries: entries as u32, parts: 0 };
    let y = Tensor::empty(x.device(), &[1, c, 1, entries])?;
    let work = Work::threads(y.numel()).flops(9 * y.numel() as u64);
    x.device().launch(&FORWARD, &params, &[x, &windows.0.on_device, first, second], &[&y], work)?;

    let (windows, x_tracked) = (windows.clone(), x.is_tracked());
    let biases_tracked = biases.iter().any(|bias| bias.is_tracked());
    Ok(y.with_backward([x, first, second], move |dy| {
        let device = dy.device();
        let by_input = || {
            let inverse = windows.inverse(device)?;
            let params = Params { parts: inverse.parts() as u32, ..params };
            let partial = Tensor::empty(device, &[c, inverse.parts()])?;
            let work = Work::threads(partial.numel()).flops(9 * dy.numel() as u64);
            device.launch(&BACKWARD_PARTS, &params, &[dy, &inverse.parts, &inverse.places], &[&partial], work)?;
            inverse.sum(&partial)?.reshape(&[1, 9 * c, 1, columns])
        };
        let by_input = x_tracked.then(by_input).transpose()?;
        if !biases_tracked {
            return Ok([by_input, None, None]);
        }
        let [by_first, by_second] = [Tensor::empty(device, &[of_each])?, Tensor::empty(device, &[of_each])?];
        let work = Work::groups(c).flops(dy.numel() as u64);
        device.launch(&BACKWARD_BIAS, &params, &[dy], &[&by_first, &by_second], work)?;
        Ok([by_input, Some(by_first), Some(by_second)])
    }))
}

#[cfg(test)]
mod tests {
    use super::Windows;
    use alias_oracle::{Array, Random, Twin, check};

    struct SumWindows<'a>(&'a [[u32; 9]]);

    impl SumWindows<'_> {
        /// The element of the table that 5x5 window `e` looks up at tap `k` for channel `c`, if it is inside the image.
        fn place(&self, c: usize, k: usize, e: usize) -> Option<[usize; 4]> {
            let column = self.0[e][k].checked_sub(1)?;
            Some([0, 9 * c + k, 0, column as usize])
        }
    }

    impl Twin for SumWindows<'_> {
        fn forward(&self, x: &[Array]) -> Array {
            let half = x[1].shape[0];
            Array::from_fn([1, 2 * half, 1, self.0.len()], |[_, c, _, e]| {
                x[1 + c / half][[c % half]] + (0..9).filter_map(|k| self.place(c, k, e)).map(|at| x[0][at]).sum::<f64>()
            })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let half = x[1].shape[0];
            let (mut dx, mut biases) = (Array::zeros(&x[0].shape), [1, 2].map(|k: usize| Array::zeros(&x[k].shape)));
            Array::from_fn(dy.nchw(), |at @ [_, c, _, e]| {
                (0..9).filter_map(|k| self.place(c, k, e)).for_each(|place| dx[place] += dy[at]);
                biases[c / half][[c % half]] += dy[at];
                0.0
            });
            let [first, second] = biases;
            vec![Some(dx), Some(first), Some(second)]
        }
    }

    #[test]
    fn matches_twin() {
        // The last case has segments of more than one part.
        for (channels, columns, entries) in [(1, 1, 1), (3, 5, 7), (2, 40, 11), (19, 4, 9), (5, 2, 90), (2, 2, 1200)] {
            let mut random = Random::new(3);
            let drawn: Vec<[u32; 9]> =
                (0..entries).map(|_| std::array::from_fn(|_| (random.bits() % (columns as u64 + 1)) as u32)).collect();
            let inputs =
                [random.array(&[1, 18 * channels, 1, columns]), random.array(&[channels]), random.array(&[channels])];
            check(&SumWindows(&drawn), &inputs, |t| {
                super::sum_windows(&t[0], &Windows::new(t[0].device(), &drawn, columns)?, [&t[1], &t[2]])
            });
        }
    }
}
