//! Folders of pictures to train on, laid out as VITON-HD's are.
//!
//! | the generator's | is read from the first of these folders that is there |
//! |---|---|
//! | true picture | `image` |
//! | agnostic picture | `agnostic-v3.2`, `agnostic` |
//! | pose | `openpose_img`, `openpose-img`, `openpose` |
//! | labels | `image-parse-v3`, `image-parse` |
//! | warped garment | `warped-cloth`, `cloth` |
//! | its mask | `warped-cloth-mask`, `cloth-mask` |
//!
//! Garments are taken as they are: whatever warps them writes `warped-cloth`. A pairs file (`train_pairs.txt`, else
//! `pairs.txt`) names a picture and a garment on each line; for training they are those of the same person, whose names are the
//! same, and the picture's name finds all six files: its stem, with or without `_rendered`, as .png, .jpg or .jpeg.

use crate::images::{self, ParseLabels, SampleFiles, read_rgb, read_sample, read_size, same_size};
use crate::resize;
use alias_model::Sample;
use std::path::{Path, PathBuf};

/// The folders that each input is looked for in.
const FOLDERS: [(&str, &[&str]); 6] = [
    ("true picture", &["image"]),
    ("agnostic picture", &["agnostic-v3.2", "agnostic"]),
    ("pose", &["openpose_img", "openpose-img", "openpose"]),
    ("labels", &["image-parse-v3", "image-parse"]),
    ("warped garment", &["warped-cloth", "cloth"]),
    ("mask of the warped garment", &["warped-cloth-mask", "cloth-mask"]),
];
const PAIRS: [&str; 2] = ["train_pairs.txt", "pairs.txt"];
const EXTENSIONS: [&str; 3] = ["png", "jpg", "jpeg"];

/// Pictures to train on. Every file is known to be there, and to be as large as the others.
#[derive(Clone, Debug)]
pub struct Dataset {
    items: Vec<Item>,
    /// Height and width of all pictures.
    stored_size: [usize; 2],
    /// Those that they are read at.
    size: [usize; 2],
}

/// What the generator is given, and what it should draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// A batch of one.
    pub sample: Sample,
    /// (3, H, W) in [-1, 1].
    pub truth: Vec<f32>,
}

/// One example's files, in the order of [`FOLDERS`].
#[derive(Clone, Debug)]
struct Item {
    name: String,
    files: [PathBuf; 6],
}

/// All that is wrong with a dataset, at once.
#[derive(Debug, thiserror::Error)]
#[error("{}: {} cannot be used:\n  {}", folder.display(), count(problems.len()), shown(problems))]
pub struct Problems {
    /// The dataset's folder.
    pub folder: PathBuf,
    /// A line each.
    pub problems: Vec<String>,
}

/// At most this many are shown; the cause of hundreds is one.
const SHOWN: usize = 30;

fn count(problems: usize) -> String {
    if problems == 1 { "for one reason it".into() } else { format!("for {problems} reasons it") }
}

fn shown(problems: &[String]) -> String {
    let mut lines = problems.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    if problems.len() > SHOWN {
        lines.push(format!("and {} more", problems.len() - SHOWN));
    }
    lines.join("\n  ")
}

impl Dataset {
    /// Looks for every file of every example, and at its header.
    ///
    /// # Errors
    /// [`Problems`] with everything that is missing or misshapen.
    pub fn open(folder: &Path) -> Result<Dataset, Problems> {
        let mut problems = Vec::new();
        let folders = FOLDERS.map(|(what, names)| {
            let found = names.iter().map(|name| folder.join(name)).find(|path| path.is_dir());
            if found.is_none() {
                problems.push(format!("no folder {} for the {what}", names.join(" or ")));
            }
            found
        });
        let names = names(folder, &mut problems);
        let mut items = Vec::new();
        let mut size = None;
        for name in names {
            let files = folders.each_ref().map(|folder| find(folder.as_deref()?, &name, &mut problems));
            check_sizes(files.iter().flatten(), &mut size, &mut problems);
            items.push(Item { name, files: files.map(Option::unwrap_or_default) });
        }
        match size {
            Some(size) if problems.is_empty() => Ok(Dataset { items, stored_size: size, size }),
            _ => Err(Problems { folder: folder.into(), problems }),
        }
    }

