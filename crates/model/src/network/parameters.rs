//! The tensors of a network's state dict, and what each is for.

use super::{Conv, Linear, Modulation, Network, Norm, Operation};
use std::collections::BTreeMap;

/// A tensor of a state dict.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name in PyTorch.
    pub key: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is for.
    pub kind: ParameterKind,
}

/// What a tensor of a state dict is for. This decides its initial value, whether it is learned, and whether a
/// checkpoint may lack it.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterKind {
    /// A convolution's weight (Cout, Cin, K, K), or a linear layer's (outputs, inputs).
    Weight {
        /// As [`Conv::fill_gain`].
        fill_gain: f64,
        /// Names of the vectors u and v, if the weight is divided by its spectral norm.
        spectral: Option<[String; 2]>,
    },
    /// A convolution's bias (Cout), or a linear layer's (outputs).
    Bias,
    /// A norm's learned scale (C).
    NormWeight,
    /// A norm's learned shift (C).
    NormBias,
    /// The scale of a norm's noise (C).
    NoiseScale,
    /// Batch norm's running mean (C).
    RunningMean,
    /// Batch norm's running variance (C).
    RunningVariance,
    /// How many batches batch norm has seen: an int64 scalar that nothing reads.
    BatchCount,
    /// Spectral norm's left singular vector u (Cout).
    SpectralU,
    /// Spectral norm's right singular vector v (Cin K K).
    SpectralV,
}

impl ParameterKind {
    /// Whether it is learned.
    pub fn is_learned(&self) -> bool {
        use ParameterKind::{Bias, NoiseScale, NormBias, NormWeight, Weight};
        matches!(self, Weight { .. } | Bias | NormWeight | NormBias | NoiseScale)
    }

    /// Whether a checkpoint may lack it. Old versions of PyTorch saved no batch counts.
    pub fn may_be_absent(&self) -> bool {
        *self == ParameterKind::BatchCount
    }
}

impl Network {
    /// All tensors of the state dict, sorted by name.
    ///
    /// ```
    /// use alias_model::network::{Builder, Conv, Reading};
    ///
    /// let mut net = Builder::new("Small");
    /// let image = net.input("image", 3);
    /// let result = net.convolution(Reading::of(image).batch_norm("norm"), Conv::same("conv", 3, 8, 3));
    /// net.output("result", result);
    /// let parameters = net.finish().parameters();
    /// let learned = parameters.iter().filter(|parameter| parameter.kind.is_learned());
    /// let count: usize = learned.map(|parameter| parameter.shape.iter().product::<usize>()).sum();
    /// assert_eq!(count, 3 * 8 * 9 + 8 + 2 * 3); // weight, bias, the norm's scale and shift
    /// ```
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = self.unused_parameters();
        for layer in &self.layers {
            if let Some(norm) = &layer.reading.norm {
                add_norm(norm, self.source_channels(layer).iter().sum(), &mut parameters);
            }
            match &layer.operation {
                Operation::Convolution(conv) => add_conv(conv, &mut parameters),
                Operation::Linear(linear) => add_linear(linear, &mut parameters),
                Operation::Pool(_) | Operation::Dropout(_) | Operation::L2Normalization | Operation::Correlation(_) => {
                }
            }
        }
        parameters.sort_by(|a, b| a.key.cmp(&b.key));
        parameters
    }

    /// The tensors of the state dict that no layer reads, as those of the generator's features that only deeper generators
    /// use.
    pub fn unused_parameters(&self) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        self.unused.iter().for_each(|conv| add_conv(conv, &mut parameters));
        parameters
    }

    /// Name and shape of each tensor of the state dict.
    pub fn state_dict(&self) -> BTreeMap<String, Vec<usize>> {
        self.parameters().into_iter().map(|parameter| (parameter.key, parameter.shape)).collect()
    }
}

fn add_conv(conv: &Conv, parameters: &mut Vec<Parameter>) {
    let mut add = |key, shape, kind| parameters.push(Parameter { key, shape, kind });
    let Conv { cin, cout, kernel, fill_gain, .. } = *conv;
    let shape = vec![cout, cin, kernel, kernel];
    if conv.spectral {
        let [orig, u, v] = conv.spectral_keys();
        let spectral = Some([u.clone(), v.clone()]);
        add(orig, shape, ParameterKind::Weight { fill_gain, spectral });
        add(u, vec![cout], ParameterKind::SpectralU);
        add(v, vec![cin * kernel * kernel], ParameterKind::SpectralV);
    } else {
        add(conv.weight_key(), shape, ParameterKind::Weight { fill_gain, spectral: None });
    }
    if conv.bias {
        add(conv.bias_key(), vec![cout], ParameterKind::Bias);
    }
}

fn add_linear(linear: &Linear, parameters: &mut Vec<Parameter>) {
    let (Linear { inputs, outputs, fill_gain, .. }, [weight, bias]) = (linear, linear.keys());
    let kind = ParameterKind::Weight { fill_gain: *fill_gain, spectral: None };
    parameters.push(Parameter { key: weight, shape: vec![*outputs, *inputs], kind });
    parameters.push(Parameter { key: bias, shape: vec![*outputs], kind: ParameterKind::Bias });
}

fn add_norm(norm: &Norm, channels: usize, parameters: &mut Vec<Parameter>) {
    let mut add = |key, shape, kind| parameters.push(Parameter { key, shape, kind });
    if norm.noise_stream.is_some() {
        add(norm.noise_scale_key(), vec![channels], ParameterKind::NoiseScale);
    }
    if let Some([mean, variance]) = norm.kind.running_statistics_keys() {
        let count = mean.replace("running_mean", "num_batches_tracked");
        add(mean, vec![channels], ParameterKind::RunningMean);
        add(variance, vec![channels], ParameterKind::RunningVariance);
        add(count, vec![], ParameterKind::BatchCount);
    }
    match &norm.modulation {
        Modulation::None => {}
        Modulation::Affine => {
            let [weight, bias] = norm.affine_keys();
            add(weight, vec![channels], ParameterKind::NormWeight);
            add(bias, vec![channels], ParameterKind::NormBias);
        }
        Modulation::Spade(spade) => {
            [&spade.shared, &spade.gamma, &spade.beta].into_iter().for_each(|conv| add_conv(conv, parameters));
        }
    }
}
