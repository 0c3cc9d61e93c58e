//! L1 loss: the mean absolute difference.

use crate::reduce::{RUN, sum_of_runs};
use crate::{kernel, scale};
use alias_cpu::{Cpu, map, sum};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(L1, GRID, REDUCE);
static FORWARD: Kernel<OnCores<Params, 2, 1>> = kernel("l1", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 3, 1>> = kernel("l1", SOURCE, "backward").on_cores(backward);

params! { n: u32, run: u32, factor: f32 }

fn forward(cpu: &Cpu, &Params { factor, .. }: &Params, [a, b]: [&[f32]; 2], [sums]: [&mut [f32]; 1]) {
    sums.par_iter_mut().zip(a.par_chunks(RUN)).zip(b.par_chunks(RUN)).for_each(|((to, a), b)| {
        let [sum] = sum(cpu, [a, b], move |[a, b]| [(a - b).abs()]);
        *to = factor * sum as f32;
    });
}

fn backward(cpu: &Cpu, &Params { factor, .. }: &Params, [a, b, dy]: [&[f32]; 3], da: [&mut [f32]; 1]) {
    let dy = factor * dy[0];
    map(cpu, [a, b], da, move |[a, b]| {
        let difference = a - b;
        // `signum` takes zeros for 1 or -1.
        let sign = if difference == 0.0 { 0.0 } else { difference.signum() };
        [sign * dy]
    });
}

/// The mean of `|a - b|`, a scalar, as `torch.nn.functional.l1_loss`. Equal elements get a gradient of 0.
///
/// # Errors
/// If the shapes differ or the device reports an error.
pub fn l1(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    b.shape().check("l1", "b", &a.shape())?;
    let n = a.numel();
    let (runs, mean) = (n.div_ceil(RUN), 1.0 / n as f32);
    let params = Params { n: n as u32, run: RUN as u32, factor: mean };
    let of_runs = Params { factor: if runs == 1 { mean } else { 1.0 }, ..params };
    let sums = Tensor::empty(a.device(), &[runs])?;
    a.device().launch(&FORWARD, &of_runs, &[a, b], &[&sums], Work::groups(runs).flops(3 * n as u64))?;
    let y = if runs == 1 { sums.reshape(&[])? } else { sum_of_runs(sums, mean)? };

    let (saved_a, saved_b) = (a.clone(), b.clone());
    Ok(y.with_backward([a, b], move |dy| {
        let da = Tensor::empty(dy.device(), &saved_a.shape())?;
        let work = Work::threads(n).flops(2 * n as u64);
        dy.device().launch(&BACKWARD, &params, &[&saved_a, &saved_b, dy], &[&da], work)?;
        let db = saved_b.is_tracked().then(|| scale(&da, -1.0)).transpose()?;
        Ok([Some(da), db])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    struct L1;

    impl Twin for L1 {
        fn forward(&self, x: &[Array]) -> Array {
            let total = x[0].zip(&x[1], |a, b| (a - b).abs()).data.iter().sum::<f64>();
            Array::new(&[], vec![total / x[0].data.len() as f64])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let share = dy.data[0] / x[0].data.len() as f64;
            let da = x[0].zip(&x[1], |a, b| if a > b { share } else { -share });
            let db = da.map(|da| -da);
            vec![Some(da), Some(db)]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [&[1][..], &[257], &[2, 3, 5, 7], &[3, 129, 131]] {
            let mut random = Random::new(1);
            check(&L1, &[random.array(shape), random.array(shape)], |t| super::l1(&t[0], &t[1]));
        }
    }

    #[test]
    fn equal_elements_get_no_gradient() {
        for device in devices() {
            let a = Tensor::new(&device, &[2], &[1.0, 2.0]).unwrap().requires_grad();
            let b = Tensor::new(&device, &[2], &[1.0, 0.0]).unwrap().requires_grad();
            let dy = Tensor::new(&device, &[], &[1.0]).unwrap();
            let gradients = super::l1(&a, &b).unwrap().backward(&dy).unwrap();
            assert_eq!(gradients.get(&a).unwrap().to_vec().unwrap(), [0.0, 0.5]);
            assert_eq!(gradients.get(&b).unwrap().to_vec().unwrap(), [0.0, -0.5]);
        }
    }
}
