//! Deterministic weights from a seed, the same as the reference's `fill`: for tests, benches and demonstrations.

use crate::Architecture;
use alias_checkpoint::{Array, Checkpoint, Dtype};
use alias_kernels::philox;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A state dict of `architecture` drawn from `seed`: tensor i of the sorted names draws stream i of [`philox::normal`].
///
/// Convolutions ~ N(0, 2 / fan_in), but the modulation's two output convolutions ~ N(0, 0.25 / fan_in) and conv_img ~
/// N(0, 0.05 / fan_in); biases and noise scales ~ 0.1 N(0, 1); running statistics 0 and 1; u and v by 20 rounds of power
/// iteration in float64.
pub fn fill(architecture: &Architecture, seed: u64) -> Checkpoint {
    fill_state_dict(architecture.state_dict(), seed)
}

/// A state dict of these names and shapes, of any network, drawn likewise.
pub fn fill_state_dict(shapes: BTreeMap<String, Vec<usize>>, seed: u64) -> Checkpoint {
    let state: Vec<_> = shapes.into_iter().collect();
    let stream =
        |key: &str| state.binary_search_by(|(k, _)| k.as_str().cmp(key)).expect("a key of the state dict") as u32;
    let draw = |index: usize| -> Vec<(String, Array)> {
        let (key, shape) = &state[index];
        let one = |array| vec![(key.clone(), array)];
        let constant = |value: f32| one(Array::from_f32(shape, &vec![value; shape[0]]));
        match key.rsplit('.').next().unwrap_or_default() {
            "num_batches_tracked" => one(Array::from_le_bytes(Dtype::I64, &[], vec![0; 8])),
            "running_mean" => constant(0.0),
            "running_var" => constant(1.0),
            // Drawn with the raw weight that they belong to.
            "weight_u" | "weight_v" => vec![],
            "weight_orig" => {
                let weight = normal(key, shape, seed, index as u32);
                let base = key.trim_end_matches("orig");
                let u_key = format!("{base}u");
                let (u, v) = singular_vectors(&weight, philox::normal(seed, stream(&u_key)).take(shape[0]).collect());
                vec![
                    (key.clone(), Array::from_f32(shape, &weight)),
                    (u_key, Array::from_f32(&[u.len()], &u)),
                    (format!("{base}v"), Array::from_f32(&[v.len()], &v)),
                ]
            }
            _ => one(Array::from_f32(shape, &normal(key, shape, seed, index as u32))),
        }
    };

    // The full generator has a hundred million weights: one core would take half a minute.
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
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    checkpoint.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn normal(key: &str, shape: &[usize], seed: u64, stream: u32) -> Vec<f32> {
    let fan_in = shape[1..].iter().product::<usize>() as f64;
    let scale = if shape.len() == 1 {
        0.1
    } else if key.contains("conv_gamma") || key.contains("conv_beta") {
        (0.25 / fan_in).sqrt()
    } else if key.starts_with("conv_img") {
        (0.05 / fan_in).sqrt()
    } else {
        (2.0 / fan_in).sqrt()
    };
    // Each factor rounded first, as PyTorch multiplies a float32 tensor by a number.
    philox::normal(seed, stream).take(shape.iter().product()).map(|z| z as f32 * scale as f32).collect()
}

/// u and v of the matrix (u's length, rest), from a random u.
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
