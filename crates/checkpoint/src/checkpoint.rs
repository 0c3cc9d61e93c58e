//! Named tensors.

use crate::array::Array;
use std::collections::BTreeMap;

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

    /// Removes the prefix `module.` if all names have it: `DataParallel` wraps the model in an attribute of that name.
    pub(crate) fn strip_data_parallel(&mut self) {
        const PREFIX: &str = "module.";
        if self.keys().all(|name| name.starts_with(PREFIX)) {
            self.tensors = std::mem::take(&mut self.tensors)
                .into_iter()
                .map(|(name, array)| (name[PREFIX.len()..].to_owned(), array))
                .collect();
        }
    }
}
