//! Reverse-mode differentiation: every operation leaves a closure that pulls a gradient back through it.

use crate::{Error, Kernel, Result, Tensor, Work};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

type Backward = Box<dyn Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync>;

/// How a tensor was made.
pub(crate) struct Node {
    parents: Vec<Tensor>,
    /// `None` only while the node is being dropped.
    backward: Option<Backward>,
}

impl Drop for Node {
    /// Takes long chains apart in a loop: dropping them link by link would recurse as deep as they are long.
    fn drop(&mut self) {
        // The closure first: as long as it holds a parent, too, that one does not come apart below.
        self.backward = None;
        let mut orphans = std::mem::take(&mut self.parents);
        while let Some(tensor) = orphans.pop() {
            if let Some(inner) = Arc::into_inner(tensor.0)
                && let Some(mut node) = inner.node
            {
                node.backward = None;
                orphans.append(&mut node.parents);
            }
        }
    }
}

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(true) };
}

/// Runs `f` without recording on the tape: what it computes is not tracked, on this thread.
pub fn no_grad<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            RECORDING.set(self.0);
        }
    }
    let _restore = Restore(RECORDING.replace(false));
    f()
}

impl Tensor {
    /// Declares how gradients pass through the operation that made `self` from `parents`: `backward` gets the gradient
    /// of `self` and returns one for each parent, in order, of that parent's shape; `None` where there is none to give.
    ///
    /// Returns `self` unchanged where nothing is tracked. `backward` holds on to whatever it captured until the result
    /// and all that was computed from it are gone; it should capture only what it needs, and of tracked tensors only
    /// parents. What it computes for a parent that is not tracked is thrown away; it should not compute it.
    #[must_use]
    pub fn with_backward<const N: usize>(
        self,
        parents: [&Tensor; N],
        backward: impl Fn(&Tensor) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
    ) -> Tensor {
        self.with_backward_of(&parents, move |dy| backward(dy).map(Vec::from))
    }

    /// [`Tensor::with_backward`] for a number of parents that is not known beforehand.
    #[must_use]
    pub fn with_backward_of(
        self,
        parents: &[&Tensor],
        backward: impl Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
    ) -> Tensor {
        if !RECORDING.get() || !parents.iter().any(|parent| parent.is_tracked()) {
            return self;
        }
        let parents = parents.iter().map(|&parent| parent.clone()).collect();
        self.with_node(Node { parents, backward: Some(Box::new(backward)) })
    }

    /// The gradients of `<self, cotangent>` with respect to every leaf that [requires one](Tensor::requires_grad).
    ///
    /// # Errors
    /// [`Error::Shape`] where the cotangent's shape is not that of `self`, [`Error::Argument`] where `self` was computed
    /// from nothing that requires a gradient; whatever the operations report.
    pub fn backward(&self, cotangent: &Tensor) -> Result<Gradients> {
        cotangent.shape().check("backward", "cotangent", &self.shape())?;
        if !self.is_tracked() {
            return Err(Error::argument("backward", "self", "untracked", "computed from a tensor that requires_grad"));
        }
        let mut gradients = Gradients::default();
        gradients.add(self, cotangent.detach())?;
        for tensor in topological_order(self).iter().rev() {
            let Some(Node { parents, backward: Some(backward) }) = &tensor.0.node else { continue };
            let Some(dy) = gradients.of.remove(&tensor.0.id) else { continue };
            // A closure may use operations on what it saved, which is tracked.
            let pulled = no_grad(|| backward(&dy))?;
            assert_eq!(pulled.len(), parents.len(), "a backward closure returns a gradient, or None, for each parent");
            for (parent, gradient) in parents.iter().zip(pulled) {
                if let Some(gradient) = gradient.filter(|_| parent.is_tracked()) {
                    gradients.add(parent, gradient)?;
                }
            }
        }
        Ok(gradients)
    }
}

/// Everything that `root` was computed from and that is tracked, parents before children.
fn topological_order(root: &Tensor) -> Vec<Tensor> {
    let mut order = Vec::new();
    let mut seen = HashSet::new();
    let mut stack = vec![(root.clone(), false)];
    while let Some((tensor, expanded)) = stack.pop() {
        if expanded {
            order.push(tensor);
        } else if tensor.is_tracked() && seen.insert(tensor.0.id) {
            let parents: Vec<_> = tensor.0.node.iter().flat_map(|node| node.parents.iter().cloned()).collect();
            stack.push((tensor, true));
            stack.extend(parents.into_iter().map(|parent| (parent, false)));
        }
    }
    order
}

/// Gradients by leaf.
#[derive(Default, Debug)]
pub struct Gradients {
    of: HashMap<u64, Tensor>,
}

impl Gradients {
    /// The gradient of `leaf`, or `None` where nothing depended on it.
    pub fn get(&self, leaf: &Tensor) -> Option<&Tensor> {
        self.of.get(&leaf.0.id)
    }

    /// Adds the gradients of another backward pass over the same leaves, as for a batch in several parts.
    ///
    /// # Errors
    /// What the device reports.
    pub fn accumulate(&mut self, other: Gradients) -> Result<()> {
        other.of.into_iter().try_for_each(|(id, gradient)| self.add_to(id, gradient))
    }

    fn add(&mut self, tensor: &Tensor, gradient: Tensor) -> Result<()> {
        gradient.shape().check("backward", "gradient", &tensor.shape())?;
        self.add_to(tensor.0.id, gradient)
    }

    fn add_to(&mut self, id: u64, gradient: Tensor) -> Result<()> {
        let sum = match self.of.remove(&id) {
            Some(so_far) => accumulate(&so_far, &gradient)?,
            None => gradient,
        };
        self.of.insert(id, sum);
        Ok(())
    }
}

/// `a + b` in a new tensor: either may also be the gradient of another one.
fn accumulate(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const SOURCE: &str =
        concat!(include_str!("../../../shaders/accumulate.wgsl"), include_str!("../../../shaders/shared/grid.wgsl"));
    static ACCUMULATE: Kernel = Kernel::new("accumulate", SOURCE, "accumulate");
    let sum = Tensor::empty(a.gpu(), &a.shape())?;
    let n = a.numel();
    a.gpu().launch(&ACCUMULATE, &(n as u32), &[a, b], &[&sum], Work::threads(n).flops(n as u64))?;
    Ok(sum)
}
