//! Memory that begins where a cache line does: a vector that lies across two lines takes two loads.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the longest vector.
const LINE: usize = 64;

/// Numbers, the first of them at the beginning of a cache line.
pub(crate) struct Aligned {
    numbers: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(crate) const EMPTY: Aligned = Aligned { numbers: Vec::new(), start: 0, len: 0 };

    /// Zeros: pages that the system clears when they are first touched, whereas an allocation of larger alignment would be
    /// cleared at once. Hence some more numbers, of which the first ones are skipped.
    pub(crate) fn zeros(len: usize) -> Aligned {
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

/// Memory of a thread, lent until it is dropped and then kept for the next one, with whatever is in it.
///
/// Not lent to a closure: closures are not always compiled into their caller, and then not for its instructions.
pub(crate) struct Scratch(Aligned);

thread_local! {
    /// Whoever takes the same in the same order again, gets what is there already.
    static SCRATCH: RefCell<Vec<Aligned>> = const { RefCell::new(Vec::new()) };
}

impl Scratch {
    /// At least `len` numbers.
    pub(crate) fn take(len: usize) -> Scratch {
        let mut memory = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or(Aligned::EMPTY);
        if memory.len < len {
            // First the old one goes, then the new one comes: both together would be the peak.
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
