//! What a forward pass holds: its inputs, what it shares with others, and what later layers still need.

use super::feed::Feed;
use super::norm::ScaleAndShift;
use crate::Noise;
use crate::network::{Layer, Network, Source, Value};
use alias_kernels::resize;
use alias_tensor::{Tensor, enable_grad};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How the tape computes SPADE's scale and shift. Results are equal up to rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpadeMethod {
    /// For each distinct window of the label map, at resolutions where that is less work than at each pixel.
    #[default]
    Table,
    /// At each pixel, as in PyTorch.
    Dense,
}

/// What all layers of a forward pass share.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) feeds: Vec<Feed>,
    pub(super) noise: Noise,
    pub(super) spade: SpadeMethod,
    pub(super) shared: Option<SharedConditions>,
}

impl Forward {
    /// Input `input` at another size.
    pub(super) fn resized(&self, scope: &mut Scope, input: usize, size: [usize; 2]) -> alias_tensor::Result<Tensor> {
        let make = || resize(self.feeds[input].dense(), size[0], size[1]);
        match &self.shared {
            Some(shared) => known_or(&mut shared.lock().resized, (input, size), || enable_grad(make)),
            None => known_or(&mut scope.resized, (input, size), make),
        }
    }
}

/// The tensor that is known by `key`; `make` makes it the first time.
fn known_or(
    known: &mut Resized,
    key: (usize, [usize; 2]),
    make: impl FnOnce() -> alias_tensor::Result<Tensor>,
) -> alias_tensor::Result<Tensor> {
    if let Some(known) = known.get(&key) {
        return Ok(known.clone());
    }
    let made = make()?;
    known.insert(key, made.clone());
    Ok(made)
}

/// What a network makes of its inputs and of SPADE's weights alone: SPADE's scales and shifts, and inputs at other sizes.
/// Forward passes that have both in common share it, whatever else differs.
#[derive(Clone, Debug, Default)]
pub struct SharedConditions(Arc<Mutex<Conditions>>);

#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// By layer.
    pub(super) modulations: HashMap<usize, ScaleAndShift>,
    resized: Resized,
}

/// Inputs by their index and size.
pub(super) type Resized = HashMap<(usize, [usize; 2]), Tensor>;

impl SharedConditions {
    pub(super) fn lock(&self) -> MutexGuard<'_, Conditions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tensors that later layers of a forward pass still need.
#[derive(Default)]
pub(super) struct Scope {
    /// By layer.
    pub(super) results: HashMap<usize, Tensor>,
    /// Concatenations that more than one layer reads.
    pub(super) joined: HashMap<Vec<Source>, Tensor>,
    /// Inputs at other sizes, unless they are in a shared [`SharedConditions`].
    resized: Resized,
}

impl Scope {
    /// Drops what no layer from `at` on reads.
    pub(super) fn forget(&mut self, network: &Network, at: usize) {
        let left = &network.layers[at..];
        let is_read = |value: Value| {
            let reads = |layer: &Layer| layer.reading.sources.iter().any(|source| source.value == value);
            left.iter().any(|layer| reads(layer) || layer.add == Some(value))
        };
        self.results.retain(|&result, _| is_read(Value::Layer(result)));
        self.joined.retain(|sources, _| left.iter().any(|layer| layer.reading.sources == *sources));
    }
}
