//! A run's checkpoints: written whole or not at all, read only if they are what was written.

use super::Run;
use alias_checkpoint::{CheckpointError, Dtype, Problem};
use alias_model::{Checkpoint, GeneratorConfig};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// In the run's folder: the newest generator's state dict, which every command takes as weights.
pub const GENERATOR: &str = "generator.safetensors";
/// Where in the metadata the run is described.
const RUN: &str = "run";
/// Where in the metadata the checksum of everything else is.
const CHECKSUM: &str = "checksum";
const PREFIX: &str = "step-";
const SUFFIX: &str = ".safetensors";
/// How the names of unfinished files begin: those of checkpoints and sheets, of the generator, the curves, the log.
const UNFINISHED: [&str; 4] = [".step-", ".generator.safetensors.", ".losses.png.", ".log.jsonl."];

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
    /// What [`alias_model::Trainer::save`] gave. Values of a checkpoint in a file are read from it when they are needed.
    pub state: Checkpoint,
}

/// What a look for the newest checkpoint finds.
#[derive(Debug)]
pub struct Newest {
    /// The newest one that is whole.
    pub saved: Saved,
    /// Those after it: which file, and what is wrong with it.
    pub damaged: Vec<Error>,
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

impl Error {
    /// The file that is not as it was written, if that is what is wrong. What cannot be read now may be whole.
    fn damaged_file(&self) -> Option<&Path> {
        match self {
            Error::Damaged { path, .. } => Some(path),
            Error::File(error) => (!matches!(error.problem(), Problem::Io(_))).then(|| error.file()),
            _ => None,
        }
    }
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

    /// Writes what [`alias_model::Trainer::save`] gave after so many steps; then removes all but the last `keep` checkpoints.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where the state is not worth it; what the file system reports. What was there is still there.
    pub fn save(&self, saved: &mut Saved, keep: usize) -> Result<(), Error> {
        verify_finite(saved)?;
        let Saved { step, run, state } = saved;
        let path = self.path(*step);
        state.metadata_mut().insert(RUN.into(), serde_json::json!(run).to_string());
        let checksum = checksum(state)?;
        state.metadata_mut().insert(CHECKSUM.into(), checksum);
        state.write_safetensors(path)?;
        let steps = self.steps()?;
        for old in &steps[..steps.len().saturating_sub(keep)] {
            let path = self.path(*old);
            fs::remove_file(&path).map_err(|cause| Error::Folder { path, cause })?;
        }
        Ok(())
    }

    /// Writes the generator's state dict alone, beside the checkpoints, as weights for every other command.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn save_generator(&self, saved: &Saved) -> Result<(), Error> {
        Ok(generator(saved).write_safetensors(self.run.join(GENERATOR))?)
    }

