//! Persons and garments, read from files and prepared for the networks.

use alias_model::preprocess::Fit;
use alias_model::preprocess::agnostic::Radii;
use alias_model::preprocess::labels::LabelSet;
use alias_model::{Framing, GarmentPhoto, MatchingConfig, PersonPhoto, PreparedGarment, PreparedPerson};
use alias_pictures::wardrobe::{GarmentFiles, PersonFiles};
use anyhow::{Context, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How persons and garments are prepared.
#[derive(clap::Args)]
pub(crate) struct Preparing {
    /// What the numbers in label maps mean
    #[arg(long, value_name = "SET", value_enum, default_value = "lip")]
    labels: Labels,

    /// Replace the garment's background by VITON-HD's gray (246), which its weights know
    #[arg(long)]
    replace_background: bool,

    /// Paint over the person with the authors' radii, which do not grow with the picture
    #[arg(long)]
    published_radii: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Labels {
    /// LIP's twenty, as in VITON-HD's files, and as SCHP and CIHP_PGN write them
    Lip,
    /// ATR's eighteen, as SCHP writes them
    Atr,
    /// Pascal Person Part's seven (told why they do not serve: no garments)
    Pascal,
    /// The image generator's seven (told why they do not serve: face, trousers and shoes are one)
    Seven,
}

impl From<Labels> for LabelSet {
    fn from(labels: Labels) -> LabelSet {
        match labels {
            Labels::Lip => LabelSet::Lip,
            Labels::Atr => LabelSet::Atr,
            Labels::Pascal => LabelSet::Pascal,
            Labels::Seven => LabelSet::Generator,
        }
    }
}

/// Reads persons and garments and prepares them for the networks.
pub(super) struct Preparer<'a> {
    arguments: &'a Preparing,
    matching: MatchingConfig,
    framing: Framing,
    /// The last person and the last garment, since pairs often have one of them in common.
    last_person: Last<PersonFiles, PreparedPerson>,
    last_garment: Last<GarmentFiles, PreparedGarment>,
    /// What owners of files should know, to be told between bars.
    notes: Mutex<Vec<String>>,
}

/// The last value, and the files that it was made of.
type Last<K, T> = Mutex<Option<(K, Arc<T>)>>;

impl<'a> Preparer<'a> {
    /// Prepares for a matching module of this configuration, at `size` or, without one, at four times the resolution of the
    /// module and VITON-HD's aspect, as the authors have it.
    pub(super) fn new(
        arguments: &'a Preparing,
        size: Option<[usize; 2]>,
        matching: MatchingConfig,
    ) -> Result<Preparer<'a>> {
        let size = match size {
            Some(size) => size,
            None => matching.low_size(4, 3)?.map(|side| 4 * side),
        };
        Fit::new(size, size).context("--size")?;
        let radii = if arguments.published_radii { Radii::PUBLISHED } else { Framing::of_size(size).radii };
        let low = matching.low_size(size[0], size[1])?;
        let mut notes = Vec::new();
        if low[0] * size[1] != low[1] * size[0] {
            let ([height, width], [low_h, low_w], [fits_h, fits_w]) = (size, low, low.map(|side| 4 * side));
            notes.push(format!(
                "--size {height}x{width}: these weights work at {low_h}x{low_w}, another aspect ratio, so the first two \
                 networks see a squeezed person; use {fits_h}x{fits_w}"
            ));
        }
        Ok(Preparer {
            arguments,
            matching,
            framing: Framing { size, radii },
            last_person: Mutex::default(),
            last_garment: Mutex::default(),
            notes: Mutex::new(notes),
        })
    }

    /// The size at which pictures are drawn.
    pub(super) fn size(&self) -> [usize; 2] {
        self.framing.size
    }

    pub(super) fn person(&self, files: &PersonFiles) -> Result<Arc<PreparedPerson>> {
        cached(&self.last_person, files, || {
            let read = files.read(self.arguments.labels.into())?;
            let photo = PersonPhoto {
                photo: &read.photo,
                labels: &read.labels,
                keypoints: &read.keypoints,
                skeleton: read.pose.as_ref(),
            };
            let prepared = PreparedPerson::new(&photo, self.framing, self.matching);
            let prepared = prepared.with_context(|| format!("{}", files.photo.display()))?;
            let file = files.keypoints.display();
            self.note(read.notes.into_iter().chain(prepared.warnings.iter().map(|w| format!("{file}: {w}"))));
            Ok(prepared)
        })
    }

    pub(super) fn garment(&self, files: &GarmentFiles) -> Result<Arc<PreparedGarment>> {
        cached(&self.last_garment, files, || {
            let read = files.read()?;
            let replaces_background = self.arguments.replace_background;
            let photo = GarmentPhoto { photo: &read.photo, mask: read.mask.as_ref(), replaces_background };
            let path = files.photo.display();
            let prepared = PreparedGarment::new(&photo, self.framing, self.matching);
            let prepared = prepared.with_context(|| format!("{path}"))?;
            self.note(read.notes.into_iter().chain(prepared.warnings.iter().map(|w| format!("{path}: {w}"))));
            Ok(prepared)
        })
    }

    fn note(&self, notes: impl Iterator<Item = String>) {
        lock(&self.notes).extend(notes);
    }

    /// What owners of files should know since the last call. Each line names a file.
    pub(super) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.notes))
    }
}

/// The last value if it was made of the same files, else a new one.
fn cached<K: PartialEq + Clone, T>(last: &Last<K, T>, files: &K, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
    if let Some((known, value)) = &*lock(last)
        && known == files
    {
        return Ok(value.clone());
    }
    let made = Arc::new(make()?);
    *lock(last) = Some((files.clone(), made.clone()));
    Ok(made)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
