//! Bilinear resizing and a Gaussian blur after it, as one sum for each axis.

/// What one axis of a picture contributes to each place of the resized and blurred one.
///
/// Bilinear resizing (without aligned corners) and the blur that VITON-HD applies to its scores (15 taps, standard deviation 3, zeros
/// outside) are linear, and both separate into rows and columns. Their product has few terms where the picture is enlarged: a
/// sum of seven source rows for each row at four times the height, instead of 15 sums of two.
#[derive(Clone, Debug, PartialEq)]
pub struct Smoothing {
    /// Terms of each sum.
    pub taps: usize,
    /// For each place, the first source place of its sum.
    pub starts: Vec<u32>,
    /// (places, taps): the weights, zero past the last term.
    pub weights: Vec<f32>,
}

impl Smoothing {
    /// Taps of the blur.
    pub const TAPS: usize = 15;
    /// Its standard deviation, in places of the result.
    pub const SIGMA: f64 = 3.0;

    /// From a side of `from` pixels to one of `to` pixels.
    pub fn new(from: usize, to: usize) -> Smoothing {
        let blur = Smoothing::kernel();
        let middle = (Smoothing::TAPS / 2) as isize;
        let sum = |place: usize| {
            let mut terms = vec![0.0; from];
            let around = (-middle..=middle).filter_map(|offset| place.checked_add_signed(offset));
            for at in around.filter(|&at| at < to) {
                let ([first, second], part) = bilinear(at, from, to);
                let weight = blur[(at as isize - place as isize + middle) as usize];
                terms[first] += weight * (1.0 - part);
                terms[second] += weight * part;
            }
            let first = terms.iter().position(|&w| w != 0.0).unwrap_or(0);
            let end = terms.iter().rposition(|&w| w != 0.0).map_or(first + 1, |last| last + 1);
            (first, terms[first..end].to_vec())
        };
        let sums: Vec<(usize, Vec<f64>)> = (0..to).map(sum).collect();
        let taps = sums.iter().map(|(_, terms)| terms.len()).max().unwrap_or(1);
        let mut starts = Vec::with_capacity(to);
        let mut weights = vec![0.0; to * taps];
        for ((first, terms), weights) in sums.into_iter().zip(weights.chunks_exact_mut(taps)) {
            // Moved so that all taps lie inside.
            let start = first.min(from - taps);
            starts.push(start as u32);
            weights[first - start..].iter_mut().zip(terms).for_each(|(weight, term)| *weight = term as f32);
        }
        Smoothing { taps, starts, weights }
    }

    /// The blur's weights, which sum to 1.
    pub fn kernel() -> [f64; Smoothing::TAPS] {
        let middle = (Smoothing::TAPS / 2) as f64;
        let weights: [f64; Smoothing::TAPS] =
            std::array::from_fn(|k| (-(k as f64 - middle).powi(2) / (2.0 * Smoothing::SIGMA.powi(2))).exp());
        let sum: f64 = weights.iter().sum();
        weights.map(|weight| weight / sum)
    }
}

/// The two source places that bilinear resizing mixes for `place`, and the share of the second.
pub fn bilinear(place: usize, from: usize, to: usize) -> ([usize; 2], f64) {
    let at = ((place as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
    let first = (at as usize).min(from - 1);
    ([first, (first + 1).min(from - 1)], at - first as f64)
}

#[cfg(test)]
mod tests {
    use super::{Smoothing, bilinear};

    #[test]
    fn is_a_resize_and_then_a_blur() {
        for (from, to) in [(16, 64), (12, 30), (7, 7), (40, 11), (1, 20), (9, 1), (3, 100)] {
            let values: Vec<f64> = (0..from).map(|k| ((k * 7 + 3) % 11) as f64 - 4.0).collect();
            let resized: Vec<f64> = (0..to)
                .map(|place| {
                    let ([first, second], part) = bilinear(place, from, to);
                    values[first] * (1.0 - part) + values[second] * part
                })
                .collect();
            let smoothing = Smoothing::new(from, to);
            for place in 0..to {
                let blur = Smoothing::kernel();
                let expected: f64 =
                    (0..15).filter_map(|k| Some(blur[k] * resized.get((place + k).checked_sub(7)?)?)).sum();
                let start = smoothing.starts[place] as usize;
                let weights = &smoothing.weights[place * smoothing.taps..][..smoothing.taps];
                let got: f64 = weights.iter().zip(&values[start..]).map(|(&w, v)| f64::from(w) * v).sum();
                assert!((got - expected).abs() < 1e-5, "{from} to {to}, place {place}: {got}, not {expected}");
                assert!(start + smoothing.taps <= from);
            }
        }
    }

    #[test]
    fn four_times_the_size_takes_seven_terms() {
        let taps = Smoothing::new(256, 1024).taps;
        assert!(taps <= 7, "{taps}");
    }
}
