//! Folders of examples to train on or to evaluate with, in VITON-HD's layout.
//!
//! | picture | read from the first of these folders that exists |
//! |---|---|
//! | true picture | `image` |
//! | agnostic picture | `agnostic-v3.2`, `agnostic` |
//! | pose | `openpose_img`, `openpose-img`, `openpose` |
//! | labels | `image-parse-v3`, `image-parse` |
//! | warped garment | `warped-cloth`, `cloth` |
//! | its mask | `warped-cloth-mask`, `cloth-mask` |
//!
//! Garments are not warped here: the stage that warps them writes `warped-cloth`. Each line of a pairs file
//! (`train_pairs.txt`, else `pairs.txt`) names a picture and its garment. The picture must show that garment, or there
//! would be no truth to compare with, so both names are the same. All six files have that name's stem, with or without
//! `_rendered`, and a picture's extension, such as .png or .JPG. Names may hold spaces; the file may be UTF-8 or UTF-16.

use crate::folder::Folder;
use crate::images::{self, Note, ParseLabels, SampleFiles, read_rgb, read_sample_noting, read_size, same_size};
use crate::pairs::{self, Line};
use crate::resize;
use alias_model::Sample;
use std::path::{Path, PathBuf};

/// For each picture of an example, the folders that may hold it, preferred ones first.
const FOLDERS: [(&str, &[&str]); 6] = [
    ("true picture", &["image"]),
    ("agnostic picture", &["agnostic-v3.2", "agnostic"]),
    ("pose", &["openpose_img", "openpose-img", "openpose"]),
    ("labels", &["image-parse-v3", "image-parse"]),
    ("warped garment", &["warped-cloth", "cloth"]),
    ("mask of the warped garment", &["warped-cloth-mask", "cloth-mask"]),
];
/// The warped garment's place in [`FOLDERS`].
const GARMENT: usize = 4;
const PAIRS: [&str; 2] = ["train_pairs.txt", "pairs.txt"];

/// An opened dataset: every file exists, and all have the same size.
#[derive(Clone, Debug)]
pub struct Dataset {
    items: Vec<Item>,
    /// Height and width of all files.
    stored_size: [usize; 2],
    /// Height and width that examples are resized to.
    size: [usize; 2],
}

/// The generator's inputs, and what it should draw.
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

/// Everything that is wrong with a dataset.
#[derive(Debug, thiserror::Error)]
#[error("{}: this dataset cannot be used, {}:\n  {}", folder.display(), count(problems.len()), shown(problems))]
pub struct Problems {
    /// The dataset's folder.
    pub folder: PathBuf,
    /// One line for each problem.
    pub problems: Vec<String>,
}

/// The most problems that a message lists: hundreds usually have one cause.
const SHOWN: usize = 30;

fn count(problems: usize) -> String {
    if problems == 1 { "for one reason".into() } else { format!("for {problems} reasons") }
}

fn shown(problems: &[String]) -> String {
    let mut lines = problems.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    if problems.len() > SHOWN {
        lines.push(format!("and {} more", problems.len() - SHOWN));
    }
    lines.join("\n  ")
}

