//! Resizes pictures and samples.

use crate::images::Image;
use alias_model::Sample;

/// Resizes a picture: each pixel is the mean of the area that it covers.
pub fn image(image: &Image, height: usize, width: usize) -> Image {
    Image { height, width, data: mean(&image.data, [image.height, image.width], [height, width]) }
}

/// Resizes a sample: pictures and mask by the mean of the area that each pixel covers, labels by the nearest pixel.
pub fn sample(sample: &Sample, height: usize, width: usize) -> Sample {
    let from = [sample.height, sample.width];
    let mean = |values: &[f32]| mean(values, from, [height, width]);
    Sample {
        batch: sample.batch,
        height,
        width,
        agnostic: mean(&sample.agnostic),
        pose: mean(&sample.pose),
        warped_cloth: mean(&sample.warped_cloth),
        warped_mask: mean(&sample.warped_mask),
        labels: nearest(&sample.labels, from, [height, width]),
    }
}

/// Resizes planes, one after the other, from height and width `from` to `to`.
fn mean(planes: &[f32], from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    if from == to {
        return planes.to_vec();
    }
    let ([h, w], [height, width]) = (from, to);
    let (rows, columns) = (areas(h, height), areas(w, width));
    let mut out = Vec::with_capacity(planes.len() / (h * w) * height * width);
    for plane in planes.chunks_exact(h * w) {
        for row in &rows {
            let mut line = vec![0.0; w];
            for &(y, part) in row {
                line.iter_mut().zip(&plane[y * w..][..w]).for_each(|(sum, value)| *sum += part * value);
            }
            out.extend(columns.iter().map(|column| {
                let value: f32 = column.iter().map(|&(x, part)| part * line[x]).sum();
                // Weights sum to 1 only up to rounding, which could lead out of the range.
                value.clamp(-1.0, 1.0)
            }));
        }
    }
    out
}

fn nearest(planes: &[u8], [h, w]: [usize; 2], [height, width]: [usize; 2]) -> Vec<u8> {
    let middle = |i: usize, from: usize, to: usize| (2 * i + 1) * from / (2 * to);
    let row = |plane: &[u8], y: usize| -> Vec<u8> {
        let line = &plane[middle(y, h, height) * w..][..w];
        (0..width).map(|x| line[middle(x, w, width)]).collect()
    };
    planes.chunks_exact(h * w).flat_map(|plane| (0..height).flat_map(move |y| row(plane, y))).collect()
}

/// For each of `to` pixels, the `from` pixels that it covers and their weights, which sum to 1.
fn areas(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let step = from as f32 / to as f32;
    let of = |i: usize| {
        let (low, high) = (i as f32 * step, (i + 1) as f32 * step);
        let covered = low as usize..(high.ceil() as usize).min(from);
        let part = |s: usize| (high.min((s + 1) as f32) - low.max(s as f32)).max(0.0);
        let total: f32 = covered.clone().map(part).sum();
        covered.map(|s| (s, part(s) / total)).collect()
    };
    (0..to).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_become_means() {
        let mut picture = Image::filled(4, 4, [0.0; 3]);
        picture.set_pixel(0, 0, [1.0, -1.0, 0.5]);
        assert_eq!(image(&picture, 1, 1).pixel(0, 0), [1.0, -1.0, 0.5].map(|v| v / 16.0));
        assert_eq!(image(&picture, 4, 4), picture);
        assert_eq!(image(&picture, 8, 2).pixel(1, 0), [1.0, -1.0, 0.5].map(|v| v / 2.0));
        let third = image(&Image::filled(7, 5, [0.25; 3]), 3, 11);
        assert!(third.data.iter().all(|v| (v - 0.25).abs() < 1e-6));
        let white = image(&Image::filled(23, 29, [1.0; 3]), 7, 11);
        assert!(white.data.iter().all(|&v| v <= 1.0), "no whiter than white");
    }

    #[test]
    fn labels_stay_labels() {
        assert_eq!(nearest(&[0, 1, 2, 3, 4, 5], [2, 3], [4, 6])[..12], [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]);
        assert_eq!(nearest(&[0, 1, 2, 3, 4, 5, 6, 7, 8], [3, 3], [1, 1]), [4]);
    }

    #[test]
    fn a_sample_keeps_its_ranges() {
        let whole = alias_scene::draw(1, 128, 64).sample;
        assert_eq!(sample(&whole, 128, 64), whole);
        let half = sample(&whole, 64, 32);
        assert_eq!((half.height, half.width, half.agnostic.len()), (64, 32, 3 * 64 * 32));
        assert!(half.warped_mask.iter().all(|v| (0.0..=1.0).contains(v)));
        let average = [0, 1, 64, 65].iter().map(|&i| whole.agnostic[i]).sum::<f32>() / 4.0;
        assert!((half.agnostic[0] - average).abs() < 1e-6);
    }
}
