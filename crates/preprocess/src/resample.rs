//! Pictures at another size, to the bit as Pillow's `Image.resize` makes them.

use crate::picture::{Picture, Rgb8};

/// Fractional bits of the weights.
const BITS: u32 = 22;

/// The picture at another size, by a triangle filter that is as wide as the pixels of the smaller one (Pillow's
/// BILINEAR), along rows first, in fixed point.
pub(crate) fn bilinear(picture: &Rgb8, [height, width]: [usize; 2]) -> Rgb8 {
    let along = if picture.width() == width { picture.clone() } else { along_rows(picture, width) };
    if along.height() == height {
        return along;
    }
    let mut out = Picture::filled(height, width, [0; 3]);
    for (y, taps) in taps(along.height(), height).iter().enumerate() {
        let rows: Vec<&[[u8; 3]]> = (taps.first..).take(taps.weights.len()).map(|y| along.row(y)).collect();
        let row = out.row_mut(y).iter_mut().enumerate();
        row.for_each(|(x, pixel)| *pixel = taps.sum(rows.iter().map(|row| row[x])));
    }
    out
}

/// The picture with rows of another length.
fn along_rows(picture: &Rgb8, width: usize) -> Rgb8 {
    let taps = taps(picture.width(), width);
    let mut out = Picture::filled(picture.height(), width, [0; 3]);
    for y in 0..picture.height() {
        let row = out.row_mut(y).iter_mut().zip(&taps);
        row.for_each(|(pixel, taps)| *pixel = taps.sum(picture.row(y)[taps.first..].iter().copied()));
    }
    out
}

/// The picture at another size: each pixel is the one whose area holds its middle (Pillow's NEAREST).
pub(crate) fn nearest<P: Copy>(picture: &Picture<P>, [height, width]: [usize; 2]) -> Picture<P> {
    if picture.size() == [height, width] {
        return picture.clone();
    }
    let columns = middles(picture.width(), width);
    let mut out = Picture::filled(height, width, picture.pixel(0, 0));
    for (y, source) in middles(picture.height(), height).into_iter().enumerate() {
        let from = picture.row(source);
        out.row_mut(y).iter_mut().zip(&columns).for_each(|(pixel, &x)| *pixel = from[x]);
    }
    out
}

/// Which of `from` pixels holds the middle of each of `to`. Added up step by step, as Pillow does: where a middle lies
/// between two pixels, the rounding decides.
fn middles(from: usize, to: usize) -> Vec<usize> {
    let step = from as f64 / to as f64;
    let middles = std::iter::successors(Some(step * 0.5), |at| Some(at + step));
    middles.take(to).map(|at| (at as usize).min(from - 1)).collect()
}

/// What one pixel of the result is the weighted sum of.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

impl Taps {
    fn sum(&self, pixels: impl Iterator<Item = [u8; 3]>) -> [u8; 3] {
        let mut sums = [1 << (BITS - 1); 3];
        for (pixel, weight) in pixels.zip(&self.weights) {
            sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += i32::from(value) * weight);
        }
        sums.map(|sum| (sum >> BITS).clamp(0, 255) as u8)
    }
}

/// The taps of each of `to` pixels.
fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let of = |i: usize| {
        let middle = (i as f64 + 0.5) * scale;
        // The casts truncate, and clamp what is negative to 0.
        let (first, end) = ((middle - reach + 0.5) as usize, ((middle + reach + 0.5) as usize).min(from));
        let weight = |x: usize| (1.0 - ((x as f64 - middle + 0.5) * (1.0 / reach)).abs()).max(0.0);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let total: f64 = weights.iter().sum();
        Taps { first, weights: weights.iter().map(|w| (w / total * f64::from(1 << BITS) + 0.5) as i32).collect() }
    };
    (0..to).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(height: usize, width: usize) -> Rgb8 {
        let pixel = |(y, x): (usize, usize)| [0, 1, 2].map(|c| (y * 37 + x * 91 + c * 53 + y * x * 11) as u8);
        Rgb8::new(height, width, (0..height * width).map(|i| pixel((i / width, i % width))).collect()).unwrap()
    }

    /// FNV-1a.
    fn hash(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
    }

    /// Own size, size, hash of `picture` resized by Pillow 13.0.0's `Image.resize` with BILINEAR, and of its red
    /// channel with NEAREST.
    const BY_PILLOW: [([usize; 2], [usize; 2], u64, u64); 6] = [
        ([300, 200], [192, 128], 0x57eb_490b_4286_1fdb, 0xcf15_ab1d_6265_d5c5),
        ([100, 60], [213, 128], 0xc231_015f_8fb3_49ff, 0x1b29_bd36_df77_84a5),
        ([640, 480], [128, 96], 0xcb33_975f_0c78_80ac, 0x56a1_2795_ee36_5725),
        ([33, 128], [128, 497], 0xa33d_2143_eacf_bb4e, 0xebaa_c25b_f497_0235),
        ([50, 37], [49, 36], 0xa9c9_7e0c_5f04_5081, 0xb91a_0eaf_e722_c771),
        ([1, 1], [128, 128], 0x0f28_3d32_ea9c_e325, 0x9c1b_da7f_8c87_2325),
    ];

    #[test]
    fn pictures_are_resized_as_by_pillow() {
        for ([height, width], size, by_bilinear, by_nearest) in BY_PILLOW {
            let picture = picture(height, width);
            assert_eq!(hash(nearest(&picture.map(|pixel| pixel[0]), size).pixels()), by_nearest, "{height}x{width}");
            assert_eq!(hash(bilinear(&picture, size).bytes()), by_bilinear, "{height}x{width}");
        }
    }
}
