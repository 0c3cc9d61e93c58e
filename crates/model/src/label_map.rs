//! The label map as numbers, and its distinct windows at each resolution.
//!
//! SPADE's scale and shift at a pixel depend only on the 5x5 labels around it, and labels are constant almost
//! everywhere: a map of a million pixels has some hundreds of distinct 3x3 windows and some thousands of distinct 5x5
//! windows. Results computed once for each window are the same as those computed at each pixel.

use crate::sample::check_pixels;
use crate::{CLASSES, InputError, Result, Sample};
use std::collections::HashMap;

/// The number of everything outside the image. Labels and windows are numbered from 1.
pub(crate) const OUTSIDE: u32 = 0;
/// The class of the upper garment.
pub const GARMENT: u8 = 2;

/// The labels of a batch of images.
#[derive(Clone, Debug)]
pub(crate) struct LabelMap {
    size: [usize; 3],
    /// (N, H, W): which of `labels` each pixel has, from 1.
    numbers: Vec<u32>,
    /// The distinct vectors of labels, each with a value for every class.
    labels: Vec<Vec<f32>>,
}

/// The distinct windows of a map (N, H, W).
#[derive(Debug)]
pub(crate) struct Distinct {
    /// Each distinct 3x3 window: the numbers of its labels, row by row, [`OUTSIDE`] beyond the image's edge.
    pub(crate) windows_3x3: Vec<[u32; 9]>,
    /// Each distinct 5x5 window: the numbers of its nine 3x3 windows, from 1, likewise.
    pub(crate) windows_5x5: Vec<[u32; 9]>,
    /// (N, H, W): the 5x5 window of each pixel, from 1.
    pub(crate) map: Vec<u32>,
}

/// VITON-HD's misalignment mask at pixel `at` of a sample's labels, in [0, 1]: how much of the garment's class the
/// warped garment fails to cover there.
///
/// ```
/// use alias_model::{GARMENT, Sample, misaligned};
/// # let pixels = 3;
/// # let sample = Sample {
/// #     batch: 1,
/// #     height: 1,
/// #     width: 3,
/// #     agnostic: vec![0.0; 3 * pixels],
/// #     pose: vec![0.0; 3 * pixels],
/// #     warped_cloth: vec![0.5; 3 * pixels],
/// #     warped_mask: vec![1.0; pixels],
/// #     labels: vec![2; pixels],
/// # };
///
/// let sample = Sample { labels: vec![GARMENT, GARMENT, 0], warped_mask: vec![1.0, 0.25, 0.25], ..sample };
/// assert_eq!([0, 1, 2].map(|at| misaligned(&sample, at)), [0.0, 0.75, 0.0]);
/// ```
///
/// # Panics
/// If there is no such pixel.
pub fn misaligned(sample: &Sample, at: usize) -> f32 {
    if sample.labels[at] == GARMENT { (1.0 - sample.warped_mask[at]).max(0.0) } else { 0.0 }
}

impl LabelMap {
    /// The classes of a sample, one-hot, and with `sees_mask` the misaligned part of the garment as one more class.
    pub(crate) fn new(sample: &Sample, sees_mask: bool) -> LabelMap {
        let classes = usize::from(CLASSES);
        let one_hot = |class: usize| (0..classes + usize::from(sees_mask)).map(|c| f32::from(c == class)).collect();
        let mut labels: Vec<Vec<f32>> = (0..classes).map(one_hot).collect();
        let mut by_bits = HashMap::new();
        let number = |at| {
            let missing = if sees_mask { misaligned(sample, at) } else { 0.0 };
            if missing == 0.0 {
                return u32::from(sample.labels[at]) + 1;
            }
            *by_bits.entry(missing.to_bits()).or_insert_with(|| {
                let mut here = vec![0.0; classes + 1];
                here[usize::from(GARMENT)] = 1.0 - missing;
                here[classes] = missing;
                labels.push(here);
                labels.len() as u32
            })
        };
        let numbers = (0..sample.labels.len()).map(number).collect();
        LabelMap { size: [sample.batch, sample.height, sample.width], numbers, labels }
    }

