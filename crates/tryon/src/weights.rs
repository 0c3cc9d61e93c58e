//! The checkpoints of the three networks, told apart by what they hold.

use alias_model::{Checkpoint, GeneratorConfig, MatchingConfig, SegmentationConfig};
use alias_train::read_generator;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// Endings of checkpoints.
const ENDINGS: [&str; 6] = ["pth", "pt", "ckpt", "tar", "bin", "safetensors"];

/// The checkpoints that were found, each with its file.
#[derive(Default)]
pub(crate) struct Weights {
    pub(crate) segmentation: Option<(PathBuf, Checkpoint)>,
    pub(crate) matching: Option<(PathBuf, Checkpoint)>,
    pub(crate) generator: Option<(PathBuf, Checkpoint)>,
}

impl Weights {
    /// Reads files, or all checkpoints of a folder, in any order.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Weights> {
        let mut weights = Weights::default();
        for path in paths {
            if path.is_dir() {
                let files = checkpoints_in(path)?;
                ensure!(!files.is_empty(), "{} holds no checkpoint (.{})", path.display(), ENDINGS.join(", ."));
                for file in files {
                    // A folder may hold other networks' files as well.
                    weights.add(&file)?;
                }
            } else if !weights.add(path)? {
                bail!(
                    "{} is none of the three networks': segmentation generator (seg_final.pth), geometric matching \
                     module (gmm_final.pth), image generator (alias_final.pth); `tryon inspect` lists what it holds",
                    path.display()
                );
            }
        }
        Ok(weights)
    }

    /// Reads a file. Returns whether it is one of the three.
    fn add(&mut self, path: &Path) -> Result<bool> {
        let checkpoint = read_generator(path)?;
        let (slot, name, state) = if SegmentationConfig::infer(&checkpoint).is_ok() {
            (&mut self.segmentation, "segmentation generator", SegmentationConfig::state_dict_in(&checkpoint))
        } else if MatchingConfig::infer(&checkpoint).is_ok() {
            (&mut self.matching, "geometric matching module", MatchingConfig::state_dict_in(&checkpoint))
        } else if GeneratorConfig::infer(&checkpoint).is_ok() {
            (&mut self.generator, "image generator", GeneratorConfig::state_dict_in(&checkpoint))
        } else {
            return Ok(false);
        };
        if let Some((other, _)) = slot {
            bail!("{} and {} are both weights of the {name}; name one of them", other.display(), path.display());
        }
        verify_finite(&*state?).with_context(|| format!("{}", path.display()))?;
        *slot = Some((path.into(), checkpoint));
        Ok(true)
    }
}

/// One of the three, or an error that names it.
pub(crate) fn needed<'w>(
    found: &'w Option<(PathBuf, Checkpoint)>,
    name: &str,
    published: &str,
) -> Result<&'w Checkpoint> {
    let found = found.as_ref().map(|(_, checkpoint)| checkpoint);
    found.with_context(|| {
        format!("--weights names no {name} ({published}); name its file as well, or a folder with all")
    })
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
