//! What happens when the system refuses memory: an error and exit code 1, where Rust would abort the process.
//!
//! The libraries report the large allocations that they make as errors. This is for all others, in them, in the standard
//! library and here, which have no way to.
#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use crate::terminal::tell;
use std::alloc::{GlobalAlloc, Layout, System};

struct Reporting;

#[global_allocator]
static ALLOCATOR: Reporting = Reporting;

// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Reporting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        granted(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same.
        granted(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`, which is the same.
        granted(unsafe { System.realloc(pointer, layout, size) }, size)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The memory, unless the system refused it.
#[inline]
fn granted(pointer: *mut u8, size: usize) -> *mut u8 {
    if pointer.is_null() {
        refused(size);
    }
    pointer
}

/// Ends the process. Nothing here allocates, and nothing is cleaned up, since that might.
#[cold]
fn refused(size: usize) -> ! {
    tell(format_args!(
        "error: out of memory: the system refused {size} bytes; use a smaller image or batch, fewer --threads, or raise the \
         process's limit of memory"
    ));
    signal_hook::low_level::exit(1)
}
