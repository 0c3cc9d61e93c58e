//! Bilinear resize and Gaussian blur along one axis, and one after the other, as one table of weights.

use std::ops::Range;

/// A linear map along one axis, each of whose outputs depends on a few neighbouring inputs:
/// `y[o] = sum over t < taps of weights[o * taps + t] * x[starts[o] + t]`.
///
/// A separable filter of pictures is one for the rows and one for the columns. The weights are computed in float64.
#[derive(Clone, Debug, PartialEq)]
pub struct Resampling {
    inputs: usize,
    taps: usize,
    starts: Vec<usize>,
    weights: Vec<f64>,
}

impl Resampling {
    /// `interpolate(mode="bilinear", align_corners=False)` of PyTorch: no smoothing where the size shrinks.
    ///
    /// # Panics
    /// If a length is 0.
    pub fn bilinear(inputs: usize, outputs: usize) -> Resampling {
        assert!(inputs > 0 && outputs > 0, "lengths of at least 1, not {inputs} and {outputs}");
        let rows = (0..outputs).map(|o| {
            // The centre of output o is at (o + 0.5) inputs / outputs - 0.5 = a / (2 outputs), in exact integers.
            let a = ((2 * o + 1) * inputs).saturating_sub(outputs);
            let (i, rest) = (a / (2 * outputs), (a % (2 * outputs)) as f64 / (2 * outputs) as f64);
            let next = (i + 1).min(inputs - 1);
            if next == i { (i, vec![1.0]) } else { (i, vec![1.0 - rest, rest]) }
        });
        Resampling::from_rows(inputs, rows.collect())
    }

    /// Each output as it is.
    pub fn identity(length: usize) -> Resampling {
        Resampling::from_rows(length, (0..length).map(|i| (i, vec![1.0])).collect())
    }

    /// Followed by a convolution with a normalized Gaussian of `size` values, an odd number, and standard deviation
    /// `sigma`. What lies outside counts as 0, so values fall towards both ends.
    ///
    /// # Panics
    /// If `size` is even.
    #[must_use]
    pub fn blurred(&self, size: usize, sigma: f64) -> Resampling {
        assert!(size % 2 == 1, "a Gaussian of an odd number of values, not {size}");
        let half = size / 2;
        let bell: Vec<f64> =
            (0..size).map(|k| (-(k as f64 - half as f64).powi(2) / (2.0 * sigma * sigma)).exp()).collect();
        let total: f64 = bell.iter().sum();
        let rows = (0..self.outputs()).map(|o| {
            let neighbours = o.saturating_sub(half)..(o + half + 1).min(self.outputs());
            // The starts do not decrease, so the first and the last neighbour bound the inputs of all.
            let first = self.starts[neighbours.start];
            let mut row = vec![0.0; self.starts[neighbours.end - 1] + self.taps - first];
            for neighbour in neighbours {
                let share = bell[neighbour + half - o] / total;
                for t in 0..self.taps {
                    row[self.starts[neighbour] - first + t] += share * self.weights[neighbour * self.taps + t];
                }
            }
            (first, row)
        });
        Resampling::from_rows(self.inputs, rows.collect())
    }

    /// From each output's first input and weights; zeros at the end are left out.
    fn from_rows(inputs: usize, mut rows: Vec<(usize, Vec<f64>)>) -> Resampling {
        for (_, row) in &mut rows {
            row.truncate(row.iter().rposition(|&w| w != 0.0).map_or(1, |last| last + 1));
        }
        let taps = rows.iter().map(|(_, row)| row.len()).max().unwrap_or(1);
        let mut table = Resampling { inputs, taps, starts: Vec::new(), weights: vec![0.0; rows.len() * taps] };
        for (o, (first, row)) in rows.iter().enumerate() {
            // Near the end, the row starts earlier with zeros, so that every tap lies inside.
            let start = (*first).min(inputs - taps);
            table.starts.push(start);
            table.weights[o * taps + first - start..][..row.len()].copy_from_slice(row);
        }
        table
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.starts.len()
    }

