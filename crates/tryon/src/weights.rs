//! The checkpoints of the three networks, told apart by what they hold.

use alias_model::{Checkpoint, GeneratorConfig, MatchingConfig, SegmentationConfig};
use alias_train::read_generator;
use anyhow::{Context, Result, bail, ensure};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Endings of checkpoints.
const ENDINGS: [&str; 6] = ["pth", "pt", "ckpt", "tar", "bin", "safetensors"];

/// The checkpoints that were found, each with its file.
#[derive(Default)]
pub(crate) struct Weights {
    segmentation: Option<(PathBuf, Checkpoint)>,
    matching: Option<(PathBuf, Checkpoint)>,
    generator: Option<(PathBuf, Checkpoint)>,
    /// Files of folders that are none of the three, and why.
    others: Vec<(PathBuf, anyhow::Error)>,
}

impl Weights {
    /// Reads files, or all checkpoints of a folder, in any order.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Weights> {
        let mut weights = Weights::default();
        for path in paths {
            if path.is_dir() {
                let files = checkpoints_in(path)?;
                ensure!(!files.is_empty(), "{} holds no checkpoint (.{})", path.display(), ENDINGS.join(", ."));
                files.iter().try_for_each(|file| weights.add_of_folder(file))?;
            } else {
                let checkpoint = read_generator(path)?;
                let kind = Kind::of(&checkpoint).with_context(|| {
                    format!(
                        "{} is none of the three networks': segmentation generator (seg_final.pth), geometric matching \
                         module (gmm_final.pth), image generator (alias_final.pth); `tryon inspect` lists what it holds",
                        path.display()
                    )
                })?;
                weights.add(path, checkpoint, kind)?;
            }
        }
        Ok(weights)
    }

    pub(crate) fn segmentation(&self) -> Result<&Checkpoint> {
        self.needed(&self.segmentation, Kind::Segmentation)
    }

    pub(crate) fn matching(&self) -> Result<&Checkpoint> {
        self.needed(&self.matching, Kind::Matching)
    }

    pub(crate) fn generator(&self) -> Result<&Checkpoint> {
        self.needed(&self.generator, Kind::Generator)
    }

    /// Adds a file of a folder, which may hold other files than networks as well.
    fn add_of_folder(&mut self, path: &Path) -> Result<()> {
        let read = read_generator(path).map_err(anyhow::Error::from);
        match read.and_then(|checkpoint| Ok((Kind::of(&checkpoint)?, checkpoint))) {
            Ok((kind, checkpoint)) => self.add(path, checkpoint, kind),
            Err(error) => {
                self.others.push((path.into(), error));
                Ok(())
            }
        }
    }

    fn add(&mut self, path: &Path, checkpoint: Checkpoint, kind: Kind) -> Result<()> {
        let slot = match kind {
            Kind::Segmentation => &mut self.segmentation,
            Kind::Matching => &mut self.matching,
            Kind::Generator => &mut self.generator,
        };
        if let Some((other, _)) = slot {
            // The same file again, as by a link to the latest one.
            if matches!((other.canonicalize(), path.canonicalize()), (Ok(a), Ok(b)) if a == b) {
                return Ok(());
            }
            bail!(
                "{} and {} are both weights of the {}; name one of them",
                other.display(),
                path.display(),
                kind.name()
            );
        }
        verify_finite(&*kind.state_dict_in(&checkpoint)?).with_context(|| format!("{}", path.display()))?;
        *slot = Some((path.into(), checkpoint));
        Ok(())
    }

    /// One of the three, or an error that names it.
    fn needed<'w>(&self, found: &'w Option<(PathBuf, Checkpoint)>, kind: Kind) -> Result<&'w Checkpoint> {
        let found = found.as_ref().map(|(_, checkpoint)| checkpoint);
        found.with_context(|| {
            let others = self.others.iter().map(|(path, error)| {
                let error = format!("{error:#}");
                let named = path.display().to_string();
                // Most errors about a file begin with its path.
                if error.starts_with(&named) { format!("\n  {error}") } else { format!("\n  {named}: {error}") }
            });
            let others: String = others.collect();
            let passed = if others.is_empty() { "" } else { "\nThese files are none of the three networks':" };
            format!(
                "--weights names no {} ({}); name its file as well, or a folder with all{passed}{others}",
                kind.name(),
                kind.published()
            )
        })
    }
}

/// Which of the three networks a checkpoint is of.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Segmentation,
    Matching,
    Generator,
}

impl Kind {
    /// Tells by the tensors; the error says why it is not the image generator.
    pub(crate) fn of(checkpoint: &Checkpoint) -> Result<Kind> {
        if SegmentationConfig::infer(checkpoint).is_ok() {
            Ok(Kind::Segmentation)
        } else if MatchingConfig::infer(checkpoint).is_ok() {
            Ok(Kind::Matching)
        } else {
            GeneratorConfig::infer(checkpoint)?;
            Ok(Kind::Generator)
        }
    }

    /// The network's tensors, under the names of its state dict.
    pub(crate) fn state_dict_in(self, checkpoint: &Checkpoint) -> alias_model::Result<Cow<'_, Checkpoint>> {
        match self {
            Kind::Segmentation => SegmentationConfig::state_dict_in(checkpoint),
            Kind::Matching => MatchingConfig::state_dict_in(checkpoint),
            Kind::Generator => GeneratorConfig::state_dict_in(checkpoint),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Segmentation => "segmentation generator",
            Kind::Matching => "geometric matching module",
            Kind::Generator => "image generator",
        }
    }

    /// The published file.
    fn published(self) -> &'static str {
        match self {
            Kind::Segmentation => "seg_final.pth",
            Kind::Matching => "gmm_final.pth",
            Kind::Generator => "alias_final.pth",
        }
    }
}

/// An error if a tensor holds NaN or infinity. ReLU turns NaN into 0 on some devices, so the picture would be wrong without a
/// word.
fn verify_finite(state: &Checkpoint) -> Result<()> {
    for (key, array) in state.iter() {
        if let Some(value) = array.to_f32()?.into_iter().find(|value| !value.is_finite()) {
            bail!(
                "tensor '{}' holds {value}, which no weight can be; download or train the weights again (`tryon inspect` \
                 names every such tensor)",
                key.escape_debug()
            );
        }
    }
    Ok(())
}

fn checkpoints_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("{}", folder.display()))?.path();
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if ENDINGS.contains(&ending.as_str()) && path.is_file() && !is_hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
