//! The state of a network in training.

use crate::{Error, Result};
use alias_checkpoint::{Array, Checkpoint, Dtype};
use alias_kernels::Adam;
use alias_model::network::{Network, Parameter, ParameterKind};
use alias_tensor::{Device, Gradients, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// Tensors by their names in the state dict.
pub(super) type Tensors = BTreeMap<String, Tensor>;

/// A network's state dict on a device, with Adam's second moments. Tensors are replaced, never written to, so clones
/// share them.
#[derive(Clone, Debug)]
pub(super) struct TrainedWeights {
    /// The state dict without batch norm's counts. Learned parameters are parts of those of their group.
    state: Tensors,
    /// The learned parameters.
    groups: Vec<Group>,
    /// The keys of batch norm's counts, and their common value.
    counts: (Vec<String>, i64),
}

/// Learned parameters side by side in one tensor, which Adam updates at once. A group is small beside the network, since
/// two of it are held while it is updated.
#[derive(Clone, Debug)]
struct Group {
    members: Vec<Member>,
    parameters: Tensor,
    /// Adam's, at the places of the parameters.
    second_moments: Tensor,
}

#[derive(Clone, Debug)]
struct Member {
    key: String,
    shape: Vec<usize>,
    /// The index of its first element.
    start: usize,
}

/// Elements of a group, unless a single parameter has more: 32 MiB.
const GROUP: usize = 8 << 20;

impl Group {
    /// The tensor of a member in one of all members.
    fn part(of: &Tensor, member: &Member) -> alias_tensor::Result<Tensor> {
        of.part(member.start, &member.shape)
    }
}

/// Whether Adam moves a parameter: not one that no layer reads, which has no gradient.
fn is_moved(network: &Network) -> impl Fn(&Parameter) -> bool + use<> {
    let unused: BTreeSet<String> = network.unused_parameters().into_iter().map(|unused| unused.key).collect();
    move |parameter| parameter.kind.is_learned() && !unused.contains(&parameter.key)
}

/// The parameters of `network` that Adam moves, in groups.
fn group(network: &Network) -> Vec<Vec<Member>> {
    let (mut groups, mut end): (Vec<Vec<Member>>, _) = (Vec::new(), 0);
    for Parameter { key, shape, .. } in network.parameters().into_iter().filter(is_moved(network)) {
        let numel: usize = shape.iter().product();
        if groups.is_empty() || end + numel > GROUP {
            groups.push(Vec::new());
            end = 0;
        }
        let start = end;
        end = (start + numel).next_multiple_of(Tensor::ALIGNMENT);
        groups.last_mut().expect("there is one").push(Member { key, shape, start });
    }
    groups
}

/// One tensor of the `values` of all members.
fn upload(device: &Device, members: &[Member], values: impl Fn(&Member) -> Result<Vec<f32>>) -> Result<Tensor> {
    let mut all = Vec::new();
    for member in members {
        all.resize(member.start, 0.0);
        all.extend(values(member)?);
    }
    Ok(Tensor::new(device, &[all.len()], &all)?)
}

/// The values of a tensor of this shape in `checkpoint`, which `what` describes.
fn values(checkpoint: &Checkpoint, key: &str, shape: &[usize], what: &str) -> Result<Vec<f32>> {
    let array = checkpoint.get(key).filter(|array| *array.shape() == *shape);
    let array =
        array.ok_or_else(|| Error::DamagedTraining { what: format!("no {what} '{key}' of shape {shape:?}") })?;
    Ok(array.to_f32()?)
}

impl TrainedWeights {
    /// The state in `checkpoint`, with the second moments in `moments`, or with zeros.
    pub(super) fn new(
        device: &Device,
        network: &Network,
        checkpoint: &Checkpoint,
        moments: Option<&Checkpoint>,
    ) -> Result<TrainedWeights> {
        let mut state = Tensors::new();
        let mut counts = (Vec::new(), 0);
        let is_moved = is_moved(network);
        for parameter in network.parameters().into_iter().filter(|parameter| !is_moved(parameter)) {
            let Parameter { key, shape, kind } = parameter;
            if kind == ParameterKind::BatchCount {
                let array = checkpoint.get(&key).filter(|array| *array.shape() == *shape);
                counts.1 = array.map_or(Ok(0), |array| array.to_f64().map(|count| count[0] as i64))?;
                counts.0.push(key);
            } else {
                let tensor = Tensor::new(device, &shape, &values(checkpoint, &key, &shape, "tensor")?)?;
                state.insert(key, tensor);
            }
        }
        let groups = group(network).into_iter().map(|members| {
            let parameters =
                upload(device, &members, |Member { key, shape, .. }| values(checkpoint, key, shape, "tensor"))?;
            let second_moments = upload(device, &members, |Member { key, shape, .. }| match moments {
                Some(moments) => values(moments, key, shape, "second moment of"),
                None => Ok(vec![0.0; shape.iter().product()]),
            })?;
            Ok(Group { members, parameters, second_moments })
        });
        let groups = groups.collect::<Result<Vec<Group>>>()?;
        for Group { members, parameters, .. } in &groups {
            for member in members {
                state.insert(member.key.clone(), Group::part(parameters, member)?);
            }
        }
        Ok(TrainedWeights { state, groups, counts })
    }

    /// The learned parameters as leaves of the tape.
    pub(super) fn leaves(&self) -> Tensors {
        let members = self.groups.iter().flat_map(|group| &group.members);
        members.map(|Member { key, .. }| (key.clone(), self.state[key].requires_grad())).collect()
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

    /// Stores what training moves without a gradient.
    pub(super) fn take_moved(&mut self, moved: Vec<(String, Tensor)>) {
        self.state.extend(moved);
    }

    /// Counts forward passes, as batch norm does.
    pub(super) fn count_forwards(&mut self, forwards: usize) {
        self.counts.1 += forwards as i64;
    }

    /// One step of Adam on all learned parameters, whose gradients are shown to `tap`. Each group's old weights and
    /// gradients are freed before the next group's turn.
    ///
    /// # Panics
    /// If a parameter has no gradient.
    pub(super) fn update(
        &mut self,
        adam: &Adam,
        mut leaves: Tensors,
        mut gradients: Gradients,
        mut tap: impl FnMut(&str, &Tensor),
    ) -> Result<()> {
        for Group { members, parameters, second_moments } in &mut self.groups {
            let mut of_members = Vec::new();
            for member in &*members {
                let leaf = leaves.remove(&member.key);
                let gradient = leaf.and_then(|leaf| gradients.take(&leaf));
                let gradient = gradient.unwrap_or_else(|| panic!("no loss depends on {}", member.key));
                tap(&member.key, &gradient);
                of_members.push((member.start, gradient));
            }
            let parts: Vec<_> = of_members.iter().map(|(start, gradient)| (*start, gradient)).collect();
            (*parameters, *second_moments) = adam.update_parts(parameters, &parts, second_moments)?;
            for member in &*members {
                self.state.insert(member.key.clone(), Group::part(parameters, member)?);
            }
        }
        Ok(())
    }

    /// Adam's second moments, by the keys of their parameters.
    pub(super) fn second_moments(&self) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint::new();
        for Group { members, second_moments, .. } in &self.groups {
            for member in members {
                let moments = Group::part(second_moments, member)?.to_vec()?;
                checkpoint.insert(&member.key, Array::from_f32(&member.shape, &moments));
            }
        }
        Ok(checkpoint)
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
