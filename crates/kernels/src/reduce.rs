//! Sum and mean of all elements.

use crate::kernel;
use alias_cpu::{Cpu, map};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(REDUCE, GRID, REDUCE);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("reduce", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 1, 1>> = kernel("reduce", SOURCE, "backward").on_cores(backward);

params! { n: u32, run: u32, factor: f32 }

/// Elements per workgroup: 64 per invocation, so that rounding errors stay those of a short sum and a tree.
pub(crate) const RUN: usize = 64 * 256;

fn forward(cpu: &Cpu, &Params { factor, .. }: &Params, [x]: [&[f32]; 1], [sums]: [&mut [f32]; 1]) {
    sums.par_iter_mut().zip(x.par_chunks(RUN)).for_each(|(to, run)| {
        let [sum] = alias_cpu::sum(cpu, [run], |x| x);
        *to = factor * sum as f32;
    });
}

fn backward(cpu: &Cpu, &Params { factor, .. }: &Params, [dy]: [&[f32]; 1], dx: [&mut [f32]; 1]) {
    let dy = factor * dy[0];
    map(cpu, [], dx, move |[]| [dy]);
}

/// `factor` times the sum of all elements, a scalar, without a gradient.
pub(crate) fn sum_of_runs(mut sums: Tensor, factor: f32) -> Result<Tensor> {
    loop {
        let n = sums.numel();
        let runs = n.div_ceil(RUN);
        let (shape, factor): (&[usize], _) = if runs == 1 { (&[], factor) } else { (&[runs], 1.0) };
        let next = Tensor::empty(sums.device(), shape)?;
        let params = Params { n: n as u32, run: RUN as u32, factor };
        sums.device().launch(&FORWARD, &params, &[&sums], &[&next], Work::groups(runs).flops(n as u64))?;
        sums = next;
        if runs == 1 {
            return Ok(sums);
        }
    }
}

/// The sum of all elements, a scalar. Any shape.
///
/// # Errors
/// If the device reports an error.
pub fn sum(x: &Tensor) -> Result<Tensor> {
    multiple_of_sum(x, 1.0)
}

/// The mean of all elements, a scalar. Any shape.
///
/// # Errors
/// If the device reports an error.
pub fn mean(x: &Tensor) -> Result<Tensor> {
    multiple_of_sum(x, 1.0 / x.numel() as f32)
}

fn multiple_of_sum(x: &Tensor, factor: f32) -> Result<Tensor> {
    let shape = x.shape();
    Ok(sum_of_runs(x.detach(), factor)?.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.device(), &shape)?;
        let n = dx.numel();
        let params = Params { n: n as u32, run: RUN as u32, factor };
        dy.device().launch(&BACKWARD, &params, &[dy], &[&dx], Work::threads(n))?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    /// The sum of all elements, times a factor.
    struct Sum {
        factor: f64,
    }

    impl Twin for Sum {
        fn forward(&self, x: &[Array]) -> Array {
            Array::new(&[], vec![self.factor * x[0].data.iter().sum::<f64>()])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            vec![Some(x[0].map(|_| self.factor * dy.data[0]))]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [&[1][..], &[257], &[2, 3, 5, 7], &[16_384], &[16_385], &[3, 389, 401]] {
            // Offset from zero, where a sum would be mostly cancellation.
            let x = Random::new(1).array(shape).map(|x| f64::from((x + 0.5) as f32));
            let n = x.data.len() as f64;
            check(&Sum { factor: 1.0 }, std::slice::from_ref(&x), |t| super::sum(&t[0]));
            check(&Sum { factor: 1.0 / n }, &[x], |t| super::mean(&t[0]));
        }
    }
}
