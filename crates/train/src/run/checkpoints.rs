//! A run's checkpoints: written whole or not at all, and verified by a checksum when they are read.

use super::RunDescription;
use alias_checkpoint::{CheckpointError, Dtype, Problem};
use alias_model::{Checkpoint, GeneratorConfig};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file in the run's folder: the newest generator's state dict, which every command takes as weights.
pub const GENERATOR: &str = "generator.safetensors";
/// Key of the run's description in the metadata.
const RUN: &str = "run";
/// Key in the metadata of the checksum of everything else.
const CHECKSUM: &str = "checksum";
const PREFIX: &str = "step-";
const SUFFIX: &str = ".safetensors";
/// Prefixes of unfinished files: checkpoints and sample sheets, the generator, the curves, the log.
const UNFINISHED: [&str; 4] = [".step-", ".generator.safetensors.", ".losses.png.", ".log.jsonl."];

/// The checkpoints in a run's folder, `checkpoints/step-NNNNNNNN.safetensors`.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    run_folder: PathBuf,
}

/// One checkpoint of a run.
#[derive(Debug)]
pub struct RunCheckpoint {
    /// Steps taken.
    pub step: u64,
    /// The run that it belongs to.
    pub run: RunDescription,
    /// The result of [`Trainer::save`](crate::Trainer::save). If it was read from a file, tensors are read when they
    /// are needed.
    pub state: Checkpoint,
}

/// The newest undamaged checkpoint of a run.
#[derive(Debug)]
pub struct Newest {
    /// The checkpoint.
    pub checkpoint: RunCheckpoint,
    /// What is wrong with each newer one.
    pub damaged: Vec<RunCheckpointError>,
}

/// What can go wrong with a run's checkpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunCheckpointError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// The folder could not be read or written.
    #[error("{}: {cause}", path.display())]
    Folder {
        /// The folder, or a file in it.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is not what was written.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A tensor to be saved holds NaN or infinity: the training has diverged.
    #[error("not saved: {tensor} of step {step} holds {value}: the training has diverged")]
    NotFinite {
        /// The tensor's name.
        tensor: String,
        /// Steps taken.
        step: u64,
        /// The value.
        value: f32,
    },
    /// There are checkpoints, and none of them can be read.
    #[error("none of the checkpoints can be read:\n  {}", .0.join("\n  "))]
    NoneReadable(Vec<String>),
}

impl RunCheckpointError {
    /// The damaged file, if that is the error. A file that merely cannot be read now may be whole.
    fn damaged_file(&self) -> Option<&Path> {
        match self {
            RunCheckpointError::Damaged { path, .. } => Some(path),
            RunCheckpointError::File(error) => (!matches!(error.problem(), Problem::Io(_))).then(|| error.file()),
            _ => None,
        }
    }
}

impl Checkpoints {
    /// The checkpoints of the run in `run_folder`.
    pub fn of(run_folder: &Path) -> Checkpoints {
        Checkpoints { run_folder: run_folder.into() }
    }

    /// The folder that holds them, inside the run's.
    pub fn folder(&self) -> PathBuf {
        self.run_folder.join("checkpoints")
    }

