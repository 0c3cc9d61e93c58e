//! A run's checkpoints: written whole or not at all, read only if they are what was written.

use super::Run;
use alias_model::checkpoint::{CheckpointError, Dtype};
use alias_model::{Checkpoint, Config};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Beside the checkpoints, in the run's folder: the newest generator's state dict, which every command takes as weights.
pub const GENERATOR: &str = "generator.safetensors";
/// Where in the metadata the run is described.
const RUN: &str = "run";
/// Where in the metadata the checksum of everything else is.
const CHECKSUM: &str = "checksum";
const PREFIX: &str = "step-";
const SUFFIX: &str = ".safetensors";

/// The checkpoints in a run's folder, `checkpoints/step-NNNNNNNN.safetensors`.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    run: PathBuf,
}

/// A checkpoint that was read.
#[derive(Debug)]
pub struct Saved {
    /// Steps that had been taken.
    pub step: u64,
    /// Of which run.
    pub run: Run,
    /// What [`alias_model::Trainer::save`] gave. Its file is mapped into memory.
    pub state: Checkpoint,
}

/// What can go wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// The folder could not be read or written.
    #[error("{}: {cause}", path.display())]
    Folder {
        /// Which one, or what in it.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is not as it was written.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The training has diverged: this is not worth keeping.
    #[error("not saved: {tensor} of step {step} holds {value}: the training has diverged")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Steps that had been taken.
        step: u64,
        /// What it holds.
        value: f32,
    },
    /// There are checkpoints, and none of them can be read.
    #[error("none of the checkpoints can be read:\n  {}", .0.join("\n  "))]
    NoneReadable(Vec<String>),
}

impl Checkpoints {
    /// Those of the run in this folder.
    pub fn of(run: &Path) -> Checkpoints {
        Checkpoints { run: run.into() }
    }

    /// Where they are.
    pub fn folder(&self) -> PathBuf {
        self.run.join("checkpoints")
    }

    /// The file of the state after `step` steps.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder().join(format!("{PREFIX}{step:08}{SUFFIX}"))
    }

    /// The steps that there are checkpoints of, in order.
    ///
    /// # Errors
    /// Where the folder is there and cannot be read.
    pub fn steps(&self) -> Result<Vec<u64>, Error> {
        let folder = self.folder();
        let failed = |cause| Error::Folder { path: folder.clone(), cause };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut steps = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let number =
                name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse::<u64>().ok());
            steps.extend(number);
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// Writes what [`alias_model::Trainer::save`] gave after `step` steps, and the generator's state dict beside it; removes
    /// all but the last `keep` checkpoints.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where the state is not worth it; what the file system reports. What was there is still there.
    pub fn save(&self, step: u64, mut state: Checkpoint, run: &Run, keep: usize) -> Result<(), Error> {
        verify_finite(&state, step)?;
        let description = serde_json::to_string(run).map_err(|error| self.damaged(step, &error))?;
        state.metadata_mut().insert(RUN.into(), description);
        let checksum = checksum(&state);
        state.metadata_mut().insert(CHECKSUM.into(), checksum);
        state.write_safetensors(self.path(step))?;
        generator(&Saved { step, run: run.clone(), state }).write_safetensors(self.run.join(GENERATOR))?;
        let steps = self.steps()?;
        for old in &steps[..steps.len().saturating_sub(keep)] {
            let path = self.path(*old);
            fs::remove_file(&path).map_err(|cause| Error::Folder { path, cause })?;
        }
        Ok(())
    }

    /// The newest one that can be read, if there are any. Those newer than it are told to `report`, and set aside as
    /// `.damaged`.
    ///
    /// # Errors
    /// [`Error::NoneReadable`] where there are checkpoints, but none that can be read; then all of them stay.
    pub fn newest(&self, mut report: impl FnMut(&str)) -> Result<Option<Saved>, Error> {
        let steps = self.steps()?;
        let mut reasons = Vec::new();
        for (k, &step) in steps.iter().rev().enumerate() {
            match Saved::read(&self.path(step)) {
                Err(error) => reasons.push(error.to_string()),
                Ok(saved) => {
                    for (reason, &damaged) in reasons.iter().zip(steps.iter().rev().take(k)) {
                        report(&format!("{reason}; taking the checkpoint before it"));
                        let path = self.path(damaged);
                        fs::rename(&path, path.with_extension("damaged"))
                            .map_err(|cause| Error::Folder { path, cause })?;
                    }
                    return Ok(Some(saved));
                }
            }
        }
        if reasons.is_empty() { Ok(None) } else { Err(Error::NoneReadable(reasons)) }
    }

    fn damaged(&self, step: u64, what: &dyn std::fmt::Display) -> Error {
        Error::Damaged { path: self.path(step), what: what.to_string() }
    }
}

impl Saved {
    /// Reads a checkpoint and compares its checksum.
    ///
    /// # Errors
    /// Where it is not, bit for bit, what a training has saved.
    pub fn read(path: &Path) -> Result<Saved, Error> {
        let damaged = |what: String| Error::Damaged { path: path.into(), what };
        let mut state = Checkpoint::read(path)?;
        let run = state.metadata().get(RUN).ok_or_else(|| damaged("this is no checkpoint of a training".into()))?;
        let run = serde_json::from_str(run).map_err(|error| damaged(error.to_string()))?;
        let stored = state.metadata_mut().remove(CHECKSUM);
        if stored != Some(checksum(&state)) {
            return Err(damaged("damaged: its checksum is another".into()));
        }
        let step = state
            .metadata()
            .get("trainer")
            .and_then(|settings| serde_json::from_str::<serde_json::Value>(settings).ok()?["step"].as_u64());
        Ok(Saved { step: step.ok_or_else(|| damaged("no number of steps".into()))?, run, state })
    }
}

/// The generator's state dict, as every command takes it; in the metadata, of which step it is, by what settings it was
/// trained, and whether it is the plain one.
pub fn generator(saved: &Saved) -> Checkpoint {
    let mut generator = saved.state.part("generator.");
    let metadata = generator.metadata_mut();
    metadata.insert("step".into(), saved.step.to_string());
    metadata.insert("settings".into(), serde_json::json!(saved.run.settings.without_folders()).to_string());
    if saved.run.settings.plain {
        metadata.insert(Config::PLAIN.into(), "true".into());
    }
    generator
}

/// Of names, elements and metadata.
pub fn checksum(state: &Checkpoint) -> String {
    let mut hasher = crc32fast::Hasher::new();
    for (name, array) in state.iter() {
        hasher.update(name.as_bytes());
        hasher.update(&array.to_le_bytes());
    }
    for (key, text) in state.metadata() {
        hasher.update(key.as_bytes());
        hasher.update(text.as_bytes());
    }
    format!("{:08x}", hasher.finalize())
}

fn verify_finite(state: &Checkpoint, step: u64) -> Result<(), Error> {
    for (name, array) in state.iter().filter(|(_, array)| array.dtype() == Dtype::F32) {
        if let Some(&value) = array.to_f32().iter().find(|value| !value.is_finite()) {
            return Err(Error::NotFinite { tensor: name.into(), step, value });
        }
    }
    Ok(())
}
