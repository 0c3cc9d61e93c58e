//! Elementwise sum of two tensors.

use crate::kernel;
use alias_cpu::{Cpu, map};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(ADD, GRID);
static FORWARD: Kernel<OnCores<Params, 2, 1>> = kernel("add", SOURCE, "forward").on_cores(forward);

params! { n: u32 }

fn forward(cpu: &Cpu, _: &Params, a_and_b: [&[f32]; 2], y: [&mut [f32]; 1]) {
    map(cpu, a_and_b, y, move |[a, b]| [a + b]);
}

/// `a + b`, both of one shape.
///
/// # Errors
/// If the shapes differ or the device reports an error.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    b.shape().check("add", "b", &a.shape())?;
    let n = a.numel();
    let y = Tensor::empty(a.device(), &a.shape())?;
    a.device().launch(&FORWARD, &Params { n: n as u32 }, &[a, b], &[&y], Work::threads(n).flops(n as u64))?;
    Ok(y.with_backward([a, b], |dy| Ok([Some(dy.clone()), Some(dy.clone())])))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};

    struct Add;

    impl Twin for Add {
        fn forward(&self, x: &[Array]) -> Array {
            x[0].zip(&x[1], |a, b| a + b)
        }

        fn backward(&self, _: &[Array], dy: &Array) -> Vec<Option<Array>> {
            vec![Some(dy.clone()), Some(dy.clone())]
        }
    }

    #[test]
    fn matches_twin() {
        for shape in [&[1][..], &[257], &[1024], &[2, 3, 5, 7]] {
            let mut random = Random::new(1);
            check(&Add, &[random.array(shape), random.array(shape)], |t| super::add(&t[0], &t[1]));
        }
    }

    /// With a limit of three workgroups per dimension, every larger launch is split over two grid dimensions.
    #[test]
    fn grids_of_two_dimensions() {
        use alias_tensor::{Gpu, GpuOptions, Tensor, wgpu::Limits};
        let all = alias_oracle::gpu().limits().clone();
        let limits = Some(Limits { max_compute_workgroups_per_dimension: 3, ..all });
        let gpu = Gpu::open(&GpuOptions { limits, ..Default::default() }).unwrap();
        // `Work::threads`: one to nine workgroups of 256, the last one full or partly used.
        for n in [1, 3 * 256, 3 * 256 + 1, 5 * 256, 7 * 256 + 1, 9 * 256] {
            let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let a = Tensor::new(&gpu, &[n], &a).unwrap();
            let y = super::add(&a, &a).unwrap().to_vec().unwrap();
            assert!(y.iter().enumerate().all(|(i, &y)| y == 2.0 * i as f32), "{n} elements");
        }
        // `Work::groups`: one workgroup per channel, one to nine channels.
        for rows in 1..=9 {
            let w: Vec<f32> = (0..2 * rows).map(|i| 1.0 + i as f32).collect();
            let w = Tensor::new(&gpu, &[1, rows, 1, 2], &w).unwrap().requires_grad();
            let zero = Tensor::new(&gpu, &[rows], &vec![0.0; rows]).unwrap();
            let weight = zero.requires_grad();
            let y = crate::affine(&w, &weight, &zero).unwrap();
            let dy = Tensor::new(&gpu, &[1, rows, 1, 2], &vec![1.0; 2 * rows]).unwrap();
            let dw = y.backward(&dy).unwrap().get(&weight).unwrap().to_vec().unwrap();
            let want: Vec<f32> = (0..rows).map(|r| 4.0 * r as f32 + 3.0).collect();
            assert_eq!(dw, want, "{rows} groups");
        }
    }
}
