//! Random weights to start a training from.

use alias_checkpoint::{Array, Checkpoint, Dtype};
use alias_plan::philox;
use std::collections::BTreeMap;

/// SPADE's gain of the first weights.
pub const SPADE_GAIN: f64 = 0.02;

/// A state dict of these names and shapes, of any network, drawn from `seed`: tensor i of the sorted names draws stream i of
/// [`philox::normal`].
///
/// Convolutions ~ N(0, `gain`^2 * 2 / (fan_in + fan_out)) (Glorot & Bengio 2010); biases and noise scales 0; spectral norm's u
/// and v unit vectors of any direction; running statistics 0 and 1.
///
/// SPADE's gain is 0.02 ([`SPADE_GAIN`]), for rates of 1e-4. Spectral norm divides it out again, but Adam's first steps have the
/// size of its rate whatever the weights' size is: where the rate is larger than they are, what remains of them is of nearly
/// rank 1. A gain of 1 prevents that.
pub fn initialize(shapes: &BTreeMap<String, Vec<usize>>, gain: f64, seed: u64) -> Checkpoint {
    let mut checkpoint = Checkpoint::new();
    for (stream, (key, shape)) in shapes.iter().enumerate() {
        let count = shape.iter().product();
        let normal = || philox::normal(seed, stream as u32).take(count);
        let values: Vec<f32> = match key.rsplit('.').next().unwrap_or_default() {
            "num_batches_tracked" => {
                checkpoint.insert(key, Array::from_le_bytes(Dtype::I64, &[], vec![0; 8]));
                continue;
            }
            "running_var" => vec![1.0; count],
            "weight_u" | "weight_v" => {
                let length = normal().map(|z| z * z).sum::<f64>().sqrt();
                normal().map(|z| (z / length) as f32).collect()
            }
            "weight" | "weight_orig" => {
                let [cout, rest @ ..] = &shape[..] else { unreachable!("a weight has dimensions") };
                let cin = rest.first().copied().unwrap_or(1);
                let kernel: usize = rest.iter().skip(1).product();
                let deviation = gain * (2.0 / ((cin + cout) * kernel) as f64).sqrt();
                normal().map(|z| (z * deviation) as f32).collect()
            }
            _ => vec![0.0; count],
        };
        checkpoint.insert(key, Array::from_f32(shape, &values));
    }
    checkpoint
}

#[cfg(test)]
mod tests {
    use super::{SPADE_GAIN, initialize};
    use crate::{Architecture, Config, DiscriminatorConfig, Norm};

    fn norm(values: &[f32]) -> f64 {
        values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn every_tensor_is_drawn_as_its_kind_is() {
        let architecture = Architecture::new(Config { norm: Norm::Batch, ..Config::PUBLISHED.with_ngf(4) }).unwrap();
        let generator = initialize(&architecture.state_dict(), 1.0, 3);
        let get = |key: &str| generator.get(key).unwrap().to_f32().unwrap();
        // 64 to 64 channels, 3x3: sqrt(2 / (2 * 64 * 9)) = 1/24
        let weight = get("head_0.conv_0.weight_orig");
        let deviation = norm(&weight) / (weight.len() as f64).sqrt();
        assert!((deviation * 24.0 - 1.0).abs() < 0.02, "{deviation}");
        let mean = weight.iter().map(|&v| f64::from(v)).sum::<f64>() / weight.len() as f64;
        assert!(mean.abs() < 4.0 * deviation / (weight.len() as f64).sqrt(), "{mean}");
        // 9 to 64 channels, 3x3, without spectral norm
        let weight = get("conv_0.weight");
        let deviation = norm(&weight) / (weight.len() as f64).sqrt();
        assert!((deviation / (2.0 / (73.0 * 9.0_f64)).sqrt() - 1.0).abs() < 0.04, "{deviation}");
        for (key, array) in generator.iter() {
            let values = array.to_f32().unwrap();
            let all = |value: f32| values.iter().all(|&v| v == value);
            match key.rsplit('.').next().unwrap() {
                "weight_u" | "weight_v" => assert!((norm(&values) - 1.0).abs() < 1e-6, "{key}"),
                "running_var" => assert!(all(1.0), "{key}"),
                "weight" | "weight_orig" => assert!(!all(0.0), "{key}"),
                _ => assert!(all(0.0), "{key}"),
            }
        }
    }

    #[test]
    fn a_seed_is_enough() {
        let shapes = DiscriminatorConfig { ndf: 4, ..DiscriminatorConfig::VITON_HD }.state_dict();
        let bytes =
            |seed, key| initialize(&shapes, SPADE_GAIN, seed).get(key).unwrap().to_le_bytes().unwrap().into_owned();
        let [a, b] = ["discriminator_0.model0.0.weight", "discriminator_1.model0.0.weight"];
        assert_eq!(bytes(1, a), bytes(1, a));
        assert_ne!(bytes(1, a), bytes(2, a));
        assert_ne!(bytes(1, a), bytes(1, b));
        // The same on every machine: the first of them, as numbers.
        let first = initialize(&shapes, SPADE_GAIN, 1).get(a).unwrap().to_f32().unwrap();
        let expected = [0.001_403_328_3, 0.001_576_229_5, 0.003_501_161_5];
        assert!(first.iter().zip(expected).all(|(a, b): (_, f32)| (a / b - 1.0).abs() < 1e-6), "{first:?}");
    }
}