    /// A map (N, H, W) of labels below `classes`, one-hot.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if there are not as many labels as pixels, or one is not a class.
    pub(crate) fn one_hot(size @ [n, h, w]: [usize; 3], classes: usize, labels: &[u8]) -> Result<LabelMap> {
        if !(1..=256).contains(&classes) {
            return Err(InputError::Classes { classes }.into());
        }
        let (got, expected) = (labels.len(), check_pixels(n, h, w)?);
        if got != expected {
            return Err(InputError::Elements { name: "labels".into(), got, expected, shape: size.into() }.into());
        }
        if let Some(at) = labels.iter().position(|&label| usize::from(label) >= classes) {
            return Err(InputError::Class { value: labels[at].into(), at, classes }.into());
        }
        let one_hot = |class: usize| (0..classes).map(|c| f32::from(c == class)).collect();
        let numbers = labels.iter().map(|&label| u32::from(label) + 1).collect();
        Ok(LabelMap { size, numbers, labels: (0..classes).map(one_hot).collect() })
    }

    /// (N, classes, H, W).
    pub(crate) fn dense(&self) -> Vec<f32> {
        let [n, h, w] = self.size;
        let (plane, classes) = (h * w, self.classes());
        let mut dense = vec![0.0; n * classes * plane];
        for (at, &number) in self.numbers.iter().enumerate() {
            for (class, &value) in self.values(number).iter().enumerate() {
                dense[(at / plane * classes + class) * plane + at % plane] = value;
            }
        }
        dense
    }

    /// N, H, W.
    pub(crate) fn size(&self) -> [usize; 3] {
        self.size
    }

    /// Number of classes.
    pub(crate) fn classes(&self) -> usize {
        self.labels[0].len()
    }

    /// The distinct windows of the map, resized by nearest neighbour to height `h` and width `w`.
    pub(crate) fn distinct(&self, h: usize, w: usize) -> Distinct {
        let [n, full_h, full_w] = self.size;
        let resized = (0..n * h).flat_map(|line| {
            let start = (line / h * full_h + line % h * full_h / h) * full_w;
            (0..w).map(move |x| self.numbers[start + x * full_w / w])
        });
        let Numbered { map, windows: windows_3x3 } = Numbered::windows_of(&resized.collect::<Vec<_>>(), [n, h, w]);
        let Numbered { map, windows: windows_5x5 } = Numbered::windows_of(&map, [n, h, w]);
        Distinct { windows_3x3, windows_5x5, map }
    }

    /// The vector of labels with a number other than [`OUTSIDE`].
    pub(crate) fn values(&self, number: u32) -> &[f32] {
        &self.labels[number as usize - 1]
    }
}

/// The distinct 3x3 windows of a map, numbered from 1.
#[derive(Debug, PartialEq, Eq)]
struct Numbered {
    /// (N, H, W): the number of the window around each pixel.
    map: Vec<u32>,
    /// Each window: nine values of the original map, row by row, [`OUTSIDE`] beyond its edge.
    windows: Vec<[u32; 9]>,
}

impl Numbered {
    /// Numbers the distinct 3x3 windows of `map` (N, H, W), whose values start at 1, in order of appearance.
    fn windows_of(map: &[u32], [n, h, w]: [usize; 3]) -> Numbered {
        // A run is three pixels side by side, and a window three runs one above the other.
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

/// Numbers the distinct triples `at(0)`, `at(1)`, ... from 1, in order of appearance. Returns the number at each place,
/// and the triples.
fn number_triples(places: usize, at: impl Fn(usize) -> [u32; 3]) -> (Vec<u32>, Vec<[u32; 3]>) {
    let mut numbers = HashMap::new();
    let mut triples = Vec::new();
    let mut last = ([u32::MAX; 3], 0);
    let map = (0..places).map(|place| {
        let triple = at(place);
        // Most triples equal the one before, and need no look-up.
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

    /// The number at each pixel is that of the window around it.
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