    /// The file of the checkpoint after `step` steps.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder().join(format!("{PREFIX}{step:08}{SUFFIX}"))
    }

    /// The steps of all checkpoints, in ascending order.
    ///
    /// # Errors
    /// If the folder exists but cannot be read.
    pub fn steps(&self) -> Result<Vec<u64>, RunCheckpointError> {
        let folder = self.folder();
        let failed = |cause| RunCheckpointError::Folder { path: folder.clone(), cause };
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

    /// Writes a checkpoint, with its run's description and a checksum in the metadata; then removes all but the newest
    /// `keep`.
    ///
    /// # Errors
    /// [`RunCheckpointError::NotFinite`] if the state holds NaN or infinity; what the file system reports. Where
    /// writing fails, no earlier checkpoint is lost.
    pub fn save(&self, checkpoint: &mut RunCheckpoint, keep: usize) -> Result<(), RunCheckpointError> {
        verify_finite(checkpoint)?;
        let RunCheckpoint { step, run, state } = checkpoint;
        let path = self.path(*step);
        state.metadata_mut().insert(RUN.into(), serde_json::json!(run).to_string());
        let checksum = checksum(state)?;
        state.metadata_mut().insert(CHECKSUM.into(), checksum);
        state.write_safetensors(path)?;
        let steps = self.steps()?;
        for old in &steps[..steps.len().saturating_sub(keep)] {
            let path = self.path(*old);
            fs::remove_file(&path).map_err(|cause| RunCheckpointError::Folder { path, cause })?;
        }
        Ok(())
    }

    /// Writes the checkpoint's generator to [`GENERATOR`] in the run's folder.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn save_generator(&self, checkpoint: &RunCheckpoint) -> Result<(), RunCheckpointError> {
        Ok(checkpoint.generator().write_safetensors(self.run_folder.join(GENERATOR))?)
    }

    /// The newest undamaged checkpoint; None if there are no checkpoints.
    ///
    /// # Errors
    /// [`RunCheckpointError::NoneReadable`] if all of them are damaged; what the file system reports.
    pub fn newest(&self) -> Result<Option<Newest>, RunCheckpointError> {
        let mut damaged = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            match RunCheckpoint::read(&self.path(step)) {
                Ok(checkpoint) => return Ok(Some(Newest { checkpoint, damaged })),
                // A running training has removed it meanwhile, since there are newer ones.
                Err(_) if !self.steps()?.contains(&step) => return self.newest(),
                Err(error) if error.damaged_file().is_some() => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        if damaged.is_empty() {
            return Ok(None);
        }
        Err(RunCheckpointError::NoneReadable(damaged.iter().map(RunCheckpointError::to_string).collect()))
    }

    /// Renames damaged files, to end in `.damaged`. Only the process that holds the run's [`Lock`](crate::Lock) may do
    /// this.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn set_aside(damaged: &[RunCheckpointError]) -> Result<(), RunCheckpointError> {
        for path in damaged.iter().filter_map(RunCheckpointError::damaged_file) {
            let failed = |cause| RunCheckpointError::Folder { path: path.into(), cause };
            fs::rename(path, path.with_extension("damaged")).map_err(failed)?;
        }
        Ok(())
    }

    /// Removes files that a killed process has left half written. Only the process that holds the run's lock may do
    /// this.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn remove_unfinished(&self) -> Result<(), RunCheckpointError> {
        for folder in [self.run_folder.clone(), self.folder(), self.run_folder.join("samples")] {
            let failed = |cause| RunCheckpointError::Folder { path: folder.clone(), cause };
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if UNFINISHED.iter().any(|start| name.starts_with(start)) && name.ends_with(".tmp") {
                    fs::remove_file(&path).map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}

impl RunCheckpoint {
    /// Reads a checkpoint and verifies its checksum.
    ///
    /// # Errors
    /// If the file is not, bit for bit, what a training has saved.
    pub fn read(path: &Path) -> Result<RunCheckpoint, RunCheckpointError> {
        let damaged = |what: String| RunCheckpointError::Damaged { path: path.into(), what };
        let mut state = Checkpoint::read(path)?;
        let run = state.metadata().get(RUN).ok_or_else(|| damaged("this is no checkpoint of a training".into()))?;
        let run = serde_json::from_str(run).map_err(|error| damaged(error.to_string()))?;
        let stored = state.metadata_mut().remove(CHECKSUM);
        if stored != Some(checksum(&state)?) {
            return Err(damaged("damaged: its checksum does not match".into()));
        }
        let step = state
            .metadata()
            .get("trainer")
            .and_then(|settings| serde_json::from_str::<serde_json::Value>(settings).ok()?["step"].as_u64());
        Ok(RunCheckpoint {
            step: step.ok_or_else(|| damaged("damaged: its metadata lack the step".into()))?,
            run,
            state,
        })
    }

    /// The generator's state dict, as every command takes it. Its metadata hold the step, the settings, and whether the
    /// generator is plain (without mask norm).
    pub fn generator(&self) -> Checkpoint {
        let mut generator = self.state.part("generator.");
        let metadata = generator.metadata_mut();
        metadata.insert("step".into(), self.step.to_string());
        metadata.insert("settings".into(), serde_json::json!(self.run.settings.without_folders()).to_string());
        if self.run.settings.plain {
            metadata.insert(GeneratorConfig::PLAIN.into(), "true".into());
        }
        generator
    }
}

/// Reads the generator's weights from any file that [`Checkpoint::read`] takes, a training's checkpoint included.
///
/// # Errors
/// As [`Checkpoint::read`] and, for a training's checkpoint, [`RunCheckpoint::read`].
pub fn read_generator(path: &Path) -> Result<Checkpoint, RunCheckpointError> {
    let checkpoint = Checkpoint::read(path)?;
    if checkpoint.metadata().contains_key(RUN) { Ok(RunCheckpoint::read(path)?.generator()) } else { Ok(checkpoint) }
}

/// The CRC-32 of names, elements and metadata, in hexadecimal.
///
/// # Errors
/// If the elements cannot be read from their file.
pub fn checksum(state: &Checkpoint) -> Result<String, CheckpointError> {
    let mut hasher = crc32fast::Hasher::new();
    for (name, array) in state.iter() {
        hasher.update(name.as_bytes());
        hasher.update(&array.to_le_bytes()?);
    }
    for (key, text) in state.metadata() {
        hasher.update(key.as_bytes());
        hasher.update(text.as_bytes());
    }
    Ok(format!("{:08x}", hasher.finalize()))
}

fn verify_finite(RunCheckpoint { step, state, .. }: &RunCheckpoint) -> Result<(), RunCheckpointError> {
    for (name, array) in state.iter().filter(|(_, array)| array.dtype() == Dtype::F32) {
        if let Some(&value) = array.to_f32()?.iter().find(|value| !value.is_finite()) {
            return Err(RunCheckpointError::NotFinite { tensor: name.into(), step: *step, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataSummary, Settings};
    use alias_checkpoint::Array;

    fn checkpoint(step: u64, value: f32) -> RunCheckpoint {
        let mut state = Checkpoint::new();
        state.insert("generator.conv_0.bias", Array::from_f32(&[2], &[value, 0.5]));
        state.insert("second_moment.generator.conv_0.bias", Array::from_f32(&[2], &[1.0, 2.0]));
        state.metadata_mut().insert("trainer".into(), format!("{{\"step\":{step}}}"));
        let data = DataSummary { examples: 3, names: "0".into(), size: [64, 64] };
        let settings = Settings { data: "/home/somebody/set".into(), plain: true, ..Default::default() };
        RunCheckpoint { step, run: RunDescription { settings, data, vgg_checksum: None }, state }
    }

    fn folder() -> (tempfile::TempDir, Checkpoints) {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of(folder.path());
        assert!(checkpoints.newest().unwrap().is_none());
        fs::create_dir(checkpoints.folder()).unwrap();
        (folder, checkpoints)
    }

    #[test]
    fn the_newest_are_kept() {
        let (folder, checkpoints) = folder();
        for step in [1, 2, 9, 10, 11] {
            checkpoints.save(&mut checkpoint(step, step as f32), 3).unwrap();
        }
        assert_eq!(checkpoints.steps().unwrap(), [9, 10, 11]);
        let Newest { checkpoint: newest, damaged } = checkpoints.newest().unwrap().unwrap();
        assert_eq!((newest.step, newest.run, damaged.len()), (11, checkpoint(11, 0.0).run, 0));
        checkpoints.save_generator(&checkpoint(11, 3.0)).unwrap();
        let generator = Checkpoint::read(folder.path().join(GENERATOR)).unwrap();
        assert_eq!(generator.keys().collect::<Vec<_>>(), ["conv_0.bias"]);
        let metadata = generator.metadata();
        assert_eq!((metadata["step"].as_str(), metadata["plain"].as_str()), ("11", "true"));
        assert!(metadata["settings"].contains("\"set\"") && !metadata["settings"].contains("somebody"));
    }

    /// Damage: the file is truncated, or one bit of the elements or of the metadata is flipped.
    #[test]
    fn damaged_ones_are_set_aside() {
        for damage in ["cut", "element", "metadata"] {
            let (_folder, checkpoints) = folder();
            (1..=2).for_each(|step| checkpoints.save(&mut checkpoint(step, 1.0), 3).unwrap());
            let mut bytes = fs::read(checkpoints.path(2)).unwrap();
            let length = bytes.len();
            match damage {
                "cut" => bytes.truncate(length - 1),
                "element" => bytes[length - 3] ^= 1,
                _ => {
                    let at = bytes.windows(8).position(|bytes| bytes == b"somebody").unwrap();
                    bytes[at] ^= 1;
                }
            }
            fs::write(checkpoints.path(2), bytes).unwrap();
            let Newest { checkpoint: newest, damaged } = checkpoints.newest().unwrap().unwrap();
            assert_eq!((newest.step, damaged.len()), (1, 1), "{damage}");
            assert!(damaged[0].to_string().contains("step-00000002.safetensors"), "{damaged:?}");
            assert_eq!(checkpoints.steps().unwrap(), [1, 2], "looking moves nothing");
            Checkpoints::set_aside(&damaged).unwrap();
            assert_eq!(checkpoints.steps().unwrap(), [1], "the damaged one is out of the way");
            fs::write(checkpoints.path(1), b"").unwrap();
            assert!(
                matches!(checkpoints.newest(), Err(RunCheckpointError::NoneReadable(reasons)) if reasons.len() == 1)
            );
        }
    }

    /// A checkpoint that cannot be opened may be whole, so the one before it must not be taken for the newest.
    #[test]
    #[cfg(unix)]
    fn unreadable_ones_are_not_damaged() {
        let (_folder, checkpoints) = folder();
        (1..=2).for_each(|step| checkpoints.save(&mut checkpoint(step, 1.0), 3).unwrap());
        fs::remove_file(checkpoints.path(2)).unwrap();
        std::os::unix::fs::symlink("a disk that is not there", checkpoints.path(2)).unwrap();
        assert!(
            matches!(checkpoints.newest(), Err(RunCheckpointError::File(error)) if error.file() == checkpoints.path(2))
        );
    }

    #[test]
    fn only_unfinished_files_of_the_run_are_removed() {
        let (folder, checkpoints) = folder();
        fs::create_dir(folder.path().join("samples")).unwrap();
        let kept = [".notes.tmp", ".step-7.png", "step-00000001.tmp"].map(|name| folder.path().join(name));
        let names = [
            ".log.jsonl.3-0.tmp",
            ".losses.png.3-1.tmp",
            ".generator.safetensors.3-2.tmp",
            "samples/.step-00000001.png.3-3.tmp",
            "checkpoints/.step-00000001.safetensors.3-4.tmp",
        ];
        let removed = names.map(|name| folder.path().join(name));
        kept.iter().chain(&removed).for_each(|path| fs::write(path, "").unwrap());
        checkpoints.remove_unfinished().unwrap();
        assert!(kept.iter().all(|path| path.exists()) && !removed.iter().any(|path| path.exists()));
    }

    #[test]
    fn nan_is_not_saved() {
        let (_folder, checkpoints) = folder();
        let error = checkpoints.save(&mut checkpoint(4, f32::NAN), 3).unwrap_err().to_string();
        assert!(error.contains("generator.conv_0.bias of step 4 holds NaN"), "{error}");
        assert!(checkpoints.steps().unwrap().is_empty());
    }
}
