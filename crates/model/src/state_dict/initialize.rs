//! Initial weights for training.

use crate::network::{Network, Parameter, ParameterKind};
use alias_checkpoint::{Array, Checkpoint, Dtype};
use alias_plan::philox;

/// The gain of SPADE's initial weights.
pub const SPADE_GAIN: f64 = 0.02;

/// An initial state dict of `network`: tensor i, in the order of names, is drawn from stream i of [`philox::normal`].
///
/// Weights ~ N(0, `gain`^2 * 2 / (fan_in + fan_out)) (Glorot & Bengio 2010); biases and noise scales 0; norms' weights
/// 1; spectral norm's u and v random unit vectors; running means 0 and variances 1.
///
/// SPADE's gain, [`SPADE_GAIN`], suits learning rates of 1e-4. Spectral norm cancels the gain, but Adam's first updates
/// are as large as the learning rate, however small the weights are. If the rate exceeds the weights, those updates
/// leave matrices of nearly rank 1. A gain of 1 prevents that.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::{GeneratorConfig, SPADE_GAIN, initialize};
///
/// let network = GeneratorConfig::PUBLISHED.with_ngf(2).network()?;
/// let start = initialize(&network, SPADE_GAIN, 1);
/// network.verify(&start, true)?;
/// let [weight, bias] = ["conv_img.weight", "conv_img.bias"].map(|key| start.get(key).expect("it is complete"));
/// assert_eq!(bias.to_f32()?, [0.0; 3]);
/// let larger = initialize(&network, 2.0 * SPADE_GAIN, 1);
/// assert_eq!(larger.get("conv_img.weight").expect("it is complete").to_f32()?[0], 2.0 * weight.to_f32()?[0]);
/// # Ok(())
/// # }
/// ```
pub fn initialize(network: &Network, gain: f64, seed: u64) -> Checkpoint {
    use ParameterKind as Kind;
    let mut checkpoint = Checkpoint::new();
    for (stream, Parameter { key, shape, kind }) in network.parameters().into_iter().enumerate() {
        let count = shape.iter().product();
        let normal = || philox::normal(seed, stream as u32).take(count);
        let values: Vec<f32> = match kind {
            Kind::BatchCount => {
                checkpoint.insert(key, Array::from_le_bytes(Dtype::I64, &[], vec![0; 8]));
                continue;
            }
            Kind::RunningVariance | Kind::NormWeight => vec![1.0; count],
            Kind::Bias | Kind::NormBias | Kind::NoiseScale | Kind::RunningMean => vec![0.0; count],
            Kind::SpectralU | Kind::SpectralV => {
                let length = normal().map(|z| z * z).sum::<f64>().sqrt();
                normal().map(|z| (z / length) as f32).collect()
            }
            Kind::Weight { .. } => {
                // (Cout, Cin, K, K), or (outputs, inputs) for a linear layer.
                let kernel: usize = shape[2..].iter().product();
                let deviation = gain * (2.0 / ((shape[0] + shape[1]) * kernel) as f64).sqrt();
                normal().map(|z| (z * deviation) as f32).collect()
            }
        };
        checkpoint.insert(key, Array::from_f32(&shape, &values));
    }
    checkpoint
}

#[cfg(test)]
mod tests {
    use super::{SPADE_GAIN, initialize};
    use crate::{DiscriminatorConfig, GeneratorConfig, ParameterFreeNorm};

    fn norm(values: &[f32]) -> f64 {
        values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn every_tensor_is_drawn_as_its_kind_is() {
        let published = GeneratorConfig::PUBLISHED.with_ngf(4);
        let network = GeneratorConfig { norm: ParameterFreeNorm::Batch, ..published }.network().unwrap();
        let generator = initialize(&network, 1.0, 3);
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
        let network = DiscriminatorConfig { ndf: 4, ..DiscriminatorConfig::VITON_HD }.network().unwrap();
        let bytes =
            |seed, key| initialize(&network, SPADE_GAIN, seed).get(key).unwrap().to_le_bytes().unwrap().into_owned();
        let [a, b] = ["discriminator_0.model0.0.weight", "discriminator_1.model0.0.weight"];
        assert_eq!(bytes(1, a), bytes(1, a));
        assert_ne!(bytes(1, a), bytes(2, a));
        assert_ne!(bytes(1, a), bytes(1, b));
        // The same on every machine.
        let first = initialize(&network, SPADE_GAIN, 1).get(a).unwrap().to_f32().unwrap();
        let expected = [0.001_403_328_3, 0.001_576_229_5, 0.003_501_161_5];
        assert!(first.iter().zip(expected).all(|(a, b): (_, f32)| (a / b - 1.0).abs() < 1e-6), "{first:?}");
    }
}
