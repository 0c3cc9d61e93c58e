//! Labels of a fine picture from scores at a low resolution (VITON-HD): enlarged, blurred, and the largest taken.

use crate::argmax::is_larger;
use crate::gaussian_blur::add_weighted;
use crate::kernel;
use alias_cpu::Cpu;
use alias_plan::Smoothing;
use alias_tensor::{Device, Error, Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(SMOOTH_LABELS, GRID, MATH);
static ROWS: Kernel<OnCores<Params, 3, 1>> = kernel("smooth_labels", SOURCE, "rows").on_cores(rows);
static COLUMNS: Kernel<OnCores<Params, 3, 1>> = kernel("smooth_labels", SOURCE, "columns").on_cores(columns);

params! { batch: u32, channels: u32, h: u32, w: u32, oh: u32, ow: u32, row_taps: u32, column_taps: u32 }

fn rows(cpu: &Cpu, params: &Params, [scores, starts, weights]: [&[f32]; 3], [tall]: [&mut [f32]; 1]) {
    let [h, w, oh, taps] = [params.h, params.w, params.oh, params.row_taps].map(|count| count as usize);
    let starts: &[u32] = bytemuck::cast_slice(starts);
    tall.par_chunks_exact_mut(w).enumerate().for_each(|(row, tall)| {
        let (plane, oy) = (row / oh, row % oh);
        let rows = scores[(plane * h + starts[oy] as usize) * w..].chunks_exact(w);
        tall.fill(0.0);
        for (&weight, scores) in weights[oy * taps..][..taps].iter().zip(rows) {
            add_weighted(cpu, weight, scores, tall);
        }
    });
}

fn columns(_: &Cpu, params: &Params, [tall, starts, weights]: [&[f32]; 3], [y]: [&mut [f32]; 1]) {
    let [channels, w, oh, ow] = [params.channels, params.w, params.oh, params.ow].map(|count| count as usize);
    let taps = params.column_taps as usize;
    let starts: &[u32] = bytemuck::cast_slice(starts);
    y.par_chunks_exact_mut(ow).enumerate().for_each_init(
        || vec![0.0; ow],
        |largest, (row, y)| {
            let (n, oy) = (row / oh, row % oh);
            for c in 0..channels {
                let tall = &tall[((n * channels + c) * oh + oy) * w..][..w];
                let pixels = y.iter_mut().zip(largest.iter_mut()).zip(starts).zip(weights.chunks_exact(taps));
                for (((best, largest), &start), weights) in pixels {
                    let score = weights.iter().zip(&tall[start as usize..]).map(|(weight, tall)| weight * tall).sum();
                    if c == 0 || is_larger(score, *largest) {
                        (*best, *largest) = (c as f32, score);
                    }
                }
            }
        },
    );
}

/// The class of each pixel (N, height, width), as float32: `scores` (N, C, H, W) resized bilinearly to (height, width),
/// blurred with a Gaussian of 15x15 pixels and standard deviation 3, zeros outside, and the first of the channels with
/// the largest value. NaN counts as larger than every number. The smooth scores are never stored. Not differentiable.
///
/// # Errors
/// If `scores` does not have four dimensions, a side is not 1 to 32,767, or the device reports an error.
pub fn smooth_labels(scores: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let [n, c, h, w] = scores.shape().nchw("smooth_labels", "scores")?;
    if ![height, width].iter().all(|side| (1..=32_767).contains(side)) {
        let got = format!("{height}, {width}");
        return Err(Error::argument("smooth_labels", "height, width", got, "sides of 1 to 32767"));
    }
    let device = scores.device();
    let (rows, columns) = (Smoothing::new(h, height), Smoothing::new(w, width));
    let params = Params {
        batch: n as u32,
        channels: c as u32,
        h: h as u32,
        w: w as u32,
        oh: height as u32,
        ow: width as u32,
        row_taps: rows.taps as u32,
        column_taps: columns.taps as u32,
    };
    let tall = Tensor::empty(device, &[n, c, height, w])?;
    let [starts, weights] = upload(device, &rows)?;
    let work = Work::threads(tall.numel()).flops(2 * (tall.numel() * rows.taps) as u64);
    device.launch(&ROWS, &params, &[scores, &starts, &weights], &[&tall], work)?;

    let y = Tensor::empty(device, &[n, height, width])?;
    let [starts, weights] = upload(device, &columns)?;
    let work = Work::threads(y.numel()).flops((y.numel() * c * (2 * columns.taps + 1)) as u64);
    device.launch(&COLUMNS, &params, &[&tall, &starts, &weights], &[&y], work)?;
    Ok(y)
}

/// Starts and weights. Every sum that starts there lies inside, as [`Smoothing`] promises.
fn upload(device: &Device, smoothing: &Smoothing) -> Result<[Tensor; 2]> {
    let Smoothing { taps, starts, weights } = smoothing;
    Ok([Tensor::indices(device, &[starts.len()], starts)?, Tensor::new(device, &[starts.len(), *taps], weights)?])
}

#[cfg(test)]
mod tests {
    use crate::argmax::tests::Argmax;
    use crate::bilinear_resize::tests::BilinearResize;
    use crate::gaussian_blur::tests::GaussianBlur;
    use alias_oracle::{Array, Random, Twin, devices, gpu_with_bounds_checks};
    use alias_tensor::{Device, Tensor};

    /// Labels of scores of `shape` equal the twin's, except where the two largest smooth scores are nearly equal.
    fn compare(shape: [usize; 4], size: [usize; 2]) {
        let scores = Random::new(1).array(&shape);
        let resized = BilinearResize { size }.forward(std::slice::from_ref(&scores));
        let smooth = GaussianBlur { size: 15, sigma: 3.0 }.forward(&[resized]);
        let want = Argmax.forward(std::slice::from_ref(&smooth));
        let [n, _, h, w] = want.nchw();
        let margin = Array::from_fn([n, 1, h, w], |[n, _, i, j]| {
            let mut values: Vec<_> = (0..shape[1]).map(|c| smooth[[n, c, i, j]]).collect();
            values.sort_by(f64::total_cmp);
            values[shape[1] - 1] - values[shape[1] - 2]
        });
        let label = |device: &Device| {
            let scores = Tensor::new(device, &shape, &scores.to_f32()).unwrap().requires_grad();
            let y = super::smooth_labels(&scores, size[0], size[1]).unwrap();
            assert!(*y.shape() == [n, h, w] && !y.is_tracked());
            y.to_vec().unwrap()
        };
        for device in devices() {
            let got = label(&device);
            if matches!(device, Device::Gpu(_)) {
                assert_eq!(got, label(&gpu_with_bounds_checks().into()), "with and without bounds checks");
            }
            let mut close = 0;
            for (k, (&got, &want)) in got.iter().zip(&want.data).enumerate() {
                close += usize::from(margin.data[k] < 1e-6);
                assert!(
                    margin.data[k] < 1e-6 || f64::from(got) == want,
                    "{shape:?} to {size:?}, pixel {k} on {device:?}: {got}, not {want}"
                );
            }
            assert!(100 * close <= got.len(), "{close} pixels of {} were not compared", got.len());
        }
    }

    #[test]
    fn labels_are_those_of_the_twin() {
        for (shape, size) in [
            ([1, 2, 1, 1], [5, 3]),
            ([2, 13, 8, 6], [32, 24]), // by 4
            ([2, 3, 5, 7], [31, 17]),
            ([1, 5, 30, 20], [11, 26]), // one side shrinks
            ([1, 4, 9, 40], [9, 10]),
            ([3, 2, 6, 2], [1, 1]),
        ] {
            compare(shape, size);
        }
    }

    #[test]
    fn the_first_of_equals() {
        for device in devices() {
            let scores = Tensor::new(&device, &[1, 3, 2, 2], &[0.25, 0.5, 0.5, 0.5].repeat(3)).unwrap();
            assert_eq!(super::smooth_labels(&scores, 8, 8).unwrap().to_vec().unwrap(), [0.0; 64]);
        }
    }
}
