//! How much work goes into one submission: what the device does in 0.3 seconds, judged by what it has done so far.

use std::time::{Duration, Instant};

/// How long a submission may take. Windows resets a GPU that works on one for two seconds, and a desktop on the same
/// GPU stands still meanwhile.
const LONGEST: Duration = Duration::from_millis(300);

/// Work a second before anything was measured: that of the slowest adapter known, Mesa's llvmpipe on two cores. A first
/// guess that is too low costs a few more submissions.
const FIRST_SPEED: f64 = 3e10;

/// What it takes to call a device slower than it is known to be: a busy time of some length, and this share of a
/// submission's work in it. Else the host, or the driver that compiles a kernel at its first launch, may have taken
/// most of the time.
const ENOUGH: (Duration, f64) = (Duration::from_millis(50), 0.1);

/// Operations in the time of one byte moved, on the adapters known: from 4 on llvmpipe to 20 on large GPUs.
const OPERATIONS_PER_BYTE: u64 = 8;

/// The work of a launch that computes `flops` operations over buffers of `bytes` bytes: what its time should be
/// proportional to.
pub(crate) fn work(flops: u64, bytes: u64) -> u64 {
    flops + OPERATIONS_PER_BYTE * bytes
}

/// The device's speed, from when submissions were made and found finished.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Work a second.
    speed: f64,
    /// Submissions that are not known to be finished.
    unfinished: u32,
    /// When the first of them was made, with nothing before it unfinished.
    busy_since: Instant,
    /// Work finished since then.
    done: u64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { speed: FIRST_SPEED, unfinished: 0, busy_since: Instant::now(), done: 0 }
    }
}

impl Pace {
    /// The most work that a submission should hold.
    pub(crate) fn budget(&self) -> u64 {
        (self.speed * LONGEST.as_secs_f64()) as u64
    }

    /// A submission was made at `now`.
    pub(crate) fn submitted(&mut self, now: Instant) {
        if self.unfinished == 0 {
            (self.busy_since, self.done) = (now, 0);
        }
        self.unfinished += 1;
    }

    /// A submission of this much work was found finished at `now`, perhaps some time after it was. That makes a device
    /// look slower than it is, never faster.
    pub(crate) fn finished(&mut self, work: u64, now: Instant) {
        self.unfinished -= 1;
        self.done += work;
        let busy = now.duration_since(self.busy_since);
        let speed = self.done as f64 / busy.as_secs_f64().max(1e-9);
        let is_enough = busy >= ENOUGH.0 && self.done as f64 >= ENOUGH.1 * self.budget() as f64;
        if speed > self.speed || is_enough {
            self.speed = speed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIGA: u64 = 1_000_000_000;

    /// A pace that has seen submissions of `work` each, all made at once, finished `seconds` apart.
    fn seen(work: u64, seconds: f64, count: u32) -> Pace {
        let (mut pace, start) = (Pace::default(), Instant::now());
        (0..count).for_each(|_| pace.submitted(start));
        (1..=count).for_each(|k| pace.finished(work, start + Duration::from_secs_f64(seconds * f64::from(k))));
        pace
    }

    #[test]
    fn a_submission_holds_what_the_device_does_in_three_tenths_of_a_second() {
        let close = |pace: Pace, wanted: f64| assert!((pace.budget() as f64 / wanted - 1.0).abs() < 1e-3, "{pace:?}");
        close(Pace::default(), 9e9);
        close(seen(30 * GIGA, 0.01, 20), 9e11);
        close(seen(GIGA, 1.0, 3), 3e8);
        // All three were found finished only at the end.
        let (mut pace, start) = (Pace::default(), Instant::now());
        (0..3).for_each(|_| pace.submitted(start));
        (0..3).for_each(|_| pace.finished(10 * GIGA, start + Duration::from_secs(1)));
        close(pace, 9e9);
    }

    #[test]
    fn a_tiny_submission_does_not_make_a_device_slow() {
        let unchanged = Pace::default().budget();
        assert_eq!(seen(GIGA, 0.040, 1).budget(), unchanged, "too short a time");
        assert_eq!(seen(GIGA / 10, 10.0, 1).budget(), unchanged, "too little work");
        assert!(seen(GIGA, 10.0, 1).budget() < unchanged);
    }

    #[test]
    fn idle_time_does_not_count() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for seconds in [0, 100] {
            let start = start + Duration::from_secs(seconds);
            pace.submitted(start);
            pace.finished(100 * GIGA, start + Duration::from_secs(1));
        }
        assert_eq!(pace.budget(), 30 * GIGA);
    }

    #[test]
    fn bytes_are_work_too() {
        assert_eq!(work(5, 0), 5);
        assert!(work(0, GIGA) > GIGA);
    }
}
