//! A run's log: a line of JSON that describes the run, then one for each step.

use super::RunDescription;
use crate::Losses;
use alias_checkpoint::write_atomically;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// One step, a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Steps taken, including this one.
    pub step: u64,
    /// The discriminator's loss.
    pub discriminator: f32,
    /// The generator's loss: the weighted sum of its three terms.
    pub generator: f32,
    /// Its adversarial term.
    pub gan: f32,
    /// Its feature matching term, unweighted.
    pub feature_matching: f32,
    /// Its perceptual term, unweighted.
    pub perceptual: f32,
    /// The generator's learning rate.
    pub generator_rate: f32,
    /// The discriminator's learning rate.
    pub discriminator_rate: f32,
    /// Seconds that the step took, including the wait for its examples.
    pub seconds: f64,
    /// Seconds that it waited for its examples.
    pub waited: f64,
    /// Examples per second.
    pub images_per_second: f64,
}

impl LogEntry {
    /// The entry of a step on `images` examples. `rates` are those of generator and discriminator.
    pub fn new(step: u64, losses: Losses, rates: [f32; 2], [seconds, waited]: [f64; 2], images: usize) -> LogEntry {
        let Losses { discriminator, gan, feature_matching, perceptual, generator } = losses;
        let [generator_rate, discriminator_rate] = rates;
        let images_per_second = images as f64 / seconds;
        LogEntry {
            step,
            discriminator,
            generator,
            gan,
            feature_matching,
            perceptual,
            generator_rate,
            discriminator_rate,
            seconds,
            waited,
            images_per_second,
        }
    }
}

/// A log that is open for appending; each line is written at once.
#[derive(Debug)]
pub struct Log {
    file: File,
}

impl Log {
    /// Creates a log. The file appears with its first line, or not at all.
    ///
    /// # Errors
    /// If the file exists; what the file system reports.
    pub fn create(path: &Path, run: &RunDescription, device: &str) -> io::Result<Log> {
        if path.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let perceptual = if run.vgg_checksum.is_some() { "VGG-19's features" } else { "L1 of pixels" };
        let first = json!({ "run": run, "device": device, "perceptual": perceptual });
        write_atomically(path, |file| writeln!(file, "{first}"))?;
        Ok(Log { file: OpenOptions::new().append(true).open(path)? })
    }

    /// Opens a log to resume after `step` steps: cuts off entries of later steps, and returns the others.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn resume(path: &Path, step: u64) -> io::Result<(Log, Vec<LogEntry>)> {
        let text = std::fs::read(path)?;
        let mut entries = Vec::new();
        let mut end = 0;
        for (number, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            // A process that is killed while writing leaves a line without its end.
            let entry = serde_json::from_slice::<LogEntry>(line).ok().filter(|entry| entry.step <= step);
            if !line.ends_with(b"\n") || (number > 0 && entry.is_none()) {
                break;
            }
            entries.extend(entry);
            end += line.len();
        }
        // Windows cannot truncate a file that is open for appending.
        OpenOptions::new().write(true).open(path)?.set_len(end as u64)?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok((Log { file }, entries))
    }

    /// Adds a step.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn append(&mut self, entry: &LogEntry) -> io::Result<()> {
        self.line(entry)
    }

    /// Waits until all lines are on disk.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataSummary, Settings};

    fn entry(step: u64) -> LogEntry {
        LogEntry::new(step, Losses { gan: 0.1, ..Default::default() }, [1e-4, 4e-4], [0.5, 0.1], 2)
    }

    #[test]
    fn a_log_is_cut_back_to_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let data = DataSummary { examples: 3, names: "0".into(), size: [64, 64] };
        let run = RunDescription { settings: Settings::default(), data, vgg_checksum: None };
        let mut log = Log::create(&path, &run, "a device").unwrap();
        assert!(Log::create(&path, &run, "a device").is_err(), "a log is not created twice");
        (1..=5).for_each(|step| log.append(&entry(step)).unwrap());
        log.file.write_all(b"{\"step\":6,\"discr").unwrap();
        let (mut log, entries) = Log::resume(&path, 3).unwrap();
        assert_eq!(entries, [1, 2, 3].map(entry));
        log.append(&entry(4)).unwrap();
        assert_eq!(Log::resume(&path, 9).unwrap().1, [1, 2, 3, 4].map(entry));
        let text = std::fs::read_to_string(&path).unwrap();
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((&first["run"], text.lines().count()), (&json!(run), 5));
    }
}
