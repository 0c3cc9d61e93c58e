//! Reads and decodes examples on threads of its own, ahead of the training.

use super::Order;
use alias_pictures::dataset::{Dataset, Example};
use alias_pictures::images;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// How many finished examples each thread may queue while it reads another.
const AHEAD: usize = 2;

/// Iterates over the examples at a range of positions of an [`Order`].
///
/// Thread k of n reads the examples k, k + n, k + 2n, ..., so taking from one thread after the other gives them in
/// order. A thread that is a few examples ahead waits.
#[derive(Debug)]
pub struct Loader {
    threads: Vec<Receiver<images::Result<Loaded>>>,
    next: usize,
}

/// An example, and the time that loading it took.
#[derive(Debug)]
pub struct Loaded {
    /// The example.
    pub example: Example,
    /// Time for reading and decoding.
    pub took: Duration,
}

impl Loader {
    /// Starts `threads` threads, at least one.
    pub fn new(dataset: &Arc<Dataset>, order: &Order, positions: Range<u64>, threads: usize) -> Loader {
        let thread = |k: usize| {
            let (sender, receiver) = sync_channel(AHEAD);
            let (dataset, mut order) = (Arc::clone(dataset), order.clone());
            let mine = positions.clone().skip(k).step_by(threads);
            // Ends after the last position, or when the loader is dropped.
            std::thread::spawn(move || {
                for position in mine {
                    let start = Instant::now();
                    let example = dataset.read(order.example(position));
                    let loaded = example.map(|example| Loaded { example, took: start.elapsed() });
                    if sender.send(loaded).is_err() {
                        return;
                    }
                }
            });
            receiver
        };
        Loader { threads: (0..threads).map(thread).collect(), next: 0 }
    }
}

impl Iterator for Loader {
    type Item = images::Result<Loaded>;

    /// Waits for the next example, or for the reason why it cannot be read.
    fn next(&mut self) -> Option<images::Result<Loaded>> {
        let loaded = self.threads[self.next].recv().ok();
        self.next = (self.next + 1) % self.threads.len();
        loaded
    }
}