    /// How many examples there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The same, read at this height and width.
    #[must_use]
    pub fn at_size(self, size: [usize; 2]) -> Dataset {
        Dataset { size, ..self }
    }

    /// Height and width that examples are read at.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Height and width of all pictures in their files.
    pub fn stored_size(&self) -> [usize; 2] {
        self.stored_size
    }

    /// Which of the generator's inputs is read from which folder.
    pub fn sources(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = &self.items[0].files;
        FOLDERS.iter().zip(files).map(|((what, _), file)| (*what, file.parent().unwrap_or(file)))
    }

    /// What example `index` is called.
    pub fn name(&self, index: usize) -> &str {
        &self.items[index].name
    }

    /// Reads example `index`, at [`Dataset::size`].
    ///
    /// # Errors
    /// Where a file has gone, or is no picture of what it should show.
    pub fn read(&self, index: usize) -> images::Result<Example> {
        let [image, agnostic, pose, parse, warped_cloth, warped_mask] = self.items[index].files.each_ref();
        let files = SampleFiles { agnostic, pose, warped_cloth, warped_mask, parse };
        // Files may have been replaced since they were looked at.
        same_size(image, &[agnostic])?;
        let (sample, truth) = (read_sample(&files, ParseLabels::Auto)?, read_rgb(image)?);
        let [height, width] = self.size;
        Ok(if self.size == [sample.height, sample.width] {
            Example { sample, truth: truth.data }
        } else {
            let truth = resize::image(&truth, height, width).data;
            Example { sample: resize::sample(&sample, height, width), truth }
        })
    }
}

/// The stems of the pictures that the pairs file names.
fn names(folder: &Path, problems: &mut Vec<String>) -> Vec<String> {
    let Some(path) = PAIRS.iter().map(|name| folder.join(name)).find(|path| path.is_file()) else {
        problems.push(format!("no {}: a line for each picture, IMAGE CLOTH", PAIRS.join(" or ")));
        return Vec::new();
    };
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        problems.push(format!("{}: {error}", path.display()));
        String::new()
    });
    let mut names = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let stem = |name: &str| Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [image, cloth] if stem(image) == stem(cloth) => names.push(stem(image)),
            [_, _] => problems.push(format!(
                "{}, line {}: {line}: the picture must show that garment; pair each with its own",
                path.display(),
                number + 1
            )),
            _ => {
                problems.push(format!("{}, line {}: expected IMAGE CLOTH, found '{line}'", path.display(), number + 1));
            }
        }
    }
    if names.is_empty() && problems.is_empty() {
        problems.push(format!("{} names no picture", path.display()));
    }
    names
}

/// The file of that name in a folder, whatever kind of picture it is.
fn find(folder: &Path, name: &str, problems: &mut Vec<String>) -> Option<PathBuf> {
    let candidates = ["", "_rendered"].into_iter().flat_map(|suffix| {
        EXTENSIONS.into_iter().map(move |extension| folder.join(format!("{name}{suffix}.{extension}")))
    });
    let found = candidates.into_iter().find(|path| path.is_file());
    if found.is_none() {
        problems.push(format!("{}: no {name}.png, .jpg or .jpeg", folder.display()));
    }
    found
}

/// Compares the sizes of an example's pictures with that of the very first one.
fn check_sizes<'a>(
    files: impl Iterator<Item = &'a PathBuf>,
    size: &mut Option<[usize; 2]>,
    problems: &mut Vec<String>,
) {
    for path in files {
        match read_size(path) {
            Err(error) => problems.push(error.to_string()),
            Ok((height, width)) => {
                let expected = *size.get_or_insert([height, width]);
                if expected != [height, width] {
                    let [h, w] = expected;
                    problems.push(format!("{} is {height}x{width}, the first picture {h}x{w}", path.display()));
                }
            }
        }
    }
}
