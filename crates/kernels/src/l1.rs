//! L1 loss: the mean absolute difference.

use crate::{kernel, mean};
use alias_cpu::{Cpu, map};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(L1, GRID);
static FORWARD: Kernel<OnCores<Params, 2, 1>> = kernel("l1", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 3, 2>> = kernel("l1", SOURCE, "backward").on_cores(backward);

params! { n: u32 }

fn forward(cpu: &Cpu, _: &Params, a_and_b: [&[f32]; 2], y: [&mut [f32]; 1]) {
    map(cpu, a_and_b, y, move |[a, b]| [(a - b).abs()]);
}

fn backward(cpu: &Cpu, _: &Params, a_b_dy: [&[f32]; 3], da_and_db: [&mut [f32]; 2]) {
    map(cpu, a_b_dy, da_and_db, move |[a, b, dy]| {
        let difference = a - b;
        // `signum` takes zeros for 1 or -1.
        let sign = if difference == 0.0 { 0.0 } else { difference.signum() };
        [sign * dy, -sign * dy]
    });
}

/// The mean of `|a - b|`, a scalar, as `torch.nn.functional.l1_loss`. Equal elements get a gradient of 0.
///
/// # Errors
/// If the shapes differ or the device reports an error.
pub fn l1(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    b.shape().check("l1", "b", &a.shape())?;
    let n = a.numel();
    let params = Params { n: n as u32 };
    let work = Work::threads(n).flops(2 * n as u64);
    let y = Tensor::empty(a.device(), &a.shape())?;
    a.device().launch(&FORWARD, &params, &[a, b], &[&y], work)?;

    let (saved_a, saved_b) = (a.clone(), b.clone());
    let difference = y.with_backward([a, b], move |dy| {
        let (da, db) = (Tensor::empty(dy.device(), &dy.shape())?, Tensor::empty(dy.device(), &dy.shape())?);
        dy.device().launch(&BACKWARD, &params, &[&saved_a, &saved_b, dy], &[&da, &db], work)?;
        Ok([Some(da), Some(db)])
    });
    mean(&difference)
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
        for shape in [&[1][..], &[257], &[2, 3, 5, 7]] {
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
