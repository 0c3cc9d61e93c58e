//! Shows how far a training has come: by a bar on a terminal, else by a line every ten seconds.

use crate::terminal::tell;
use alias_train::LogEntry;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// Time between lines, where there is no terminal.
const PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Progress {
    bar: ProgressBar,
    total: u64,
    remaining: Remaining,
    last_line: Option<Instant>,
}

/// Estimates the remaining time.
#[derive(Default)]
struct Remaining {
    /// The first step that was shown, and when it ended. It is not counted, since it compiles the kernels.
    first: Option<(u64, Instant)>,
}

impl Remaining {
    /// The time to step `total`, when `step` ended at `now`. `None` after the first step.
    fn after(&mut self, step: u64, total: u64, now: Instant) -> Option<Duration> {
        let (first, start) = *self.first.get_or_insert((step, now));
        let counted = step.checked_sub(first).filter(|&counted| counted > 0)?;
        Some(now.duration_since(start).div_f64(counted as f64).mul_f64(total.saturating_sub(step) as f64))
    }
}

impl Progress {
    /// From step `first` of `total`.
    pub(super) fn new(first: u64, total: u64) -> Progress {
        let bar = ProgressBar::new(total).with_position(first);
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Progress { bar, total, remaining: Remaining::default(), last_line: None }
    }

    pub(super) fn step(&mut self, entry: &LogEntry) {
        let LogEntry { step, discriminator, gan, feature_matching, perceptual, images_per_second, .. } = *entry;
        let losses = format!(
            "D {discriminator:.3}, G {gan:.3}, features {feature_matching:.3}, perceptual {perceptual:.3}, \
             {images_per_second:.2} images/s"
        );
        let message = match self.remaining.after(step, self.total, Instant::now()) {
            Some(left) => format!("{losses}, {} left", HumanDuration(Duration::from_secs(left.as_secs()))),
            None => losses,
        };
        if self.bar.is_hidden() && self.last_line.is_none_or(|last| last.elapsed() >= PAUSE) {
            tell(format_args!("step {step} of {}: {message}", self.total));
            self.last_line = Some(Instant::now());
        }
        self.bar.set_message(message);
        self.bar.set_position(step);
    }

    /// Removes the bar.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_time_is_judged_by_every_step_but_the_first() {
        let (mut remaining, start) = (Remaining::default(), Instant::now());
        // Resumed at step 100: the first step takes 60 seconds, each after it 2.
        let left =
            (101..=110).map(|step| remaining.after(step, 150, start + Duration::from_secs(60 + 2 * (step - 101))));
        let left: Vec<_> = left.map(|left| left.map(|left| left.as_secs_f64().round())).collect();
        let expected: Vec<_> = (102..=110).map(|step| Some(2.0 * f64::from(150 - step))).collect();
        assert_eq!(left[0], None);
        assert_eq!(left[1..], expected);
    }
}
