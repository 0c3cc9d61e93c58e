//! The cost of a plan.

use super::choice::Target;
use super::conditioning::Conditioning;
use super::lowering::{PlanOptions, lower};
use super::weights;
use crate::Result;
use crate::network::Network;
use alias_plan::{Memory, Plan, Step};

/// The cost of running a network once.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::plan::BufferId;
/// use alias_model::{Conditioning, Cost, PlanOptions, Target, Vgg19Config};
///
/// let network = Vgg19Config { divisor: 16 }.network()?;
/// let cost = Cost::new(&network, &Conditioning::size(1, 64, 64), PlanOptions::default(), &Target::GUARANTEED)?;
/// for step in &cost.plan.steps {
///     println!("{:12} {:>10} operations", step.name(), step.flops());
/// }
/// let separate: u64 = (0..cost.plan.buffers.len()).map(|at| cost.plan.bytes(BufferId(at))).sum();
/// assert!(cost.memory.total() < separate); // buffers with disjoint lifetimes share memory
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cost {
    /// The plan.
    pub plan: Plan,
    /// The memory layout of its buffers.
    pub memory: Memory,
    /// Bytes of the weights on the device.
    pub weight_bytes: u64,
    /// Bytes of the largest binding: a buffer or a weight.
    pub largest_binding: u64,
}

impl Cost {
    /// The cost of `network` on `target`. Needs no device.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if the network cannot take inputs of this size;
    /// [`Error::Config`](crate::Error::Config) if plans do not support a layer.
    pub fn new(network: &Network, conditioning: &Conditioning, options: PlanOptions, target: &Target) -> Result<Cost> {
        Ok(Cost::of(lower(network, conditioning, options, target)?.plan, network, target))
    }

    pub(super) fn of(plan: Plan, network: &Network, target: &Target) -> Cost {
        let memory = Memory::assign(&plan);
        let weights = weights::bytes(network, target);
        let bound = plan.steps.iter().flat_map(Step::buffers).map(|buffer| plan.bytes(buffer));
        let largest_binding = bound.chain(weights.iter().copied()).max().unwrap_or(0);
        Cost { weight_bytes: weights.iter().sum(), largest_binding, memory, plan }
    }

    /// Bytes on the device: weights and buffers.
    pub fn device_bytes(&self) -> u64 {
        self.weight_bytes + self.memory.total()
    }

    /// Number of kernel launches on a GPU.
    pub fn launches(&self) -> usize {
        self.plan.steps.iter().map(alias_kernels::plan::launches).sum()
    }
}
