//! The state of a network in training.

use crate::{Error, Result};
use alias_checkpoint::{Array, Checkpoint, Dtype};
use alias_kernels::{Adam, power_iteration};
use alias_model::network::{Network, Parameter, ParameterKind};
use alias_tensor::{Device, Gradients, Tensor};
use std::collections::BTreeMap;

/// Tensors by their names in the state dict.
pub(super) type Tensors = BTreeMap<String, Tensor>;

/// A network's state dict on a device, with Adam's second moments. Tensors are replaced, never written to, so clones
/// share them.
#[derive(Clone, Debug)]
pub(super) struct TrainedWeights {
    /// The state dict without batch norm's counts.
    state: Tensors,
    /// Adam's second moments; the keys are those of the learned parameters.
    pub(super) second_moments: Tensors,
    /// The keys of raw weight, u and v of each layer with spectral norm.
    spectral: Vec<[String; 3]>,
    /// The keys of batch norm's counts, and their common value.
    counts: (Vec<String>, i64),
}

impl TrainedWeights {
    /// The state in `checkpoint`, with second moments of zero.
    pub(super) fn new(device: &Device, network: &Network, checkpoint: &Checkpoint) -> Result<TrainedWeights> {
        let (mut state, mut second_moments) = (Tensors::new(), Tensors::new());
        let (mut spectral, mut counts) = (Vec::new(), (Vec::new(), 0));
        for Parameter { key, shape, kind } in network.parameters() {
            let array = checkpoint.get(&key).filter(|array| *array.shape() == *shape);
            if kind == ParameterKind::BatchCount {
                counts.1 = array.map_or(Ok(0), |array| array.to_f64().map(|count| count[0] as i64))?;
                counts.0.push(key);
                continue;
            }
            let array = array
                .ok_or_else(|| Error::DamagedTraining { what: format!("no tensor '{key}' of shape {shape:?}") })?;
            state.insert(key.clone(), Tensor::new(device, &shape, &array.to_f32()?)?);
            if kind.is_learned() {
                second_moments.insert(key.clone(), Tensor::new(device, &shape, &vec![0.0; array.numel()])?);
            }
            if let ParameterKind::Weight { spectral: Some([u, v]), .. } = kind {
                spectral.push([key, u, v]);
            }
        }
        Ok(TrainedWeights { state, second_moments, spectral, counts })
    }

    /// The same state with the second moments in `moments`.
    pub(super) fn with_second_moments(mut self, device: &Device, moments: &Checkpoint) -> Result<TrainedWeights> {
        for (key, tensor) in &mut self.second_moments {
            let array = moments.get(key).filter(|array| *array.shape() == *tensor.shape());
            let array = array
                .ok_or_else(|| Error::DamagedTraining { what: format!("no second moment of '{key}' of its shape") })?;
            *tensor = Tensor::new(device, &tensor.shape(), &array.to_f32()?)?;
        }
        Ok(self)
    }

    /// The learned parameters as leaves of the tape.
    pub(super) fn leaves(&self) -> Tensors {
        self.second_moments.keys().map(|key| (key.clone(), self.state[key].requires_grad())).collect()
    }

    /// The state for assembling a network that learns, with `leaves` as its learned parameters.
    pub(super) fn with<'a>(
        &'a self,
        leaves: &'a Tensors,
    ) -> impl FnMut(&str, &[usize]) -> alias_model::Result<Tensor> + 'a {
        |key, _| Ok(leaves.get(key).unwrap_or_else(|| &self.state[key]).clone())
    }

    /// The state for assembling a network that does not learn.
    pub(super) fn frozen(&self) -> impl FnMut(&str, &[usize]) -> alias_model::Result<Tensor> + '_ {
        |key, _| Ok(self.state[key].clone())
    }

    /// One step of power iteration for each weight with spectral norm, as PyTorch takes before each forward pass in
    /// training.
    pub(super) fn power_iteration(&mut self) -> Result<()> {
        for [weight, u, v] in &self.spectral {
            let (next_u, next_v) = power_iteration(&self.state[weight], &self.state[u], &self.state[v])?;
            self.state.insert(u.clone(), next_u);
            self.state.insert(v.clone(), next_v);
        }
        Ok(())
    }

    /// Stores batch norm's running statistics after `forwards` forward passes.
    pub(super) fn move_statistics(&mut self, statistics: Vec<(String, Tensor)>, forwards: usize) {
        self.state.extend(statistics);
        self.counts.1 += forwards as i64;
    }

    /// One step of Adam on each learned parameter that has a gradient, which is shown to `tap`. Each old weight and
    /// gradient is freed before the next parameter's turn.
    pub(super) fn update(
        &mut self,
        adam: &Adam,
        leaves: Tensors,
        mut gradients: Gradients,
        mut tap: impl FnMut(&str, &Tensor),
    ) -> Result<()> {
        for (key, leaf) in leaves {
            let Some(gradient) = gradients.take(&leaf) else { continue };
            drop(leaf);
            tap(&key, &gradient);
            let (parameter, second_moment) = adam.update(&self.state[&key], &gradient, &self.second_moments[&key])?;
            self.second_moments.insert(key.clone(), second_moment);
            self.state.insert(key, parameter);
        }
        Ok(())
    }

    pub(super) fn state_dict(&self) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint::new();
        for (key, tensor) in &self.state {
            checkpoint.insert(key, Array::from_f32(&tensor.shape(), &tensor.to_vec()?));
        }
        for key in &self.counts.0 {
            checkpoint.insert(key, Array::from_le_bytes(Dtype::I64, &[], self.counts.1.to_le_bytes().into()));
        }
        Ok(checkpoint)
    }
}
