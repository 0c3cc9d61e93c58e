//! Planes of pictures, resized and concatenated for the networks. On the host, since it is little.

use crate::networks::CLASSES_13;
use crate::plan::bilinear;
use alias_preprocess::labels::LIP_TO_13;

/// Places and weights of bilinear resizing along one axis.
fn places(from: usize, to: usize) -> Vec<([usize; 2], [f32; 2])> {
    let place = |at| {
        let (sources, part) = bilinear(at, from, to);
        (sources, [1.0 - part as f32, part as f32])
    };
    (0..to).map(place).collect()
}

/// Resizes `count` planes from `from` to `to` [h, w], bilinear, without aligned corners and without smoothing, as
/// `interpolate` of PyTorch. The planes need not be stored: `plane` returns for each one what computes an element by its index.
/// Where planes shrink by four, only a quarter of them is looked at.
pub(super) fn resize_bilinear<V: Fn(usize) -> f32>(
    count: usize,
    from @ [_, w]: [usize; 2],
    to: [usize; 2],
    plane: impl Fn(usize) -> V,
) -> Vec<f32> {
    let (rows, columns) = (places(from[0], to[0]), places(from[1], to[1]));
    let mut out = Vec::with_capacity(count * to[0] * to[1]);
    for value in (0..count).map(plane) {
        for ([top, bottom], [above, below]) in &rows {
            let [top, bottom] = [top * w, bottom * w];
            out.extend(columns.iter().map(|([left, right], [before, after])| {
                above * (before * value(top + left) + after * value(top + right))
                    + below * (before * value(bottom + left) + after * value(bottom + right))
            }));
        }
    }
    out
}

/// Resizes planes as [`resize_bilinear`], but to the nearest pixels, as `interpolate` of PyTorch: floor(i from / to).
pub(super) fn resize_nearest<V: Fn(usize) -> f32>(
    count: usize,
    [h, w]: [usize; 2],
    [to_h, to_w]: [usize; 2],
    plane: impl Fn(usize) -> V,
) -> Vec<f32> {
    let columns: Vec<usize> = (0..to_w).map(|x| x * w / to_w).collect();
    let mut out = Vec::with_capacity(count * to_h * to_w);
    for value in (0..count).map(plane) {
        for y in 0..to_h {
            let row = y * h / to_h * w;
            out.extend(columns.iter().map(|x| value(row + x)));
        }
    }
    out
}

/// The 13 classes of maps (N, H, W) of LIP's labels, one-hot and resized like [`resize_bilinear`]: (N, 13, h, w). Never stored at
/// full size.
pub(super) fn resize_one_hot(labels: &[u8], from @ [h, w]: [usize; 2], to @ [to_h, to_w]: [usize; 2]) -> Vec<f32> {
    let (rows, columns) = (places(from[0], to[0]), places(from[1], to[1]));
    let plane = to_h * to_w;
    let mut out = vec![0.0; labels.len() / (h * w) * CLASSES_13 * plane];
    for (labels, out) in labels.chunks_exact(h * w).zip(out.chunks_exact_mut(CLASSES_13 * plane)) {
        for (y, (ys, of_y)) in rows.iter().enumerate() {
            for (x, (xs, of_x)) in columns.iter().enumerate() {
                for (i, top) in ys.iter().zip(of_y) {
                    for (j, left) in xs.iter().zip(of_x) {
                        let class = LIP_TO_13[usize::from(labels[i * w + j])];
                        out[usize::from(class) * plane + y * to_w + x] += top * left;
                    }
                }
            }
        }
    }
    out
}

/// Concatenates tensors (N, C, ...) of `batch` images along the channels.
pub(super) fn concatenate(batch: usize, tensors: &[&[f32]]) -> Vec<f32> {
    let mut all = Vec::with_capacity(tensors.iter().map(|tensor| tensor.len()).sum());
    for image in 0..batch {
        for tensor in tensors {
            let each = tensor.len() / batch;
            all.extend_from_slice(&tensor[image * each..][..each]);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_times_smaller_is_the_mean_of_two_by_two() {
        let plane: Vec<f32> = (0..64).map(|k| (k * k % 23) as f32).collect();
        let small = resize_bilinear(1, [8, 8], [2, 2], |_| |at| plane[at]);
        let mean = |y: usize, x: usize| {
            [(1, 1), (1, 2), (2, 1), (2, 2)].map(|(i, j)| plane[(y + i) * 8 + x + j]).iter().sum::<f32>() / 4.0
        };
        assert_eq!(small, [mean(0, 0), mean(0, 4), mean(4, 0), mean(4, 4)]);
    }

    #[test]
    fn one_hot_maps_are_resized_as_planes_are() {
        let labels: Vec<u8> = (0..2 * 7 * 5).map(|k| (k * 13 % 20) as u8).collect();
        let planes: Vec<f32> = labels
            .chunks_exact(35)
            .flat_map(|labels| {
                (0..CLASSES_13).flat_map(move |class| {
                    labels
                        .iter()
                        .map(move |&label| f32::from(u8::from(usize::from(LIP_TO_13[usize::from(label)]) == class)))
                })
            })
            .collect();
        for to in [[3, 2], [14, 10], [7, 5]] {
            let got = resize_one_hot(&labels, [7, 5], to);
            let want = resize_bilinear(2 * CLASSES_13, [7, 5], to, |plane| {
                let planes = &planes;
                move |at| planes[plane * 35 + at]
            });
            assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-6), "{to:?}");
        }
    }
}
