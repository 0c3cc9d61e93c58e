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
    first: u64,
    start: Instant,
    last_line: Option<Instant>,
}

impl Progress {
    /// From step `first` of `total`.
    pub(super) fn new(first: u64, total: u64) -> Progress {
        let bar = ProgressBar::new(total).with_position(first);
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Progress { bar, total, first, start: Instant::now(), last_line: None }
    }

    pub(super) fn step(&mut self, entry: &LogEntry) {
        let LogEntry { step, discriminator, gan, feature_matching, perceptual, images_per_second, .. } = *entry;
        // Not by the first step, which compiles kernels, if there are others.
        if step == self.first + 2 {
            (self.first, self.start) = (step, Instant::now());
        }
        let taken = (step - self.first).max(1) as f64;
        let left = self.start.elapsed().as_secs_f64() / taken * (self.total - step) as f64;
        let left = HumanDuration(Duration::from_secs(if step > self.first { left as u64 } else { 0 }));
        let losses = format!(
            "D {discriminator:.3}, G {gan:.3}, features {feature_matching:.3}, perceptual {perceptual:.3}, \
             {images_per_second:.2} images/s"
        );
        let message = if step > self.first { format!("{losses}, {left} left") } else { losses };
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
