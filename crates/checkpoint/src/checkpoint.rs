//! Named tensors.

use crate::array::Array;
use crate::error::{CheckpointError, Problem, clip};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// How many names show that a prefix is a state dict's. Fewer may be chance: other networks have blocks with a `conv_0`
/// too.
const ENOUGH: usize = 5;

/// Named tensors, in the order of their names, and metadata.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    pub(crate) tensors: BTreeMap<String, Array>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Checkpoint {
    /// A checkpoint without tensors.
    #[must_use]
    pub fn new() -> Checkpoint {
        Checkpoint::default()
    }

    /// The tensor called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.tensors.get(name)
    }

    /// Adds a tensor. Returns the tensor that it replaces, if there was one of this name.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Array) -> Option<Array> {
        self.tensors.insert(name.into(), tensor)
    }

    /// All tensors with their names, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.tensors.iter().map(|(name, array)| (&**name, array))
    }

    /// The names of all tensors, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(|name| &**name)
    }

    /// The tensors whose names begin with `prefix`, which is removed from the names.
    #[must_use]
    pub fn part(&self, prefix: &str) -> Checkpoint {
        let named = self.tensors.iter().filter_map(|(name, array)| Some((name.strip_prefix(prefix)?, array)));
        let tensors = named.map(|(name, array)| (name.to_owned(), array.clone())).collect();
        Checkpoint { tensors, metadata: BTreeMap::new() }
    }

    /// The number of tensors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The metadata: texts by key. Only safetensors files have any.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The metadata, to be changed before writing.
    pub fn metadata_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.metadata
    }

    /// The part of the checkpoint that is the state dict of a network with parameters of these `names`: those tensors
    /// whose names are the network's after one prefix, which is removed. All of the checkpoint where no prefix is needed
    /// or none fits. A training's checkpoint may hold losses, averages and other networks beside it, and any class that
    /// the network is an attribute of adds a prefix, such as `netG.` or `generator.`.
    ///
    /// ```
    /// use alias_checkpoint::{Array, Checkpoint};
    ///
    /// let one = Array::from_f32(&[1], &[1.0]);
    /// let mut checkpoint = Checkpoint::new();
    /// for name in ["loss", "net.conv.weight", "net.conv.bias"] {
    ///     checkpoint.insert(name, one.clone());
    /// }
    /// let state_dict = checkpoint.state_dict(["conv.weight", "conv.bias"])?;
    /// assert!(state_dict.keys().eq(["conv.bias", "conv.weight"]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If several prefixes fit equally well, as where a file holds a network and its average.
    pub fn state_dict<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Cow<'_, Checkpoint>, CheckpointError> {
        let names: BTreeSet<_> = names.into_iter().collect();
        // How many of the names there are after each prefix.
        let mut counts = BTreeMap::<&str, usize>::new();
        for key in self.keys() {
            // A prefix ends anywhere: names such as `netG_conv.weight` have no dot.
            let splits = key.char_indices().map(|(at, _)| key.split_at(at));
            for (prefix, _) in splits.filter(|(_, name)| names.contains(name)) {
                *counts.entry(prefix).or_default() += 1;
            }
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let best: Vec<_> = counts.into_iter().filter(|&(_, count)| count == most).map(|(prefix, _)| prefix).collect();
        match *best {
            [prefix] if !prefix.is_empty() && most >= ENOUGH.min(names.len()) => {
                Ok(Cow::Owned(Checkpoint { metadata: self.metadata.clone(), ..self.part(prefix) }))
            }
            [_, _, ..] if most >= ENOUGH => {
                let prefixes: Vec<_> = best.iter().take(8).map(|prefix| format!("'{}'", clip(prefix))).collect();
                let problem = Problem::Unsupported {
                    what: format!("the file holds several state dicts of this network, after {}", prefixes.join(", ")),
                    remedy: "re-save the one to use, as in torch.save(checkpoint['ema'], path)",
                };
                let error = self.tensors.values().next().map(|array| array.error(problem));
                Err(error.expect("names were found"))
            }
            _ => Ok(Cow::Borrowed(self)),
        }
    }
}