    /// Weights per output. Those of an output that needs fewer are filled up with zeros.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// The first input of each output. They do not decrease, and all taps lie inside: `start + taps <= inputs`.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// The weights (outputs, taps), rounded once.
    pub fn weights(&self) -> Vec<f32> {
        self.weights.iter().map(|&w| w as f32).collect()
    }

    /// The inputs that a range of outputs reads.
    pub fn inputs_of(&self, outputs: Range<usize>) -> Range<usize> {
        if outputs.is_empty() { 0..0 } else { self.starts[outputs.start]..self.starts[outputs.end - 1] + self.taps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: `interpolate`, in floating-point numbers.
    fn interpolated(x: &[f64], outputs: usize) -> Vec<f64> {
        let centre = |o: usize| ((o as f64 + 0.5) * x.len() as f64 / outputs as f64 - 0.5).max(0.0);
        let value = |o| {
            let (at, last) = (centre(o), x.len() - 1);
            let i = (at as usize).min(last);
            x[i] + (at - i as f64) * (x[(i + 1).min(last)] - x[i])
        };
        (0..outputs).map(value).collect()
    }

    /// The definition: convolution with zero padding.
    fn convolved(x: &[f64], size: usize, sigma: f64) -> Vec<f64> {
        let half = (size / 2) as isize;
        let bell = |k: isize| (-(k * k) as f64 / (2.0 * sigma * sigma)).exp();
        let total: f64 = (-half..=half).map(bell).sum();
        let at = |i: isize| usize::try_from(i).ok().and_then(|i| x.get(i)).unwrap_or(&0.0);
        (0..x.len() as isize).map(|o| (-half..=half).map(|k| bell(k) / total * at(o + k)).sum()).collect()
    }

    fn applied(table: &Resampling, x: &[f64]) -> Vec<f64> {
        let taps = table.taps();
        let output = |(o, &start): (usize, &usize)| {
            let weights = &table.weights[o * taps..][..taps];
            weights.iter().zip(&x[start..][..taps]).map(|(w, x)| w * x).sum()
        };
        table.starts().iter().enumerate().map(output).collect()
    }

    #[track_caller]
    fn equal(table: &Resampling, x: &[f64], want: &[f64]) {
        let got = applied(table, x);
        assert_eq!(got.len(), want.len());
        let worst = got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-12, "{} to {}: off by {worst:e}", x.len(), want.len());
        assert!(table.starts().is_sorted() && table.starts().iter().all(|s| s + table.taps() <= table.inputs()));
    }

    #[test]
    fn every_ratio_of_sizes_matches_the_definition() {
        for inputs in [1, 2, 3, 7, 16, 30, 64, 97] {
            let x: Vec<f64> = (0..inputs).map(|i| ((i * i * 31 + 7 * i) % 17) as f64 / 7.0 - 1.0).collect();
            equal(&Resampling::identity(inputs), &x, &x);
            for outputs in [1, 2, 5, 16, 29, 64, 120, 388] {
                let table = Resampling::bilinear(inputs, outputs);
                assert!(table.taps() <= 2);
                equal(&table, &x, &interpolated(&x, outputs));
                for (size, sigma) in [(1, 1.0), (5, 0.8), (15, 3.0)] {
                    let blurred = table.blurred(size, sigma);
                    assert!(blurred.taps() <= 2 + size * inputs / outputs.min(inputs).max(1) + 1);
                    equal(&blurred, &x, &convolved(&interpolated(&x, outputs), size, sigma));
                }
            }
        }
    }

    /// Sizes of the published networks: few taps, or the fused pass does not pay.
    #[test]
    fn enlarging_by_four_takes_six_taps() {
        let table = Resampling::bilinear(192, 768).blurred(15, 3.0);
        assert_eq!((table.inputs(), table.outputs(), table.taps()), (192, 768, 6));
        assert_eq!(table.inputs_of(0..1), 0..6);
        assert_eq!(table.inputs_of(4..4), 0..0);
        assert_eq!(table.inputs_of(0..768), 0..192);
    }
}
