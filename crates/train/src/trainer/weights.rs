//! What a network learns, and what else is in its state dict.

use crate::{Error, Result};
use alias_checkpoint::Checkpoint;
use alias_checkpoint::{Array, Dtype};
use alias_kernels::{Adam, power_iteration};
use alias_model::network::{Network, Parameter, ParameterKind};
use alias_tensor::{Gpu, Gradients, Tensor};
use std::collections::BTreeMap;

/// Tensors by their names in the state dict.
pub(super) type Tensors = BTreeMap<String, Tensor>;

/// A network's state on a device. Clones share their tensors, none of which is ever written to.
#[derive(Clone, Debug)]
pub(super) struct TrainedWeights {
    /// The state dict, but for what is only counted.
    state: Tensors,
    /// Adam's, of what is learned.
    pub(super) second_moments: Tensors,
    /// Spectral norm's raw weight, u and v.
    spectral: Vec<[String; 3]>,
    /// Names of batch norm's counts, and their value.
    counts: (Vec<String>, i64),
}

impl TrainedWeights {
    /// The state in `checkpoint`.
    pub(super) fn new(gpu: &Gpu, network: &Network, checkpoint: &Checkpoint) -> Result<TrainedWeights> {
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
            state.insert(key.clone(), Tensor::new(gpu, &shape, &array.to_f32()?)?);
            if kind.is_learned() {
                second_moments.insert(key.clone(), Tensor::new(gpu, &shape, &vec![0.0; array.numel()])?);
            }
            if let ParameterKind::Weight { spectral: Some([u, v]), .. } = kind {
                spectral.push([key, u, v]);
            }
        }
        Ok(TrainedWeights { state, second_moments, spectral, counts })
    }

    /// The same with other second moments.
    pub(super) fn with_second_moments(mut self, gpu: &Gpu, moments: &Checkpoint) -> Result<TrainedWeights> {
        for (key, tensor) in &mut self.second_moments {
            let array = moments.get(key).filter(|array| *array.shape() == *tensor.shape());
            let array = array
                .ok_or_else(|| Error::DamagedTraining { what: format!("no second moment of '{key}' of its shape") })?;
            *tensor = Tensor::new(gpu, &tensor.shape(), &array.to_f32()?)?;
        }
        Ok(self)
    }

    /// What is learned, as leaves of the tape.
    pub(super) fn leaves(&self) -> Tensors {
        self.second_moments.keys().map(|key| (key.clone(), self.state[key].requires_grad())).collect()
    }

    /// Gives the state, for a network to be assembled from, with `leaves` in place of what is learned.
    pub(super) fn with<'a>(
        &'a self,
        leaves: &'a Tensors,
    ) -> impl FnMut(&str, &[usize]) -> alias_model::Result<Tensor> + 'a {
        |key, _| Ok(leaves.get(key).unwrap_or_else(|| &self.state[key]).clone())
    }

    /// Gives the state, for a network that does not learn.
    pub(super) fn frozen(&self) -> impl FnMut(&str, &[usize]) -> alias_model::Result<Tensor> + '_ {
        |key, _| Ok(self.state[key].clone())
    }

    /// One round of power iteration for each weight with spectral norm, as each forward pass in training begins with.
    pub(super) fn power_iteration(&mut self) -> Result<()> {
        for [weight, u, v] in &self.spectral {
            let (next_u, next_v) = power_iteration(&self.state[weight], &self.state[u], &self.state[v])?;
            self.state.insert(u.clone(), next_u);
            self.state.insert(v.clone(), next_v);
        }
        Ok(())
    }

    /// Takes over what `forwards` passes have made of batch norm's running statistics.
    pub(super) fn move_statistics(&mut self, statistics: Vec<(String, Tensor)>, forwards: usize) {
        self.state.extend(statistics);
        self.counts.1 += forwards as i64;
    }

    /// One step of Adam on what is learned and has a gradient, each shown to `tap`. What is no longer needed is given back on
    /// the way.
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