impl Dataset {
    /// Opens a folder: looks for every file of every example and reads the size in its header.
    ///
    /// # Errors
    /// [`Problems`] with everything that is missing or misshapen.
    pub fn open(folder: &Path) -> Result<Dataset, Problems> {
        if !folder.is_dir() {
            return Err(Problems { folder: folder.into(), problems: vec!["there is no such folder".into()] });
        }
        let mut problems = Vec::new();
        let folders = FOLDERS.map(|(what, names)| {
            let found = names.iter().map(|name| folder.join(name)).find(|path| path.is_dir());
            if found.is_none() {
                problems.push(format!("no folder {} for the {what}", names.join(" or ")));
            }
            let path = found?;
            Folder::list(&path).map_err(|error| problems.push(format!("{}: {error}", path.display()))).ok()
        });
        let is_flat = folders[GARMENT].as_ref().is_some_and(|found| found.path().ends_with("cloth"));
        if is_flat && folder.join("openpose_json").is_dir() {
            problems.push(
                "openpose_json shows that this is VITON-HD's set, whose garments in cloth are not warped; `tryon dataset \
                 prepare` warps them into another folder, to be used instead"
                    .into(),
            );
        }
        let names = names(folder, &mut problems);
        let mut items = Vec::new();
        let mut size = None;
        for name in names {
            let files = folders.each_ref().map(|folder| find(folder.as_ref()?, &name, &mut problems));
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

    /// The same dataset, whose examples are resized to this height and width when they are read.
    #[must_use]
    pub fn at_size(self, size: [usize; 2]) -> Dataset {
        Dataset { size, ..self }
    }

    /// Height and width that examples are read at.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Height and width of the files.
    pub fn stored_size(&self) -> [usize; 2] {
        self.stored_size
    }

    /// Each kind of picture, and the folder that it is read from.
    pub fn sources(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = &self.items[0].files;
        FOLDERS.iter().zip(files).map(|((what, _), file)| (*what, file.parent().unwrap_or(file)))
    }

    /// The pictures of all examples.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.items.iter().flat_map(|item| item.files.iter().map(PathBuf::as_path))
    }

    /// The file in a dataset's folder that pairs pictures and garments, if there is one.
    pub fn pairs_file(folder: &Path) -> Option<PathBuf> {
        PAIRS.iter().map(|name| folder.join(name)).find(|path| path.is_file())
    }

    /// The name of example `index`: the stem of its files.
    pub fn name(&self, index: usize) -> &str {
        &self.items[index].name
    }

    /// Reads example `index`, at [`Dataset::size`].
    ///
    /// # Errors
    /// If a file is gone, damaged or of another size than the example's others, or if a parse map holds no labels.
    pub fn read(&self, index: usize) -> images::Result<Example> {
        self.read_noting(index, &mut Vec::new())
    }

    /// As [`Dataset::read`]; adds to `notes` what was read otherwise than the files say, or looks wrong.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn read_noting(&self, index: usize, notes: &mut Vec<Note>) -> images::Result<Example> {
        let [image, agnostic, pose, parse, warped_cloth, warped_mask] = self.items[index].files.each_ref();
        let files = SampleFiles { agnostic, pose, warped_cloth, warped_mask, parse };
        // Files may have been replaced since the dataset was opened.
        same_size(image, &[agnostic])?;
        let (sample, truth) = (read_sample_noting(&files, ParseLabels::Auto, notes)?, read_rgb(image)?);
        let [height, width] = self.size;
        Ok(if self.size == [sample.height, sample.width] {
            Example { sample, truth: truth.data }
        } else {
            let truth = resize::image(&truth, height, width).data;
            Example { sample: resize::sample(&sample, height, width), truth }
        })
    }
}

/// The examples' names, from the pairs file.
fn names(folder: &Path, problems: &mut Vec<String>) -> Vec<String> {
    let Some(path) = Dataset::pairs_file(folder) else {
        problems.push(format!("no {}; write one with a line IMAGE CLOTH for each example", PAIRS.join(" or ")));
        return Vec::new();
    };
    let bytes = std::fs::read(&path).unwrap_or_else(|error| {
        problems.push(format!("{}: {error}", path.display()));
        Vec::new()
    });
    let text = pairs::decode(&bytes).unwrap_or_else(|| {
        problems.push(format!("{}: this is no UTF-8 text; save it as UTF-8", path.display()));
        String::new()
    });
    let mut names = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut report = |what: String| problems.push(format!("{}, line {}: {what}", path.display(), number + 1));
        match Line::parse(line) {
            Line::Pair(name) => names.push(name),
            Line::Unpaired => {
                report(format!("'{line}' pairs a picture with another garment; both names must be the same"));
            }
            Line::Unclear => report(format!("expected IMAGE CLOTH, two equal names, found '{line}'")),
        }
    }
    if names.is_empty() && problems.is_empty() {
        problems.push(format!("{} names no picture", path.display()));
    }
    names
}

/// An example's file in a folder, whatever its extension.
fn find(folder: &Folder, name: &str, problems: &mut Vec<String>) -> Option<PathBuf> {
    let found = folder.find(name);
    if found.is_none() {
        problems.push(format!("{}: no {name}.png, .jpg or .jpeg", folder.path().display()));
    }
    found.map(Path::to_owned)
}

/// Compares the sizes of an example's files with `size`, that of the first file of all.
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
