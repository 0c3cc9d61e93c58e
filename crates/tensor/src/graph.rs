//! The graph that the tape records: which tensors a tensor was computed from, and the closures that go back.
//!
//! It is generic over the tensor `T`, which refers to its place in the graph, so that it knows nothing of tensors.

use crate::{Result, Shape};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Backward<T> = Box<dyn Fn(&T) -> Result<Pulled<T>> + Send + Sync>;

/// What a gradient becomes, pulled back through an operation.
pub(crate) struct Pulled<T> {
    /// The gradient of each parent.
    pub(crate) parents: Vec<Option<T>>,
    /// By variable, the gradients of leaves that the operation used besides its parents.
    pub(crate) leaves: BTreeMap<u64, T>,
}

/// A tensor in the graph: how it was computed. Its data is not here; a closure holds on to it if it needs it.
pub(crate) struct Variable<T> {
    pub(crate) id: u64,
    pub(crate) shape: Shape,
    /// `None` for a leaf.
    pub(crate) node: Option<Node<T>>,
}

/// An operation.
pub(crate) struct Node<T> {
    /// `None` for those that are not tracked.
    pub(crate) parents: Vec<Option<Arc<Variable<T>>>>,
    /// `None` only while the node is being dropped.
    pub(crate) backward: Option<Backward<T>>,
}

impl<T> Variable<T> {
    pub(crate) fn leaf(shape: Shape) -> Variable<T> {
        Variable::new(shape, None)
    }

    pub(crate) fn new(shape: Shape, node: Option<Node<T>>) -> Variable<T> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Variable { id: NEXT.fetch_add(1, Ordering::Relaxed), shape, node }
    }

    fn parents(&self) -> impl Iterator<Item = &Arc<Variable<T>>> {
        self.node.iter().flat_map(|node| node.parents.iter().flatten())
    }
}

impl<T> Drop for Node<T> {
    /// Takes long chains apart in a loop: dropping them link by link would recurse as deep as they are long.
    fn drop(&mut self) {
        // The closure first: while it holds a reference to a parent, the loop below cannot take that parent apart.
        self.backward = None;
        let mut orphans = std::mem::take(&mut self.parents);
        while let Some(variable) = orphans.pop() {
            if let Some(mut node) = variable.and_then(Arc::into_inner).and_then(|variable| variable.node) {
                node.backward = None;
                orphans.append(&mut node.parents);
            }
        }
    }
}

/// Everything that `root` was computed from, parents before children.
pub(crate) fn topological_order<T>(root: Arc<Variable<T>>) -> Vec<Arc<Variable<T>>> {
    let mut order = Vec::new();
    let mut seen = HashSet::new();
    let mut stack = vec![(root, false)];
    while let Some((variable, expanded)) = stack.pop() {
        if expanded {
            order.push(variable);
        } else if seen.insert(variable.id) {
            let parents: Vec<_> = variable.parents().cloned().collect();
            stack.push((variable, true));
            stack.extend(parents.into_iter().map(|parent| (parent, false)));
        }
    }
    order
}
