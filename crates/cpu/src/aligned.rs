//! Memory aligned to cache lines: loading a vector that crosses into a second line takes two loads.

use memmap2::MmapMut;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the longest vector.
const LINE: usize = 64;
/// Bytes from which memory is mapped on its own, in huge pages where the system has them: the system clears a page when it is
/// first touched, which for pages of 4 KiB takes as long as a convolution.
const MAPPED: usize = 4 << 20;

/// Numbers in memory, the first at the start of a cache line.
pub struct Aligned {
    memory: Memory,
    len: usize,
}

enum Memory {
    /// With some numbers too many, of which this many are skipped at the start.
    Allocated(Vec<f32>, usize),
    Mapped(MmapMut),
}

impl Aligned {
    /// No numbers.
    pub const EMPTY: Aligned = Aligned { memory: Memory::Allocated(Vec::new(), 0), len: 0 };

    /// Zeros; None where the system has no memory for them.
    pub fn try_zeros(len: usize) -> Option<Aligned> {
        let bytes = len.checked_mul(size_of::<f32>())?;
        if bytes >= MAPPED {
            return Some(Aligned { memory: Memory::Mapped(mapped(bytes)?), len });
        }
        // An allocation with an alignment of its own would be cleared at once; this one consists of cleared pages.
        let numbers: Vec<f32> = bytemuck::allocation::try_zeroed_vec(len + LINE / size_of::<f32>()).ok()?;
        let start = numbers.as_ptr().align_offset(LINE);
        Some(Aligned { memory: Memory::Allocated(numbers, start), len })
    }

    /// As [`Aligned::try_zeros`], for a few: it ends the process where the system has no memory.
    fn zeros(len: usize) -> Aligned {
        let numbers = vec![0.0; len + LINE / size_of::<f32>()];
        let start = numbers.as_ptr().align_offset(LINE);
        Aligned { memory: Memory::Allocated(numbers, start), len }
    }
}

/// New pages, cleared when they are first touched.
fn mapped(bytes: usize) -> Option<MmapMut> {
    let pages = MmapMut::map_anon(bytes).ok()?;
    // Where the system has no huge pages, small ones serve.
    #[cfg(target_os = "linux")]
    let _ = pages.advise(memmap2::Advice::HugePage);
    Some(pages)
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.memory {
            Memory::Allocated(numbers, start) => &numbers[*start..][..self.len],
            Memory::Mapped(pages) => bytemuck::cast_slice(&pages[..self.len * size_of::<f32>()]),
        }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.memory {
            Memory::Allocated(numbers, start) => &mut numbers[*start..][..self.len],
            Memory::Mapped(pages) => bytemuck::cast_slice_mut(&mut pages[..self.len * size_of::<f32>()]),
        }
    }
}

impl std::fmt::Debug for Aligned {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} numbers", self.len)
    }
}

/// Scratch memory of a thread. On drop it returns to the thread, contents included, for the next [`Scratch::take`].
///
/// A guard, because a closure that got the memory as argument is not always inlined into its caller, and is then not
/// compiled for the caller's vector instructions.
pub struct Scratch(Aligned);

thread_local! {
    /// Free memory, last in, first out: a thread that takes the same sizes in the same order again allocates nothing.
    static SCRATCH: RefCell<Vec<Aligned>> = const { RefCell::new(Vec::new()) };
}

impl Scratch {
    /// At least `len` numbers with arbitrary contents.
    pub fn take(len: usize) -> Scratch {
        let mut memory = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or(Aligned::EMPTY);
        if memory.len < len {
            // Freed before the larger one is allocated, so that the two are never there together.
            drop(memory);
            memory = Aligned::zeros(len);
        }
        Scratch(memory)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let memory = std::mem::replace(&mut self.0, Aligned::EMPTY);
        SCRATCH.with_borrow_mut(|all| all.push(memory));
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}
