//! The kinds of steps in a plan.

use crate::{BufferId, Convolution, Correlation, L2Normalization, Linear, ModulationTable, Plan, Pool, Statistics};

/// A step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// SPADE's scale and shift for each distinct 5x5 window of a label map.
    Table(ModulationTable),
    /// A plane of noise.
    Noise(NoisePlane),
    /// The statistics of instance norm or mask norm.
    Statistics(Statistics),
    /// A convolution, with all that happens when it loads and stores.
    Convolution(Convolution),
    /// A pooling, with all that happens when it loads.
    Pool(Pool),
    /// A linear layer, likewise.
    Linear(Linear),
    /// L2 normalization over channels.
    L2Normalization(L2Normalization),
    /// The correlation of two feature maps.
    Correlation(Correlation),
}

/// A plane of Gaussian noise for each image of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct NoisePlane {
    /// The stream of the seed, as in [`philox::normal`](crate::philox::normal).
    pub stream: u32,
    /// Elements, N H W.
    pub elements: usize,
    /// (2) uint32: the seed, low half first.
    pub seed: BufferId,
    /// (N, H, W): the noise.
    pub output: BufferId,
}

impl Step {
    /// Its name in the network.
    pub fn name(&self) -> String {
        match self {
            Step::Table(step) => step.norm.clone(),
            Step::Noise(step) => format!("noise {}", step.stream),
            Step::Statistics(step) => step.norm.clone(),
            Step::Convolution(step) => step.name.clone(),
            Step::Pool(step) => step.name.clone(),
            Step::Linear(step) => step.name.clone(),
            Step::L2Normalization(step) => step.name.clone(),
            Step::Correlation(step) => step.name.clone(),
        }
    }

    /// The buffers that it writes.
    pub fn writes(&self) -> Vec<BufferId> {
        match self {
            Step::Table(t) => [t.output].into_iter().chain(t.hidden).chain(t.taps).collect(),
            Step::Noise(n) => vec![n.output],
            Step::Statistics(s) => [s.output].into_iter().chain(s.partial).collect(),
            Step::Convolution(c) => [c.output].into_iter().chain(c.scratch).collect(),
            Step::Pool(p) => vec![p.output],
            Step::Linear(l) => vec![l.output],
            Step::L2Normalization(l) => [l.output].into_iter().chain(l.lengths).collect(),
            Step::Correlation(c) => vec![c.output],
        }
    }

    /// The buffers that it reads, except those that it has written itself.
    pub fn reads(&self) -> Vec<BufferId> {
        match self {
            Step::Table(t) => vec![t.patches, t.index],
            Step::Noise(n) => vec![n.seed],
            Step::Statistics(s) => s.input.buffers().chain(s.mask).collect(),
            Step::Convolution(c) => c.input.buffers().collect(),
            Step::Pool(p) => p.input.buffers().collect(),
            Step::Linear(l) => l.input.buffers().collect(),
            Step::L2Normalization(l) => l.input.buffers().collect(),
            Step::Correlation(c) => c.input.buffers().collect(),
        }
    }

    /// All buffers that it reads or writes.
    pub fn buffers(&self) -> impl Iterator<Item = BufferId> {
        self.reads().into_iter().chain(self.writes())
    }

    /// Floating-point operations that are executed.
    pub fn flops(&self) -> u64 {
        match self {
            Step::Table(t) => t.flops(),
            Step::Noise(n) => 30 * n.elements as u64,
            Step::Statistics(s) => s.flops(),
            Step::Convolution(c) => c.flops(),
            Step::Pool(p) => p.flops(),
            Step::Linear(l) => l.flops(),
            Step::L2Normalization(l) => l.flops(),
            Step::Correlation(c) => c.flops(),
        }
    }

    /// Bytes of the operands and weights that it reads and the results that it writes, each counted once. Intermediate
    /// results count if they are stored in buffers.
    pub fn bytes_moved(&self, plan: &Plan) -> u64 {
        match self {
            Step::Table(t) => t.bytes_moved(plan),
            Step::Noise(n) => plan.bytes(n.output),
            Step::Statistics(s) => s.bytes_moved(plan),
            Step::Convolution(c) => c.bytes_moved(plan),
            Step::Pool(p) => p.bytes_moved(plan),
            Step::Linear(l) => l.bytes_moved(plan),
            Step::L2Normalization(l) => l.bytes_moved(plan),
            Step::Correlation(c) => c.bytes_moved(plan),
        }
    }
}
