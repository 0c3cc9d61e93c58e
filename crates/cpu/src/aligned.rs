//! Memory aligned to cache lines: loading a vector that crosses into a second line takes two loads.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the longest vector.
const LINE: usize = 64;

/// Numbers, the first at the start of a cache line.
pub(crate) struct Aligned {
    numbers: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(crate) const EMPTY: Aligned = Aligned { numbers: Vec::new(), start: 0, len: 0 };

    /// Zeros; None where the system has no memory for them. An allocation with larger alignment would be cleared at once; this one, with a few more numbers of which
    /// the first ones are skipped, consists of pages that the system clears when they are first touched.
    pub(crate) fn try_zeros(len: usize) -> Option<Aligned> {
        let numbers: Vec<f32> = bytemuck::allocation::try_zeroed_vec(len.checked_add(LINE / size_of::<f32>())?).ok()?;
        let start = numbers.as_ptr().align_offset(LINE);
        Some(Aligned { numbers, start, len })
    }

    /// As [`Aligned::try_zeros`], for a few: it ends the process where the system has no memory.
    fn zeros(len: usize) -> Aligned {
        let numbers = vec![0.0; len + LINE / size_of::<f32>()];
        let start = numbers.as_ptr().align_offset(LINE);
        Aligned { numbers, start, len }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[self.start..][..self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.start..][..self.len]
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
pub(crate) struct Scratch(Aligned);

thread_local! {
    /// Free memory, last in, first out: a thread that takes the same sizes in the same order again allocates nothing.
    static SCRATCH: RefCell<Vec<Aligned>> = const { RefCell::new(Vec::new()) };
}

impl Scratch {
    /// At least `len` numbers with arbitrary contents.
    pub(crate) fn take(len: usize) -> Scratch {
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
