//! Examples read and decoded on other threads, ahead of the training that takes them.

use super::Order;
use alias_pictures::dataset::{Dataset, Example};
use alias_pictures::images;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// What each thread may be ahead, in examples, besides the one in its hands.
const AHEAD: usize = 2;

/// The examples at a range of positions of an [`Order`], in that order.
///
/// Thread k of n reads every n-th example, so that what comes next always comes from the thread whose turn it is. Each thread
/// stops a few examples ahead.
#[derive(Debug)]
pub struct Loader {
    threads: Vec<Receiver<images::Result<Loaded>>>,
    next: usize,
}

/// An example, and what it took.
#[derive(Debug)]
pub struct Loaded {
    /// What was read.
    pub example: Example,
    /// Reading and decoding, on its thread.
    pub took: Duration,
}

impl Loader {
    /// Starts so many threads, at least one.
    pub fn new(dataset: &Arc<Dataset>, order: &Order, positions: Range<u64>, threads: usize) -> Loader {
        let thread = |k: usize| {
            let (sender, receiver) = sync_channel(AHEAD);
            let (dataset, mut order) = (Arc::clone(dataset), order.clone());
            let mine = positions.clone().skip(k).step_by(threads);
            // Ends with the positions, or with the loader.
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

    /// The next example, waited for if need be; or why it cannot be read.
    fn next(&mut self) -> Option<images::Result<Loaded>> {
        let loaded = self.threads[self.next].recv().ok();
        self.next = (self.next + 1) % self.threads.len();
        loaded
    }
}