    /// The newest one that is whole, if there are any.
    ///
    /// # Errors
    /// [`Error::NoneReadable`] where there are checkpoints, all of them damaged; what the file system reports.
    pub fn newest(&self) -> Result<Option<Newest>, Error> {
        let mut damaged = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            match Saved::read(&self.path(step)) {
                Ok(saved) => return Ok(Some(Newest { saved, damaged })),
                // A training that goes on meanwhile has removed it, for newer ones.
                Err(_) if !self.steps()?.contains(&step) => return self.newest(),
                Err(error) if error.damaged_file().is_some() => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        if damaged.is_empty() {
            return Ok(None);
        }
        Err(Error::NoneReadable(damaged.iter().map(Error::to_string).collect()))
    }

    /// Renames damaged ones to `.damaged`, for whoever holds the run's [`Lock`](crate::Lock).
    ///
    /// # Errors
    /// What the file system reports.
    pub fn set_aside(damaged: &[Error]) -> Result<(), Error> {
        for path in damaged.iter().filter_map(Error::damaged_file) {
            let failed = |cause| Error::Folder { path: path.into(), cause };
            fs::rename(path, path.with_extension("damaged")).map_err(failed)?;
        }
        Ok(())
    }

    /// Removes what a process that was killed has left half written.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn remove_unfinished(&self) -> Result<(), Error> {
        for folder in [self.run.clone(), self.folder(), self.run.join("samples")] {
            let failed = |cause| Error::Folder { path: folder.clone(), cause };
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
        if stored != Some(checksum(&state)?) {
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
        metadata.insert(GeneratorConfig::PLAIN.into(), "true".into());
    }
    generator
}

/// The generator's weights in a file: those of any format that [`Checkpoint::read`] knows, or in a checkpoint of a training.
///
/// # Errors
/// As those two have.
pub fn read_generator(path: &Path) -> Result<Checkpoint, Error> {
    let checkpoint = Checkpoint::read(path)?;
    if checkpoint.metadata().contains_key(RUN) { Ok(generator(&Saved::read(path)?)) } else { Ok(checkpoint) }
}

/// Of names, elements and metadata.
///
/// # Errors
/// If the elements cannot be read from the file that they lie in.
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

fn verify_finite(Saved { step, state, .. }: &Saved) -> Result<(), Error> {
    for (name, array) in state.iter().filter(|(_, array)| array.dtype() == Dtype::F32) {
        if let Some(&value) = array.to_f32()?.iter().find(|value| !value.is_finite()) {
            return Err(Error::NotFinite { tensor: name.into(), step: *step, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataSummary, Settings};
    use alias_checkpoint::Array;

    fn saved(step: u64, value: f32) -> Saved {
        let mut state = Checkpoint::new();
        state.insert("generator.conv_0.bias", Array::from_f32(&[2], &[value, 0.5]));
        state.insert("second_moment.generator.conv_0.bias", Array::from_f32(&[2], &[1.0, 2.0]));
        state.metadata_mut().insert("trainer".into(), format!("{{\"step\":{step}}}"));
        let data = DataSummary { examples: 3, names: "0".into(), size: [64, 64] };
        let settings = Settings { data: "/home/somebody/set".into(), plain: true, ..Default::default() };
        Saved { step, run: Run { settings, data, vgg_checksum: None }, state }
    }

    fn folder() -> (tempfile::TempDir, Checkpoints) {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of(folder.path());
        assert!(checkpoints.newest().unwrap().is_none());
        fs::create_dir(checkpoints.folder()).unwrap();
        (folder, checkpoints)
    }

    #[test]
    fn the_last_ones_are_kept() {
        let (folder, checkpoints) = folder();
        for step in [1, 2, 9, 10, 11] {
            checkpoints.save(&mut saved(step, step as f32), 3).unwrap();
        }
        assert_eq!(checkpoints.steps().unwrap(), [9, 10, 11]);
        let Newest { saved: newest, damaged } = checkpoints.newest().unwrap().unwrap();
        assert_eq!((newest.step, newest.run, damaged.len()), (11, saved(11, 0.0).run, 0));
        checkpoints.save_generator(&saved(11, 3.0)).unwrap();
        let generator = Checkpoint::read(folder.path().join(GENERATOR)).unwrap();
        assert_eq!(generator.keys().collect::<Vec<_>>(), ["conv_0.bias"]);
        let metadata = generator.metadata();
        assert_eq!((metadata["step"].as_str(), metadata["plain"].as_str()), ("11", "true"));
        assert!(metadata["settings"].contains("\"set\"") && !metadata["settings"].contains("somebody"));
    }

    /// Cut off, or one bit of the elements or of the metadata turned over.
    #[test]
    fn damaged_ones_are_set_aside() {
        for damage in ["cut", "element", "metadata"] {
            let (_folder, checkpoints) = folder();
            (1..=2).for_each(|step| checkpoints.save(&mut saved(step, 1.0), 3).unwrap());
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
            let Newest { saved: newest, damaged } = checkpoints.newest().unwrap().unwrap();
            assert_eq!((newest.step, damaged.len()), (1, 1), "{damage}");
            assert!(damaged[0].to_string().contains("step-00000002.safetensors"), "{damaged:?}");
            assert_eq!(checkpoints.steps().unwrap(), [1, 2], "who only looks moves nothing");
            Checkpoints::set_aside(&damaged).unwrap();
            assert_eq!(checkpoints.steps().unwrap(), [1], "the damaged one is out of the way");
            fs::write(checkpoints.path(1), b"").unwrap();
            assert!(matches!(checkpoints.newest(), Err(Error::NoneReadable(reasons)) if reasons.len() == 1));
        }
    }

    /// One that cannot be opened may be whole: nothing says that the one before it is the newest.
    #[test]
    #[cfg(unix)]
    fn unreadable_ones_are_not_damaged() {
        let (_folder, checkpoints) = folder();
        (1..=2).for_each(|step| checkpoints.save(&mut saved(step, 1.0), 3).unwrap());
        fs::remove_file(checkpoints.path(2)).unwrap();
        std::os::unix::fs::symlink("a disk that is not there", checkpoints.path(2)).unwrap();
        assert!(matches!(checkpoints.newest(), Err(Error::File(error)) if error.file() == checkpoints.path(2)));
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
    fn what_is_no_number_is_not_saved() {
        let (_folder, checkpoints) = folder();
        let error = checkpoints.save(&mut saved(4, f32::NAN), 3).unwrap_err().to_string();
        assert!(error.contains("generator.conv_0.bias of step 4 holds NaN"), "{error}");
        assert!(checkpoints.steps().unwrap().is_empty());
    }
}
