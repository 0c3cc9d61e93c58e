//! The processor: its vector instructions and the threads that use it.

use pulp::{Arch, WithSimd};
use std::sync::{Arc, Mutex, PoisonError};

/// A set of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Instructions {
    /// What every processor of the target architecture has.
    Baseline,
    /// AVX2 and FMA (x86-64-v3), or NEON.
    Avx2OrNeon,
    /// AVX-512 (x86-64-v4).
    Avx512,
}

impl std::fmt::Display for Instructions {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Instructions::Baseline => "baseline instructions",
            Instructions::Avx2OrNeon if cfg!(target_arch = "x86_64") => "AVX2",
            Instructions::Avx2OrNeon => "NEON",
            Instructions::Avx512 => "AVX-512",
        })
    }
}

/// How to use the processor.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuOptions {
    /// Number of threads, at least one. Default: `RAYON_NUM_THREADS`, else the number of cores.
    pub threads: Option<usize>,
    /// Vector instructions to use. Default: the best that the processor has.
    pub instructions: Option<Instructions>,
}

/// What can go wrong on processor cores.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The processor does not have these instructions.
    Instructions(Instructions),
    /// The system has no memory for a plan's buffers.
    OutOfMemory {
        /// How much was asked for.
        bytes: u64,
    },
    /// The system has no memory for packed weights.
    WeightsOutOfMemory {
        /// How much was asked for.
        bytes: u64,
    },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Error::Instructions(which) => {
                let has: Vec<_> = Cpu::available().iter().map(Instructions::to_string).collect();
                write!(f, "this processor has no {which} instructions; it has {}", has.join(", "))
            }
            Error::OutOfMemory { bytes } => {
                write!(f, "out of memory: an image's buffers take {bytes} bytes more; use a smaller image or batch")
            }
            Error::WeightsOutOfMemory { bytes } => {
                write!(
                    f,
                    "out of memory: a convolution's weights take {bytes} bytes more; free some, or use a narrower \
                     generator"
                )
            }
        }
    }
}

impl std::error::Error for Error {}

/// The processor's cores, ready to compute. A handle that is cheap to clone.
#[derive(Clone)]
pub struct Cpu {
    arch: Arch,
    /// None where the system refuses every thread: callers then compute on their own.
    pool: Option<Arc<rayon::ThreadPool>>,
}

impl std::fmt::Debug for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Cpu").field("instructions", &self.instructions()).field("threads", &self.threads()).finish()
    }
}

impl Cpu {
    /// Starts the threads: fewer than asked for where the system refuses more, even none.
    ///
    /// # Errors
    /// If the processor does not have the requested instructions.
    pub fn open(options: CpuOptions) -> Result<Cpu, Error> {
        let arch = match options.instructions {
            None => Arch::new(),
            Some(which) => arch(which).ok_or(Error::Instructions(which))?,
        };
        let build = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let mut pool = build(options.threads.map_or(0, |n| n.max(1)));
        let mut threads =
            options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        while pool.is_err() && threads > 1 {
            threads /= 2;
            pool = build(threads);
        }
        Ok(Cpu { arch, pool: pool.ok().map(Arc::new) })
    }

    /// The sets of vector instructions that this processor has.
    pub fn available() -> Vec<Instructions> {
        let all = [Instructions::Baseline, Instructions::Avx2OrNeon, Instructions::Avx512];
        all.into_iter().filter(|&which| arch(which).is_some()).collect()
    }

    /// The vector instructions in use.
    pub fn instructions(&self) -> Instructions {
        match self.arch {
            Arch::Scalar => Instructions::Baseline,
            #[cfg(target_arch = "x86_64")]
            Arch::V4(_) => Instructions::Avx512,
            #[allow(unreachable_patterns, reason = "what there is depends on the target")]
            _ => Instructions::Avx2OrNeon,
        }
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.as_ref().map_or(1, |pool| pool.current_num_threads())
    }

    /// Runs `work` in this device's thread pool, so that rayon's parallel iterators use its threads.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let Some(pool) = &self.pool else {
            if rayon::current_thread_index().is_none()
                && let Ok(alone) = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build()
            {
                // From now on, this thread is a rayon pool of its own, which starts no other.
                std::mem::forget(alone);
            }
            return work();
        };
        self.apart(|| pool.install(work))
    }

    /// Runs `work`, on a new thread if the caller is a worker of another rayon pool, such as the application's. A
    /// blocked rayon worker steals tasks of its own pool; if a stolen task draws too, draws nest without end or
    /// deadlock. A new thread steals nothing. Where the system refuses one, the caller runs `work`.
    pub fn apart<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let Some(pool) = &self.pool else { return work() };
        let is_others = rayon::current_thread_index().is_some() && pool.current_thread_index().is_none();
        if !is_others {
            return work();
        }
        // In a mutex, since a thread that is refused drops its closure.
        let work = Mutex::new(Some(work));
        let run = || work.lock().unwrap_or_else(PoisonError::into_inner).take().map(|work| work());
        let finished = std::thread::scope(|scope| match std::thread::Builder::new().spawn_scoped(scope, run) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => run(),
        });
        finished.expect("the work is there, and runs once")
    }

    /// Runs `work` as compiled for the vector instructions in use.
    pub fn dispatch<W: WithSimd>(&self, work: W) -> W::Output {
        self.arch.dispatch(work)
    }
}

fn arch(which: Instructions) -> Option<Arch> {
    match which {
        Instructions::Baseline => Some(Arch::Scalar),
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2OrNeon => pulp::x86::V3::try_new().map(Arch::V3),
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => pulp::x86::V4::try_new().map(Arch::V4),
        #[cfg(target_arch = "aarch64")]
        Instructions::Avx2OrNeon => pulp::aarch64::Neon::try_new().map(Arch::Neon),
        #[cfg(not(target_arch = "x86_64"))]
        _ => None,
    }
}
