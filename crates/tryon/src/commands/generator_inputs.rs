//! The image generator's inputs as files, in the layout that `tryon synth` and `tryon train` read.

use alias_model::preprocess::Rgb8;
use alias_pictures::images::{Image, Plane, write_lip_labels, write_mask, write_rgb, write_rgb8};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The folders, by the names that `tryon train` reads.
pub(super) const FOLDERS: [&str; 5] =
    ["agnostic-v3.2", "openpose_img", "image-parse-v3", "warped-cloth", "warped-cloth-mask"];

/// The image generator's inputs for one person, all of the person's drawn size.
pub(super) struct GeneratorInputs<'a> {
    pub(super) agnostic: &'a Rgb8,
    pub(super) pose: &'a Rgb8,
    /// LIP's labels, (H, W).
    pub(super) labels: &'a [u8],
    /// (3, H, W) in [-1, 1].
    pub(super) warped_cloth: &'a [f32],
    /// (H, W) in [0, 1].
    pub(super) warped_mask: &'a [f32],
}

impl GeneratorInputs<'_> {
    /// Writes `name`.png in each of [`FOLDERS`] of `root`.
    pub(super) fn write(&self, root: &Path, name: &str) -> Result<()> {
        let [agnostic, pose, labels, cloth, mask] = FOLDERS.map(|folder| file(root, folder, name));
        let [height, width] = self.agnostic.size();
        write_rgb8(&agnostic, self.agnostic)?;
        write_rgb8(&pose, self.pose)?;
        write_lip_labels(&labels, &Plane { height, width, data: self.labels.into() })?;
        write_rgb(&cloth, &Image { height, width, data: self.warped_cloth.into() })?;
        write_mask(&mask, &Plane { height, width, data: self.warped_mask.into() })?;
        Ok(())
    }
}

/// Where the picture of this name is in a folder of `root`.
pub(super) fn file(root: &Path, folder: &str, name: &str) -> PathBuf {
    root.join(folder).join(format!("{name}.png"))
}

/// The pairs file of a training set.
pub(super) const PAIRS: &str = "train_pairs.txt";

/// Writes [`PAIRS`], in which each picture has the garment of its own name.
pub(super) fn write_pairs(root: &Path, names: impl Iterator<Item = String>) -> Result<()> {
    let pairs: String = names.map(|name| format!("{name} {name}\n")).collect();
    let path = root.join(PAIRS);
    alias_checkpoint::write_atomically(&path, |file| std::io::Write::write_all(file, pairs.as_bytes()))
        .with_context(|| format!("{}", path.display()))
}
