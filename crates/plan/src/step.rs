//! The kinds of steps.

use crate::{BufferId, Convolution, ModulationTable, Plan, Pool, Statistics};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Scale and shift for each distinct window of a label map.
    Table(ModulationTable),
    /// A plane of noise.
    Noise(NoisePlane),
    /// Means and deviations.
    Statistics(Statistics),
    /// A convolution and all that happens where it loads and stores.
    Convolution(Convolution),
    /// A pooling and all that happens where it loads.
    Pool(Pool),
}

/// One plane of Gaussian noise an image.
#[derive(Clone, Debug, PartialEq)]
pub struct NoisePlane {
    /// Which stream of the seed.
    pub stream: u32,
    /// Elements, N H W.
    pub elements: usize,
    /// (2) uint32: the seed, its low half first.
    pub seed: BufferId,
    /// (N, H, W).
    pub output: BufferId,
}

impl Step {
    /// What it is called in the network.
    pub fn name(&self) -> String {
        match self {
            Step::Table(step) => step.norm.clone(),
            Step::Noise(step) => format!("noise {}", step.stream),
            Step::Statistics(step) => step.norm.clone(),
            Step::Convolution(step) => step.name.clone(),
            Step::Pool(step) => step.name.clone(),
        }
    }

    /// Every buffer that it writes.
    pub fn writes(&self) -> Vec<BufferId> {
        match self {
            Step::Table(t) => [t.output].into_iter().chain(t.hidden).chain(t.taps).collect(),
            Step::Noise(n) => vec![n.output],
            Step::Statistics(s) => [s.output].into_iter().chain(s.partial).collect(),
            Step::Convolution(c) => [c.output].into_iter().chain(c.scratch).collect(),
            Step::Pool(p) => vec![p.output],
        }
    }

    /// Every buffer that it reads, but for what it has written itself.
    pub fn reads(&self) -> Vec<BufferId> {
        match self {
            Step::Table(t) => vec![t.patches, t.index],
            Step::Noise(n) => vec![n.seed],
            Step::Statistics(s) => s.input.buffers().chain(s.mask).collect(),
            Step::Convolution(c) => c.input.buffers().collect(),
            Step::Pool(p) => p.input.buffers().collect(),
        }
    }

    /// Every buffer that it reads or writes.
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
        }
    }

    /// Bytes that it reads and writes, each once: operands, weights, results. What a core keeps in its cache is not counted.
    pub fn bytes_moved(&self, plan: &Plan) -> u64 {
        match self {
            Step::Table(t) => t.bytes_moved(plan),
            Step::Noise(n) => plan.bytes(n.output),
            Step::Statistics(s) => s.bytes_moved(plan),
            Step::Convolution(c) => c.bytes_moved(plan),
            Step::Pool(p) => p.bytes_moved(plan),
        }
    }
}
