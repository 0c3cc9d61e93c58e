//! What a network learns, and what it keeps besides.

use crate::{Checkpoint, Error, Result};
use alias_checkpoint::{Array, Dtype};
use alias_kernels::{Adam, power_iteration};
use alias_tensor::{Gpu, Gradients, Tensor};
use std::collections::BTreeMap;

/// Tensors by their names in the state dict.
pub(super) type Tensors = BTreeMap<String, Tensor>;

/// What batch norm counts, and nothing computes with.
const COUNT: &str = "num_batches_tracked";

/// A network's state on a device. Clones share their tensors, none of which is ever written to.
#[derive(Clone, Debug)]
pub(super) struct Network {
    /// The state dict, but for what is only counted.
    state: Tensors,
    /// Adam's, of what is learned.
    pub(super) second_moments: Tensors,
    /// Names of batch norm's counts, and their value.
    counts: (Vec<String>, i64),
}

/// Whether gradients reach what has this name.
fn is_learned(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or_default();
    !["weight_u", "weight_v", "running_mean", "running_var"].contains(&name)
}

impl Network {
    /// The state in `checkpoint`, whose names and shapes are `shapes`.
    pub(super) fn new(gpu: &Gpu, shapes: &BTreeMap<String, Vec<usize>>, checkpoint: &Checkpoint) -> Result<Network> {
        let (mut state, mut second_moments) = (Tensors::new(), Tensors::new());
        let mut counts = (Vec::new(), 0);
        for (key, shape) in shapes {
            let array = checkpoint.get(key).filter(|array| array.shape() == shape);
            if key.ends_with(COUNT) {
                counts.0.push(key.clone());
                counts.1 = array.map_or(Ok(0), |array| array.to_f64().map(|count| count[0] as i64))?;
                continue;
            }
            let array = array.ok_or_else(|| Error::StateDict(format!("no tensor '{key}' of shape {shape:?}")))?;
            state.insert(key.clone(), Tensor::new(gpu, shape, &array.to_f32()?)?);
            if is_learned(key) {
                second_moments.insert(key.clone(), Tensor::new(gpu, shape, &vec![0.0; array.numel()])?);
            }
        }
        Ok(Network { state, second_moments, counts })
    }

    /// The same with other second moments.
    pub(super) fn with_second_moments(mut self, gpu: &Gpu, moments: &Checkpoint) -> Result<Network> {
        for (key, tensor) in &mut self.second_moments {
            let array = moments.get(key).filter(|array| *array.shape() == *tensor.shape());
            let array = array.ok_or_else(|| Error::StateDict(format!("no second moment of '{key}' of its shape")))?;
            *tensor = Tensor::new(gpu, &tensor.shape(), &array.to_f32()?)?;
        }
        Ok(self)
    }

    /// What is learned, as leaves of the tape.
    pub(super) fn leaves(&self) -> Tensors {
        self.second_moments.keys().map(|key| (key.clone(), self.state[key].requires_grad())).collect()
    }

    /// Gives the state, for a network to be assembled from, with `leaves` in place of what is learned.
    pub(super) fn with<'a>(&'a self, leaves: &'a Tensors) -> impl FnMut(&str, &[usize]) -> Result<Tensor> + 'a {
        |key, _| Ok(leaves.get(key).unwrap_or_else(|| &self.state[key]).clone())
    }

    /// Gives the state, for a network that does not learn.
    pub(super) fn frozen(&self) -> impl FnMut(&str, &[usize]) -> Result<Tensor> + '_ {
        |key, _| Ok(self.state[key].clone())
    }

    /// One round of power iteration for each weight with spectral norm, as each forward pass in training begins with.
    pub(super) fn power_iteration(&mut self) -> Result<()> {
        let weights: Vec<_> = self.state.keys().filter_map(|key| key.strip_suffix("orig").map(str::to_owned)).collect();
        for base in weights {
            let [weight, u, v] = ["orig", "u", "v"].map(|name| format!("{base}{name}"));
            let (next_u, next_v) = power_iteration(&self.state[&weight], &self.state[&u], &self.state[&v])?;
            self.state.insert(u, next_u);
            self.state.insert(v, next_v);
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
