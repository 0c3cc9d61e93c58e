//! Dropout (Srivastava et al. 2014) of one half, drawn from a seed.

use crate::kernel;
use crate::philox::philox4x32_10;
use alias_cpu::{Cpu, map};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(DROPOUT, GRID, MATH, PHILOX);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("dropout", SOURCE, "forward").on_cores(forward);

params! { n: u32, stream: u32, seed_low: u32, seed_high: u32 }

/// Elements per task, a multiple of Philox's block of four.
const RUN: usize = 4096;

fn forward(cpu: &Cpu, params: &Params, [x]: [&[f32]; 1], [y]: [&mut [f32]; 1]) {
    let &Params { stream, seed_low, seed_high, .. } = params;
    y.par_chunks_mut(RUN).zip(x.par_chunks(RUN)).enumerate().for_each(|(run, (y, x))| {
        let mut factors = [[0.0; 4]; RUN / 4];
        for (k, factors) in factors.iter_mut().enumerate() {
            let block = (run * RUN / 4 + k) as u32;
            let words = philox4x32_10([block, stream, 0, 0], [seed_low, seed_high]);
            // A number is at least 0.5 if the highest bit of its word is set.
            *factors = words.map(|word| (word >> 31 << 1) as f32);
        }
        map(cpu, [x, &factors.as_flattened()[..x.len()]], [y], move |[x, factor]| [x * factor]);
    });
}

/// `x`, of any shape, with each element doubled or, with probability 1/2, set to 0, as
/// `torch.nn.functional.dropout(x, 0.5)` in training. Element e stays where element e of
/// [`philox::uniform`](crate::philox::uniform)`(seed, stream)` is at least 0.5. The gradient uses the same numbers.
///
/// # Errors
/// If the device reports an error.
pub fn dropout(x: &Tensor, seed: u64, stream: u32) -> Result<Tensor> {
    let n = x.numel();
    let params = Params { n: n as u32, stream, seed_low: seed as u32, seed_high: (seed >> 32) as u32 };
    // The integer operations of Philox are not counted.
    let work = Work::threads(n.div_ceil(4)).flops(n as u64);
    let y = Tensor::empty(x.device(), &x.shape())?;
    x.device().launch(&FORWARD, &params, &[x], &[&y], work)?;

    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.device(), &dy.shape())?;
        dy.device().launch(&FORWARD, &params, &[dy], &[&dx], work)?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
mod tests {
    use crate::philox;
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    struct Dropout {
        seed: u64,
        stream: u32,
    }

    impl Dropout {
        fn drop(&self, x: &Array) -> Array {
            let uniform = philox::uniform(self.seed, self.stream);
            let kept = x.data.iter().zip(uniform).map(|(x, u)| if u >= 0.5 { 2.0 * x } else { 0.0 });
            Array::new(&x.shape, kept.collect())
        }
    }

    impl Twin for Dropout {
        fn forward(&self, x: &[Array]) -> Array {
            self.drop(&x[0])
        }

        fn backward(&self, _: &[Array], dy: &Array) -> Vec<Option<Array>> {
            vec![Some(self.drop(dy))]
        }
    }

    #[test]
    fn matches_twin() {
        for (shape, seed, stream) in
            [(&[4][..], 0, 0), (&[2, 3, 5, 7], 11, 25), (&[3, 3, 17, 31], 0x1234_5678_9abc_def0, 26)]
        {
            check(&Dropout { seed, stream }, &[Random::new(1).array(shape)], |t| super::dropout(&t[0], seed, stream));
        }
    }

    #[test]
    fn about_half_stay_and_nan_stays_everywhere() {
        for device in devices() {
            let x = Tensor::new(&device, &[10_000], &[1.0; 10_000]).unwrap();
            let y = super::dropout(&x, 5, 3).unwrap().to_vec().unwrap();
            let kept = y.iter().filter(|&&y| y == 2.0).count();
            assert!(y.iter().all(|&y| y == 2.0 || y == 0.0) && (4800..5200).contains(&kept), "{kept}");
            let nan = Tensor::new(&device, &[9], &[f32::NAN; 9]).unwrap();
            assert!(super::dropout(&nan, 5, 3).unwrap().to_vec().unwrap().iter().all(|y| y.is_nan()));
        }
    }
}
