//! Processor cores as everything else sees them: threads and vector instructions, memory that is reused, counts.

use crate::counters::LaunchCounters;
use crate::open_device::lock;
use crate::pool::{Block, Pool, rounded};
use crate::profile::Profile;
use crate::{Counters, Error, Result};
use alias_cpu::{Aligned, Cpu, CpuOptions};
use std::sync::{Arc, Mutex};

/// Bytes by which a free block may always be too large. Without them, a network of small tensors that is run again and again
/// allocates a few each time.
const SMALL: u64 = 256 << 10;

/// The part of peak use that may be kept free besides. Half of a GPU's: what convolutions hold in caches comes on top.
const SPARE: u64 = 16;

/// Processor cores with their memory for tensors. A cheap handle: clone it freely, across threads too.
#[derive(Clone)]
pub struct Cores(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    cpu: Cpu,
    pool: Mutex<Pool<Aligned>>,
    counters: LaunchCounters,
    pub(crate) profile: Profile,
    counts_only: bool,
}

impl Cores {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`Error::Cores`] if the processor does not have the requested instructions.
    pub fn open(options: CpuOptions) -> Result<Cores> {
        Ok(Cores::from(Cpu::open(options).map_err(|e| Error::Cores(e.to_string()))?))
    }

    /// Cores that count launches and memory but compute and hold nothing: every tensor reads as zeros, whatever was
    /// written to it. Tells in a moment what a computation takes.
    #[must_use]
    pub fn counting(&self) -> Cores {
        Cores::assemble(self.0.cpu.clone(), true)
    }

    fn assemble(cpu: Cpu, counts_only: bool) -> Cores {
        Cores(Arc::new(Inner {
            cpu,
            pool: Mutex::new(Pool::new(SPARE)),
            counters: LaunchCounters::default(),
            profile: Profile::default(),
            counts_only,
        }))
    }

    /// The threads and their vector instructions.
    pub fn cpu(&self) -> &Cpu {
        &self.0.cpu
    }

    /// Counts so far. Nothing is submitted.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        self.0.counters.add_to(&mut counters);
        lock(&self.0.pool).add_to(&mut counters);
        counters
    }

    /// Gives the memory that no tensor uses back to the system.
    pub fn trim(&self) {
        lock(&self.0.pool).trim();
    }

    /// Whether `self` and `other` are handles of the same cores.
    pub fn same_cores(&self, other: &Cores) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn counts_only(&self) -> bool {
        self.0.counts_only
    }

    pub(crate) fn launched(&self, flops: u64, bytes: u64) {
        self.0.counters.launched(flops, bytes);
    }

    /// Memory for at least `bytes` bytes, from the pool where it has some. Its content is whatever it was.
    pub(crate) fn allocate(&self, bytes: u64) -> Result<Block<Aligned>> {
        let size = rounded(bytes);
        if let Some(block) = lock(&self.0.pool).take(size, (bytes / 4).max(SMALL)) {
            return Ok(block);
        }
        let create = || if self.0.counts_only { Some(Aligned::EMPTY) } else { Aligned::try_zeros(size as usize / 4) };
        let buffer = create().or_else(|| {
            self.trim();
            create()
        });
        let mut pool = lock(&self.0.pool);
        let buffer = buffer.ok_or_else(|| Error::OutOfMemory { bytes, live: pool.live_bytes() })?;
        pool.created(size);
        Ok(Block { buffer, size })
    }

    pub(crate) fn give_back(&self, block: Block<Aligned>) {
        lock(&self.0.pool).give_back(block);
    }
}

impl From<Cpu> for Cores {
    fn from(cpu: Cpu) -> Cores {
        Cores::assemble(cpu, false)
    }
}

impl std::fmt::Debug for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cores({:?})", self.0.cpu)
    }
}
