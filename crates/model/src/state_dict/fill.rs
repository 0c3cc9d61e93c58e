//! Random weights from a seed for tests, benches and demonstrations, equal to those of the PyTorch code that made the
//! golden files.

use crate::network::{Network, Parameter, ParameterKind};
use alias_checkpoint::{Array, Checkpoint, Dtype};
use alias_plan::philox;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A random state dict of `network`: tensor i, in the order of names, is drawn from stream i of [`philox::normal`].
///
/// Weights ~ N(0, [`fill_gain`](crate::network::Conv::fill_gain) / fan_in); biases and noise scales ~ N(0, 0.1^2);
/// norms' weights ~ N(1, 0.1^2); running means 0 and variances 1; spectral norm's u and v from 20 rounds of power
/// iteration in float64.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::{GeneratorConfig, fill};
///
/// let network = GeneratorConfig::PUBLISHED.with_ngf(2).network()?;
/// let checkpoint = fill(&network, 1);
/// network.verify(&checkpoint, true)?;
/// # Ok(())
/// # }
/// ```
pub fn fill(network: &Network, seed: u64) -> Checkpoint {
    use ParameterKind as Kind;
    let state = network.parameters();
    let stream =
        |key: &str| state.iter().position(|parameter| parameter.key == key).expect("spectral norm has u") as u32;
    let draw = |index: usize| -> Vec<(String, Array)> {
        let Parameter { key, shape, kind } = &state[index];
        let one = |array| vec![(key.clone(), array)];
        let constant = |value: f32| one(Array::from_f32(shape, &vec![value; shape[0]]));
        let normal = |scale: f64| normal(shape.iter().product(), scale, seed, index as u32);
        match kind {
            Kind::BatchCount => one(Array::from_le_bytes(Dtype::I64, &[], vec![0; 8])),
            Kind::RunningMean => constant(0.0),
            Kind::RunningVariance => constant(1.0),
            Kind::Bias | Kind::NormBias | Kind::NoiseScale => one(Array::from_f32(shape, &normal(0.1))),
            Kind::NormWeight => {
                let values: Vec<f32> = normal(0.1).into_iter().map(|v| 1.0 + v).collect();
                one(Array::from_f32(shape, &values))
            }
            // Inserted with the weight that they belong to.
            Kind::SpectralU | Kind::SpectralV => vec![],
            Kind::Weight { fill_gain, spectral } => {
                let fan_in: usize = shape[1..].iter().product();
                let weight = normal((fill_gain / fan_in as f64).sqrt());
                let mut drawn = one(Array::from_f32(shape, &weight));
                if let Some([u_key, v_key]) = spectral {
                    let start = philox::normal(seed, stream(u_key)).take(shape[0]).collect();
                    let (u, v) = singular_vectors(&weight, start);
                    drawn.push((u_key.clone(), Array::from_f32(&[u.len()], &u)));
                    drawn.push((v_key.clone(), Array::from_f32(&[v.len()], &v)));
                }
                drawn
            }
        }
    };

    // In parallel, since the full generator has a hundred million weights, which take one core half a minute.
    let checkpoint = Mutex::new(Checkpoint::new());
    let next = AtomicUsize::new(0);
    let work = || {
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && index < state.len()
        {
            let drawn = draw(index);
            let mut checkpoint = checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, array) in drawn {
                checkpoint.insert(key, array);
            }
        }
    };
    std::thread::scope(|scope| {
        // Fewer where the system refuses some.
        let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, work).ok();
        (1..std::thread::available_parallelism().map_or(1, usize::from)).map_while(spawn).for_each(drop);
        work();
    });
    checkpoint.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn normal(count: usize, scale: f64, seed: u64, stream: u32) -> Vec<f32> {
    // Each factor is rounded to float32 first, as when PyTorch multiplies a float32 tensor by a number.
    philox::normal(seed, stream).take(count).map(|z| z as f32 * scale as f32).collect()
}

/// The first singular vectors u and v of `weight` as a matrix (Cout, Cin K K), starting from a random `u`.
fn singular_vectors(weight: &[f32], u: Vec<f64>) -> (Vec<f32>, Vec<f32>) {
    let columns = weight.len() / u.len();
    let (mut u, mut v) = (normalized(u), vec![0.0; columns]);
    for _ in 0..20 {
        v.fill(0.0);
        for (row, u) in weight.chunks_exact(columns).zip(&u) {
            for (v, &w) in v.iter_mut().zip(row) {
                *v += f64::from(w) * u;
            }
        }
        v = normalized(v);
        let product = |row: &[f32]| row.iter().zip(&v).map(|(&w, v)| f64::from(w) * v).sum();
        u = normalized(weight.chunks_exact(columns).map(product).collect());
    }
    let single = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect();
    (single(u), single(v))
}

fn normalized(values: Vec<f64>) -> Vec<f64> {
    let length = values.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
    values.into_iter().map(|v| v / length).collect()
}
