//! What it takes to run a plan.

use super::choice::Target;
use super::conditioning::Conditioning;
use super::lowering::{PlanOptions, lower};
use super::weights;
use crate::Result;
use crate::network::Network;
use alias_plan::{Memory, Plan, Step};

/// What it takes to run a network once.
#[derive(Clone, Debug)]
pub struct Cost {
    /// The steps.
    pub plan: Plan,
    /// Where their buffers lie.
    pub memory: Memory,
    /// Bytes of the weights on the device.
    pub weight_bytes: u64,
    /// Bytes of the largest buffer that is bound.
    pub largest_binding: u64,
}

impl Cost {
    /// What `network` takes on `target`. Needs no device.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) where the inputs have no size for the network;
    /// [`Error::Config`](crate::Error::Config) where a layer asks for something that plans do not have.
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

    /// Kernels that a GPU launches.
    pub fn launches(&self) -> usize {
        self.plan.steps.iter().map(alias_kernels::plan::launches).sum()
    }
}
