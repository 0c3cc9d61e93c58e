//! Reverse-mode differentiation: every operation leaves a closure that pulls a gradient back through it.

use crate::{Error, Kernel, Result, Shape, Tensor, Work};
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Backward = Box<dyn Fn(&Tensor) -> Result<Pulled> + Send + Sync>;

/// What a gradient becomes, pulled back through an operation.
struct Pulled {
    /// Of each parent.
    parents: Vec<Option<Tensor>>,
    /// Of leaves that the operation used besides.
    leaves: Gradients,
}

/// A tensor on the tape: how it was made, and not its data, which a closure holds on to if it needs it.
pub(crate) struct Variable {
    id: u64,
    shape: Shape,
    /// How it was made; `None` for a leaf.
    node: Option<Node>,
}

struct Node {
    /// `None` for those that are not tracked.
    parents: Vec<Option<Arc<Variable>>>,
    /// `None` only while the node is being dropped.
    backward: Option<Backward>,
}

impl Variable {
    pub(crate) fn leaf(shape: Shape) -> Variable {
        Variable::new(shape, None)
    }

    fn new(shape: Shape, node: Option<Node>) -> Variable {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Variable { id: NEXT.fetch_add(1, Ordering::Relaxed), shape, node }
    }

    fn parents(&self) -> impl Iterator<Item = &Arc<Variable>> {
        self.node.iter().flat_map(|node| node.parents.iter().flatten())
    }
}

impl Drop for Node {
    /// Takes long chains apart in a loop: dropping them link by link would recurse as deep as they are long.
    fn drop(&mut self) {
        // The closure first: as long as it holds a parent, too, that one does not come apart below.
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

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(true) };
}

/// Runs `f` without recording on the tape: what it computes is not tracked, on this thread.
pub fn no_grad<T>(f: impl FnOnce() -> T) -> T {
    recording(false, f)
}

fn recording<T>(on: bool, f: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            RECORDING.set(self.0);
        }
    }
    let _restore = Restore(RECORDING.replace(on));
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
        self.with_node(parents, move |dy| Ok(Pulled { parents: backward(dy)?, leaves: Gradients::default() }))
    }

    /// `f(self)`, of which nothing is kept for the gradient but `self`: pulling it back computes `f(self)` once more, and
    /// then goes back through that (gradient checkpointing, Chen et al. 2016). What `f` uses besides `self` gets its gradient,
    /// too. `f` must compute the same each time; it is told which time it is.
    ///
    /// # Errors
    /// What `f` reports.
    pub fn checkpoint(&self, f: impl Fn(&Tensor, Pass) -> Result<Tensor> + Send + Sync + 'static) -> Result<Tensor> {
        if !RECORDING.get() || !self.is_tracked() {
            return f(self, Pass::First);
        }
        let y = no_grad(|| f(self, Pass::First))?;
        let x = self.detach();
        let pull = move |dy: &Tensor| {
            let x = x.requires_grad();
            let y = recording(true, || f(&x, Pass::Again))?;
            let mut leaves = y.backward(dy)?;
            Ok(Pulled { parents: vec![leaves.take(&x)], leaves })
        };
        Ok(y.with_node(&[self], pull))
    }

    fn with_node(
        self,
        parents: &[&Tensor],
        backward: impl Fn(&Tensor) -> Result<Pulled> + Send + Sync + 'static,
    ) -> Tensor {
        let parents = parents.iter().map(|parent| parent.0.variable.clone()).collect();
        let node = Node { parents, backward: Some(Box::new(backward)) };
        self.with_variable(Variable::new(self.shape(), Some(node)))
    }

    /// The gradients of `<self, cotangent>` with respect to every leaf that [requires one](Tensor::requires_grad).
    ///
    /// Takes `self`, so that what it was computed from is given back as soon as the gradient has passed it, but for what the
    /// caller holds clones of. To go back a second time, keep a clone.
    ///
    /// # Errors
    /// [`Error::Shape`] where the cotangent's shape is not that of `self`, [`Error::Argument`] where `self` was computed
    /// from nothing that requires a gradient; whatever the operations report.
    pub fn backward(self, cotangent: &Tensor) -> Result<Gradients> {
        cotangent.shape().check("backward", "cotangent", &self.shape())?;
        let Some(root) = self.0.variable.clone() else {
            return Err(Error::argument("backward", "self", "untracked", "computed from a tensor that requires_grad"));
        };
        drop(self);
        let mut gradients = Gradients::default();
        gradients.add(&root, cotangent.detach())?;
        let mut order = topological_order(root);
        while let Some(variable) = order.pop() {
            let Some(Node { parents, backward: Some(backward) }) = &variable.node else { continue };
            let Some(dy) = gradients.of.remove(&variable.id) else { continue };
            // A closure may use operations on what it saved, which is tracked.
            let pulled = no_grad(|| backward(&dy))?;
            drop(dy);
            let count = pulled.parents.len();
            assert_eq!(count, parents.len(), "a backward closure returns a gradient, or None, for each parent");
            for (parent, gradient) in parents.iter().zip(pulled.parents) {
                if let (Some(parent), Some(gradient)) = (parent, gradient) {
                    gradients.add(parent, gradient)?;
                }
            }
            gradients.accumulate(pulled.leaves)?;
        }
        Ok(gradients)
    }
}

/// Whether a [checkpointed](Tensor::checkpoint) computation runs for its result, or again for its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// For its result.
    First,
    /// For its gradient.
    Again,
}

/// Everything that `root` was computed from, parents before children.
fn topological_order(root: Arc<Variable>) -> Vec<Arc<Variable>> {
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

/// Gradients by leaf.
#[derive(Default, Debug)]
pub struct Gradients {
    of: BTreeMap<u64, Tensor>,
}

impl Gradients {
    /// The gradient of `leaf`, or `None` where nothing depended on it.
    pub fn get(&self, leaf: &Tensor) -> Option<&Tensor> {
        self.of.get(&leaf.0.variable.as_ref()?.id)
    }

    /// Takes the gradient of `leaf` out, or `None` where nothing depended on it.
    pub fn take(&mut self, leaf: &Tensor) -> Option<Tensor> {
        self.of.remove(&leaf.0.variable.as_ref()?.id)
    }

    /// Adds the gradients of another backward pass over the same leaves, as for a batch in several parts.
    ///
    /// # Errors
    /// What the device reports.
    pub fn accumulate(&mut self, other: Gradients) -> Result<()> {
        other.of.into_iter().try_for_each(|(id, gradient)| self.add_to(id, gradient))
    }

    fn add(&mut self, variable: &Variable, gradient: Tensor) -> Result<()> {
        gradient.shape().check("backward", "gradient", &variable.shape)?;
        self.add_to(variable.id, gradient)
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
    const SOURCE: &[&str] = &[alias_shaders::ACCUMULATE, alias_shaders::shared::GRID];
    static ACCUMULATE: Kernel = Kernel::new("accumulate", SOURCE, "accumulate");
    let sum = Tensor::empty(a.gpu(), &a.shape())?;
    let n = a.numel();
    a.gpu().launch(&ACCUMULATE, &(n as u32), &[a, b], &[&sum], Work::threads(n).flops(n as u64))?;
    Ok(sum)
}
