//! Max pooling, 2x2, stride 2, as VGG uses it.

use crate::kernel;
use alias_cpu::Cpu;
use alias_tensor::{Error, Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(MAX_POOL, GRID, MATH);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("max_pool", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 2, 1>> = kernel("max_pool", SOURCE, "backward").on_cores(backward);

params! { planes: u32, h: u32, w: u32, oh: u32, ow: u32 }

/// Whether `x` is larger than the largest before it, as NaN always is.
fn is_larger(x: f32, largest: f32) -> bool {
    x > largest || x.is_nan()
}

fn forward(cpu: &Cpu, &Params { h, w, oh, ow, .. }: &Params, [x]: [&[f32]; 1], [y]: [&mut [f32]; 1]) {
    let [h, w, oh, ow] = [h, w, oh, ow].map(|side| side as usize);
    y.par_chunks_exact_mut(ow).enumerate().for_each(|(row, y)| {
        let (plane, oy) = (row / oh, row % oh);
        let (top, bottom) = x[(plane * h + 2 * oy) * w..][..2 * w].split_at(w);
        cpu.dispatch(
            #[inline(always)]
            || take_largest(top, bottom, y),
        );
    });
}

/// The largest of each 2x2 window of two rows.
#[inline(always)]
fn take_largest(top: &[f32], bottom: &[f32], y: &mut [f32]) {
    for ((y, top), bottom) in y.iter_mut().zip(top.as_chunks::<2>().0).zip(bottom.as_chunks::<2>().0) {
        let larger = |largest, x| if is_larger(x, largest) { x } else { largest };
        *y = [top[1], bottom[0], bottom[1]].into_iter().fold(top[0], larger);
    }
}

fn backward(cpu: &Cpu, &Params { h, w, oh, ow, .. }: &Params, [x, dy]: [&[f32]; 2], [dx]: [&mut [f32]; 1]) {
    let [h, w, oh, ow] = [h, w, oh, ow].map(|side| side as usize);
    let planes = dx.par_chunks_exact_mut(h * w).zip(x.par_chunks_exact(h * w)).zip(dy.par_chunks_exact(oh * ow));
    planes.for_each(|((dx, x), dy)| {
        let (dx, rest) = dx.split_at_mut(2 * oh * w);
        rest.fill(0.0);
        let rows = dx.par_chunks_exact_mut(2 * w).zip(x.par_chunks_exact(2 * w)).zip(dy.par_chunks_exact(ow));
        rows.for_each(|((dx, x), dy)| {
            let ((dx_top, dx_bottom), (x_top, x_bottom)) = (dx.split_at_mut(w), x.split_at(w));
            cpu.dispatch(
                #[inline(always)]
                || pull_back([x_top, x_bottom], dy, [dx_top, dx_bottom]),
            );
        });
    });
}

/// Gives `dy` to the largest of each 2x2 window of two rows.
#[inline(always)]
fn pull_back(x: [&[f32]; 2], dy: &[f32], dx: [&mut [f32]; 2]) {
    let [x_top, x_bottom] = x.map(|row| row.as_chunks::<2>().0);
    let [(dx_top, top_rest), (dx_bottom, bottom_rest)] = dx.map(|row| row.as_chunks_mut::<2>());
    let windows = x_top.iter().zip(x_bottom).zip(dx_top.iter_mut().zip(dx_bottom));
    for (((x_top, x_bottom), (dx_top, dx_bottom)), &dy) in windows.zip(dy) {
        let (mut best, mut largest) = (0, x_top[0]);
        for (k, x) in [x_top[1], x_bottom[0], x_bottom[1]].into_iter().enumerate() {
            (best, largest) = if is_larger(x, largest) { (k + 1, x) } else { (best, largest) };
        }
        let gradient = |k| if k == best { dy } else { 0.0 };
        (*dx_top, *dx_bottom) = ([gradient(0), gradient(1)], [gradient(2), gradient(3)]);
    }
    top_rest.fill(0.0);
    bottom_rest.fill(0.0);
}

/// `max_pool2d(x, 2, stride=2)` of `x` (N, C, H, W): (N, C, floor(H / 2), floor(W / 2)). Among equal values the first
/// in row-major order gets the gradient; NaN counts as larger than every number.
///
/// # Errors
/// If `x` does not have four dimensions, H or W is 1, or the device reports an error.
pub fn max_pool(x: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = x.shape().nchw("max_pool", "x")?;
    let (oh, ow) = (h / 2, w / 2);
    if oh == 0 || ow == 0 {
        return Err(Error::shape("max_pool", "x", &x.shape(), "sides of at least 2"));
    }
    let params = Params { planes: (n * c) as u32, h: h as u32, w: w as u32, oh: oh as u32, ow: ow as u32 };
    let y = Tensor::empty(x.device(), &[n, c, oh, ow])?;
    let flops = 3 * y.numel() as u64;
    x.device().launch(&FORWARD, &params, &[x], &[&y], Work::threads(y.numel()).flops(flops))?;

    let saved = x.clone();
    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.device(), &[n, c, h, w])?;
        dy.device().launch(&BACKWARD, &params, &[&saved, dy], &[&dx], Work::threads(dx.numel()).flops(4 * flops))?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    struct MaxPool;

    /// Index of the maximum among the 2x2 inputs of an output pixel: the first in row-major order.
    fn argmax(x: &Array, [n, c, oy, ox]: [usize; 4]) -> [usize; 4] {
        let window = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(y, x)| [n, c, 2 * oy + y, 2 * ox + x]);
        window.into_iter().reduce(|best, at| if x[at] > x[best] { at } else { best }).unwrap()
    }

    impl Twin for MaxPool {
        fn forward(&self, x: &[Array]) -> Array {
            let [n, c, h, w] = x[0].nchw();
            Array::from_fn([n, c, h / 2, w / 2], |at| x[0][argmax(&x[0], at)])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let mut dx = Array::zeros(&x[0].shape);
            Array::from_fn(dy.nchw(), |at| {
                dx[argmax(&x[0], at)] += dy[at];
                0.0
            });
            vec![Some(dx)]
        }
    }

    #[test]
    fn matches_twin() {
        for (h, w) in [(2, 2), (2, 3), (5, 7), (8, 6), (31, 17)] {
            check(&MaxPool, &[Random::new(1).array(&[2, 3, h, w])], |t| super::max_pool(&t[0]));
        }
    }

    #[test]
    fn equal_values_go_to_the_first_and_nan_wins() {
        for device in devices() {
            let x = Tensor::new(&device, &[1, 1, 2, 4], &[5.0, 5.0, 1.0, 2.0, 5.0, 5.0, f32::NAN, 3.0])
                .unwrap()
                .requires_grad();
            let y = super::max_pool(&x).unwrap();
            assert!(y.to_vec().unwrap()[1].is_nan());
            let dy = Tensor::new(&device, &[1, 1, 1, 2], &[1.0, 2.0]).unwrap();
            let dx = y.backward(&dy).unwrap().get(&x).unwrap().to_vec().unwrap();
            assert_eq!(dx, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
        }
    }

    /// Images of 2x2 with ties between two elements, infinities, and NaN at several positions.
    #[test]
    fn ties_infinities_and_nan_at_every_place() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        for device in devices() {
            for (window, winner) in [
                ([1.0, 2.0, 2.0, 1.0], 1), // row-major order: top right before bottom left
                ([1.0, 1.0, 2.0, 2.0], 2),
                ([1.0, 2.0, 1.0, 2.0], 1),
                ([-inf, -inf, 1.0, -inf], 2),
                ([1.0, -inf, 0.0, -inf], 0),
                ([1.0, inf, 2.0, inf], 1),
                ([-inf; 4], 0),
                ([nan, 1.0, inf, 2.0], 0),
                ([1.0, nan, inf, 2.0], 1),
                ([1.0, inf, 2.0, nan], 3),
            ] {
                let x = Tensor::new(&device, &[1, 1, 2, 2], &window).unwrap().requires_grad();
                let y = super::max_pool(&x).unwrap();
                let dy = Tensor::new(&device, &[1, 1, 1, 1], &[3.0]).unwrap();
                let dx = y.clone().backward(&dy).unwrap().get(&x).unwrap().to_vec().unwrap();
                let mut want = [0.0; 4];
                want[winner] = 3.0;
                assert_eq!(dx, want, "{window:?}");
                assert_eq!(y.to_vec().unwrap()[0].to_bits(), window[winner].to_bits(), "{window:?}");
            }
        }
    }
}
