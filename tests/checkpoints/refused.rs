//! Checks that a file is refused: reading it returns an error, does not panic, and makes no allocation larger than
//! twice the file plus 64 KiB.
#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use alias_checkpoint::{Checkpoint, CheckpointError};

use crate::files::{dict, torch_legacy, torch_zip};

/// Records the largest allocation of each thread.
struct Watching;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.set(LARGEST.get().max(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// Reads a file and checks the size of its allocations.
#[track_caller]
pub(crate) fn read(bytes: Vec<u8>) -> Result<Checkpoint, CheckpointError> {
    let most = 2 * bytes.len() + 64 * 1024;
    LARGEST.set(0);
    let result = Checkpoint::from_bytes(bytes);
    let largest = LARGEST.get();
    assert!(largest <= most, "allocated {largest} bytes, not at most {most}: {result:?}");
    result
}

/// Asserts that the file is refused with a message that contains `words`.
#[track_caller]
pub(crate) fn refused(bytes: Vec<u8>, words: &str) {
    match read(bytes) {
        Ok(checkpoint) => panic!("accepted as {checkpoint:?}"),
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains(words), "no {words:?} in: {error}");
            assert!(error.len() < 1000, "{} characters of error", error.len());
        }
    }
}

/// Asserts that the object is refused in both of PyTorch's containers.
#[track_caller]
pub(crate) fn refused_object(object: &[u8], words: &str) {
    refused(torch_zip(object), words);
    refused(torch_legacy(object), words);
}

#[track_caller]
pub(crate) fn refused_tensor(tensor: Vec<u8>, words: &str) {
    refused_object(&dict(&[("layer.weight", tensor)]), words);
}
