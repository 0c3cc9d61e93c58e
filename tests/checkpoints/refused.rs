//! Checks that a file is refused, read from memory or from disk: reading it returns an error, does not panic, and makes no
//! allocation larger than twice the file plus 64 KiB.
#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Seek, Write};

use alias_checkpoint::{Checkpoint, CheckpointError};
use tempfile::NamedTempFile;

use crate::files::{dict, torch_legacy, torch_zip};

/// Records the largest allocation of each thread.
struct Watching;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    /// One file for all tests of a thread: file systems take long to make one.
    static ON_DISK: NamedTempFile = NamedTempFile::new().unwrap();
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

/// Bytes of tensors by their names.
type Tensors = BTreeMap<String, Vec<u8>>;

/// Reads a file with all its values, from memory and from disk, which must agree, and checks the size of the allocations.
#[track_caller]
pub(crate) fn read(bytes: Vec<u8>) -> Result<Tensors, CheckpointError> {
    let [from_memory, from_file] = read_both_ways(bytes);
    assert_eq!(
        from_memory.as_ref().ok(),
        from_file.as_ref().ok(),
        "{from_memory:?} from memory, {from_file:?} from disk"
    );
    from_memory
}

#[track_caller]
fn read_both_ways(bytes: Vec<u8>) -> [Result<Tensors, CheckpointError>; 2] {
    let most = 2 * bytes.len() + 64 * 1024;
    let from_file = ON_DISK.with(|file| {
        let mut content = file.as_file();
        content.rewind().unwrap();
        content.write_all(&bytes).unwrap();
        content.set_len(bytes.len() as u64).unwrap();
        read_within(most, || Checkpoint::read(file.path()))
    });
    [read_within(most, || Checkpoint::from_bytes(bytes)), from_file]
}

#[track_caller]
fn read_within(
    most: usize,
    read: impl FnOnce() -> Result<Checkpoint, CheckpointError>,
) -> Result<Tensors, CheckpointError> {
    let mut result = Ok(Tensors::new());
    let largest = largest_allocation(|| {
        result = read().and_then(|checkpoint| {
            let tensors =
                checkpoint.iter().map(|(name, array)| Ok((name.to_owned(), array.to_le_bytes()?.into_owned())));
            tensors.collect()
        });
    });
    assert!(largest <= most, "allocated {largest} bytes, not at most {most}: {result:?}");
    result
}

/// The largest allocation while `work` ran.
pub(crate) fn largest_allocation(work: impl FnOnce()) -> usize {
    LARGEST.set(0);
    work();
    LARGEST.get()
}

/// Asserts that the file is refused with a message that contains `words`.
#[track_caller]
pub(crate) fn refused(bytes: Vec<u8>, words: &str) {
    for result in read_both_ways(bytes) {
        match result {
            Ok(tensors) => panic!("accepted as {tensors:?}"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(words), "no {words:?} in: {error}");
                assert!(error.len() < 1000, "{} characters of error", error.len());
            }
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
