//! Reverse-mode differentiation: every operation leaves a closure that pulls a gradient back through it.

use crate::graph::{Node, Pulled, Variable, topological_order};
use crate::{Error, Kernel, OnCores, Result, Shape, Tensor, Work};
use alias_cpu::{Cpu, map};
use std::cell::Cell;
use std::collections::BTreeMap;

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(true) };
}

/// Runs `f` without recording on the tape: tensors that it computes on this thread are not tracked.
pub fn no_grad<T>(f: impl FnOnce() -> T) -> T {
    recording(false, f)
}

/// Runs `f` with recording on the tape, even within [`no_grad`].
pub fn enable_grad<T>(f: impl FnOnce() -> T) -> T {
    recording(true, f)
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
    /// Declares the gradient of the operation that computed `self` from `parents`: `backward` gets the gradient of
    /// `self` and returns one for each parent, in order and of that parent's shape, or `None` where there is none.
    ///
    /// Returns `self` unchanged if no parent is tracked. What `backward` captures is kept until the result and
    /// everything computed from it are dropped, so it should capture only what it needs, and no tracked tensors other
    /// than parents. A gradient for a parent that is not tracked is thrown away; `backward` should not compute it.
    #[must_use]
    pub fn with_backward<const N: usize>(
        self,
        parents: [&Tensor; N],
        backward: impl Fn(&Tensor) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
    ) -> Tensor {
        self.with_backward_of(&parents, move |dy| backward(dy).map(Vec::from))
    }

    /// [`Tensor::with_backward`] for any number of parents.
    #[must_use]
    pub fn with_backward_of(
        self,
        parents: &[&Tensor],
        backward: impl Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
    ) -> Tensor {
        if !RECORDING.get() || !parents.iter().any(|parent| parent.is_tracked()) {
            return self;
        }
        self.with_node(parents, move |dy| Ok(Pulled { parents: backward(dy)?, leaves: BTreeMap::new() }))
    }

    /// `f(self)`, keeping only `self` for the backward pass, which computes `f(self)` a second time and goes back
    /// through that (gradient checkpointing, Chen et al. 2016). Other tensors that `f` uses get their gradients as
    /// well. `f` must compute the same both times; the [`Pass`] tells it which time it is.
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
            let y = enable_grad(|| f(&x, Pass::Again))?;
            let mut leaves = y.backward(dy)?;
            Ok(Pulled { parents: vec![leaves.take(&x)], leaves: leaves.of })
        };
        Ok(y.with_node(&[self], pull))
    }

    fn with_node(
        self,
        parents: &[&Tensor],
        backward: impl Fn(&Tensor) -> Result<Pulled<Tensor>> + Send + Sync + 'static,
    ) -> Tensor {
        let parents = parents.iter().map(|parent| parent.0.variable.clone()).collect();
        let node = Node { parents, backward: Some(Box::new(backward)) };
        self.with_variable(Variable::new(self.shape(), Some(node)))
    }

    /// The same data in another shape with the same number of elements. Differentiable.
    ///
    /// # Errors
    /// [`Error::Shape`] where the number of elements differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor> {
        let (from, to) = (self.shape(), Shape::new(shape)?);
        if to.numel() != from.numel() {
            return Err(Error::shape("reshape", "x", &from, format!("as many elements as {to}")));
        }
        Ok(self.viewed_as(to).with_backward([self], move |dy| Ok([Some(dy.reshape(&from)?)])))
    }

    /// The gradients of `<self, cotangent>` with respect to every leaf that [requires one](Tensor::requires_grad).
    ///
    /// Consumes `self`, so that each intermediate tensor is freed as soon as the gradient has passed it, unless the
    /// caller holds a clone. To go back a second time, keep a clone of `self`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the cotangent's shape is not that of `self`, [`Error::Argument`] if `self` was computed from
    /// nothing that requires a gradient; whatever the operations report.
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
            // A closure may apply operations to tracked tensors that it captured; they must not be recorded.
            let pulled = no_grad(|| backward(&dy))?;
            drop(dy);
            let count = pulled.parents.len();
            assert_eq!(count, parents.len(), "a backward closure returns a gradient, or None, for each parent");
            for (parent, gradient) in parents.iter().zip(pulled.parents) {
                if let (Some(parent), Some(gradient)) = (parent, gradient) {
                    gradients.add(parent, gradient)?;
                }
            }
            gradients.accumulate(Gradients { of: pulled.leaves })?;
        }
        Ok(gradients)
    }
}

/// Which time a [checkpointed](Tensor::checkpoint) computation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The first time, for its result.
    First,
    /// The second time, for its gradient.
    Again,
}

/// Gradients by leaf.
#[derive(Default, Debug)]
pub struct Gradients {
    of: BTreeMap<u64, Tensor>,
}

impl Gradients {
    /// The gradient of `leaf`, or `None` if the result does not depend on it.
    pub fn get(&self, leaf: &Tensor) -> Option<&Tensor> {
        self.of.get(&leaf.0.variable.as_ref()?.id)
    }

    /// Removes and returns the gradient of `leaf`, or `None` if the result does not depend on it.
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

    fn add(&mut self, variable: &Variable<Tensor>, gradient: Tensor) -> Result<()> {
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

/// `a + b` in a new tensor, since either may also be the gradient of another variable.
fn accumulate(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const SOURCE: &[&str] = &[alias_shaders::ACCUMULATE, alias_shaders::shared::GRID];
    static ACCUMULATE: Kernel<OnCores<u32, 2, 1>> = Kernel::new("accumulate", SOURCE, "accumulate").on_cores(add);
    fn add(cpu: &Cpu, _: &u32, x: [&[f32]; 2], sum: [&mut [f32]; 1]) {
        map(cpu, x, sum, |[a, b]| [a + b]);
    }
    let sum = Tensor::empty(a.device(), &a.shape())?;
    let n = a.numel();
    a.device().launch(&ACCUMULATE, &(n as u32), &[a, b], &[&sum], Work::threads(n).flops(n as u64))?;
    Ok(sum)
}
