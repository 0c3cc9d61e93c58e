//! Reads and decodes examples on threads of its own, ahead of the training.

use super::Order;
use alias_pictures::dataset::{Dataset, Example};
use alias_pictures::images;
use std::iter::{Skip, StepBy};
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
    /// Where the system allows no thread: what this thread reads by itself.
    own: Reader,
}

/// Reads the examples at some positions of an order, when they are asked for.
#[derive(Debug)]
struct Reader {
    dataset: Arc<Dataset>,
    order: Order,
    positions: StepBy<Skip<Range<u64>>>,
}

impl Iterator for Reader {
    type Item = images::Result<Loaded>;

    fn next(&mut self) -> Option<images::Result<Loaded>> {
        let start = Instant::now();
        let example = self.dataset.read(self.order.example(self.positions.next()?));
        Some(example.map(|example| Loaded { example, took: start.elapsed() }))
    }
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
    /// Starts `threads` threads, at least one, or as many as the system allows.
    pub fn new(dataset: &Arc<Dataset>, order: &Order, positions: Range<u64>, threads: usize) -> Loader {
        let reader = |first: usize, step: usize| Reader {
            dataset: Arc::clone(dataset),
            order: order.clone(),
            positions: positions.clone().skip(first).step_by(step),
        };
        let start = |k: usize| {
            let (sender, receiver) = sync_channel(AHEAD);
            let mut mine = reader(k, threads);
            // Ends after the last position, or when the loader is dropped.
            let send_all = move || mine.all(|loaded| sender.send(loaded).is_ok());
            std::thread::Builder::new().spawn(send_all).ok().map(|_| receiver)
        };
        match (0..threads).map(start).collect::<Option<Vec<_>>>() {
            Some(threads) => Loader { threads, next: 0, own: reader(0, 1) },
            None if threads > 1 => Loader::new(dataset, order, positions, threads / 2),
            None => Loader { threads: Vec::new(), next: 0, own: reader(0, 1) },
        }
    }
}

impl Iterator for Loader {
    type Item = images::Result<Loaded>;

    /// Waits for the next example, or for the reason why it cannot be read.
    fn next(&mut self) -> Option<images::Result<Loaded>> {
        let Some(thread) = self.threads.get(self.next) else { return self.own.next() };
        let loaded = thread.recv().ok();
        self.next = (self.next + 1) % self.threads.len();
        loaded
    }
}
