//! Persons and garments, in the layout of VITON-HD's set.
//!
//! | of | what | folder | file |
//! |---|---|---|---|
//! | a person | photo | `image` | `A.jpg` |
//! | | labels, from a human parser | `image-parse-v3`, `image-parse` | `A.png` |
//! | | keypoints, from OpenPose | `openpose_json`, `openpose-json` | `A_keypoints.json` |
//! | | skeleton; drawn from the keypoints if there is none | `openpose_img`, `openpose-img` | `A_rendered.png` |
//! | a garment | photo | `cloth` | `C.jpg` |
//! | | mask; cut out from the background if there is none | `cloth-mask` | `C.jpg` |
//!
//! A photo may also lie beside its other files: `A.jpg`, `A_parse.png`, `A_keypoints.json`, `A_rendered.png`, and `C.jpg`,
//! `C_mask.png`.

use crate::folder::{Folder, file_name, name_of};
use crate::images::{Note, Plane, read_labels_noting, read_mask_noting, read_rgb8, read_skeleton_noting};
use crate::pairs::{decode, person_and_garment};
use alias_model::preprocess::labels::LabelSet;
use alias_model::preprocess::{self, Keypoints, Labels, MOST_BYTES, Mask, Rgb8, Warning};
use std::path::{Path, PathBuf};

const PARSE: [&str; 2] = ["image-parse-v3", "image-parse"];
const KEYPOINTS: [&str; 3] = ["openpose_json", "openpose-json", "openpose"];
const POSE: [&str; 3] = ["openpose_img", "openpose-img", "openpose"];

/// The files of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonFiles {
    /// The photo.
    pub photo: PathBuf,
    /// A human parser's label map.
    pub parse: PathBuf,
    /// OpenPose's JSON.
    pub keypoints: PathBuf,
    /// The drawn skeleton.
    pub pose: Option<PathBuf>,
}

/// The files of a garment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GarmentFiles {
    /// The photo.
    pub photo: PathBuf,
    /// The mask.
    pub mask: Option<PathBuf>,
}

/// A person's files, read.
#[derive(Clone, Debug)]
pub struct PersonPictures {
    /// The photo.
    pub photo: Rgb8,
    /// LIP's labels.
    pub labels: Labels,
    /// The joints.
    pub keypoints: Keypoints,
    /// The drawn skeleton.
    pub pose: Option<Rgb8>,
    /// What the owner of the files should know. Each line names a file.
    pub notes: Vec<String>,
}

/// A garment's files, read.
#[derive(Clone, Debug)]
pub struct GarmentPicture {
    /// The photo.
    pub photo: Rgb8,
    /// Where the garment is.
    pub mask: Option<Mask>,
    /// What the owner of the files should know. Each line names a file.
    pub notes: Vec<String>,
}

/// What can be wrong with persons, garments and pairs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read as a picture.
    #[error(transparent)]
    Picture(#[from] crate::images::Error),

    /// A file that the system does not give.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },

    /// A picture, label map or file of keypoints that does not fit.
    #[error("{}: {cause}", path.display())]
    Preprocess {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: preprocess::Error,
    },

    /// A file that belongs to a photo and is not there.
    #[error("there is no {what} for {name}; looked for {looked_for}. {remedy}")]
    Missing {
        /// What the file holds.
        what: &'static str,
        /// The photo.
        name: String,
        /// Where it was looked for.
        looked_for: String,
        /// What to do.
        remedy: &'static str,
    },

    /// A picture of another size than the photo that it belongs to.
    #[error("{} is {height}x{width}, but {} is {photo_height}x{photo_width} (height x width); they must be of one size", path.display(), photo.display())]
    Size {
        /// The picture.
        path: PathBuf,
        /// Its height.
        height: usize,
        /// Its width.
        width: usize,
        /// The photo.
        photo: PathBuf,
        /// Its height.
        photo_height: usize,
        /// Its width.
        photo_width: usize,
    },

    /// A pairs file that holds no pairs, or lines that are none.
    #[error("{}{}: {problem}", path.display(), line.map_or(String::new(), |line| format!(", line {line}")))]
    Pairs {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
    },
}

type Result<T> = std::result::Result<T, Error>;

/// A person's and a garment's name.
pub type Pair = [String; 2];

/// The two parts of VITON-HD's set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Folder `train`, and `train_pairs.txt`.
    Train,
    /// Folder `test`, and `test_pairs.txt`.
    Test,
}

impl Split {
    fn folder(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
        }
    }

    fn pairs(self) -> &'static str {
        match self {
            Split::Train => "train_pairs.txt",
            Split::Test => "test_pairs.txt",
        }
    }
}

/// A folder of persons and garments.
#[derive(Clone, Debug)]
pub struct Wardrobe {
    root: PathBuf,
    split: Split,
    images: Folder,
    cloth: Option<Folder>,
    /// Of the alternative folders of each kind, those that there are.
    parse: Vec<Folder>,
    keypoints: Vec<Folder>,
    pose: Vec<Folder>,
    mask: Vec<Folder>,
}

impl Wardrobe {
    /// Lists the folders in `root`, or in the split's folder in it, where they are in the published archive.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no folder `image`; [`Error::Io`].
    pub fn open(root: &Path, split: Split) -> Result<Wardrobe> {
        let is_root = |root: &Path| root.join("image").is_dir();
        let Some(root) = [root.to_owned(), root.join(split.folder())].into_iter().find(|root| is_root(root)) else {
            return Err(Error::Missing {
                what: "folder of photos",
                name: root.display().to_string(),
                looked_for: format!("image and {}/image in it", split.folder()),
                remedy: "Name the folder that holds `image`, `cloth` and the others",
            });
        };
        type List = fn(&Path) -> std::io::Result<Folder>;
        let listed = |names: &[&str], list: List| -> Result<Vec<Folder>> {
            let there = names.iter().map(|name| root.join(name)).filter(|path| path.is_dir());
            there.map(|path| list(&path).map_err(|cause| Error::Io { path, cause })).collect()
        };
        Ok(Wardrobe {
            images: Folder::list(&root.join("image")).map_err(|cause| Error::Io { path: root.join("image"), cause })?,
            cloth: listed(&["cloth"], Folder::list)?.pop(),
            parse: listed(&PARSE, Folder::list)?,
            keypoints: listed(&KEYPOINTS, Folder::list_keypoints)?,
            pose: listed(&POSE, Folder::list)?,
            mask: listed(&["cloth-mask"], Folder::list)?,
            root,
            split,
        })
    }

    /// The folder that holds `image`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The files of a person. A name with an extension means exactly that photo, if it is there; its other files have other
    /// extensions.
    ///
    /// # Errors
    /// [`Error::Missing`] for the photo, the label map or the keypoints.
    pub fn person(&self, name: &str) -> Result<PersonFiles> {
        let photo = self.images.find_exactly(name).ok_or_else(|| self.missing("photo", name, &["image"]))?;
        Ok(PersonFiles {
            photo: photo.into(),
            parse: found(&self.parse, name).ok_or_else(|| self.missing("label map", name, &PARSE))?,
            keypoints: found(&self.keypoints, name)
                .ok_or_else(|| self.missing("file of keypoints", name, &KEYPOINTS))?,
            pose: found(&self.pose, name),
        })
    }

    /// The files of a garment. A name with an extension means exactly that photo, if it is there.
    ///
    /// # Errors
    /// [`Error::Missing`] for the photo.
    pub fn garment(&self, name: &str) -> Result<GarmentFiles> {
        let photo = self.cloth.as_ref().and_then(|folder| folder.find_exactly(name));
        let photo = photo.ok_or_else(|| self.missing("garment", name, &["cloth"]))?;
        Ok(GarmentFiles { photo: photo.into(), mask: found(&self.mask, name) })
    }

    /// The names of all persons.
    pub fn persons(&self) -> impl Iterator<Item = &str> {
        self.images.names()
    }

    /// The split's pairs file, beside the folders or above them, if there is one.
    pub fn pairs_file(&self) -> Option<PathBuf> {
        // `root/..`, not the parent of the path, which a relative path may lack.
        let folders = [self.root.clone(), self.root.join("..")];
        folders.into_iter().map(|folder| folder.join(self.split.pairs())).find(|path| path.is_file())
    }

    /// Reads a pairs file, `A.jpg C.jpg` in each line; without a path, [`Wardrobe::pairs_file`]. Names are without
    /// extension, but for photos that another one of the same name would hide.
    ///
    /// # Errors
    /// [`Error::Pairs`] if there is no such file, or a line does not name a person and a garment; [`Error::Io`].
    pub fn pairs(&self, path: Option<&Path>) -> Result<Vec<Pair>> {
        let Some(path) = path.map(Path::to_owned).or_else(|| self.pairs_file()) else {
            let problem = "there is no such file; write one with a line PERSON GARMENT for each picture".into();
            return Err(Error::Pairs { path: self.root.join(self.split.pairs()), line: None, problem });
        };
        let bytes = std::fs::read(&path).map_err(|cause| Error::Io { path: path.clone(), cause })?;
        let refused = |line, problem: String| Error::Pairs { path: path.clone(), line, problem };
        let text = decode(&bytes).ok_or_else(|| refused(None, "it is no text in UTF-8 or UTF-16".into()))?;
        let is_person = |name: &str| self.images.find(name).is_some();
        let is_garment = |name: &str| self.cloth.as_ref().is_some_and(|folder| folder.find(name).is_some());
        let mut pairs: Vec<Pair> = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let expected = || format!("expected PERSON GARMENT, found '{line}'");
            let pair = person_and_garment(line, is_person, is_garment);
            let [person, garment] = pair.ok_or_else(|| refused(Some(number + 1), expected()))?;
            let pair = [shortest(Some(&self.images), person), shortest(self.cloth.as_ref(), garment)];
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        if pairs.is_empty() {
            return Err(refused(None, "it names no pair; write a line PERSON GARMENT for each picture".into()));
        }
        Ok(pairs)
    }

    fn missing(&self, what: &'static str, name: &str, folders: &[&str]) -> Error {
        let looked_for = format!("{name} in {} of {}", folders.join(" or "), self.root.display());
        Error::Missing { what, name: name.into(), looked_for, remedy: remedy(what) }
    }
}

impl PersonFiles {
    /// The files that belong to a photo: in the folders beside its own, if that is called `image`, or beside itself.
    /// `given` replaces what is looked for.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no label map, or no file of keypoints.
    pub fn of_photo(photo: &Path, given: [Option<PathBuf>; 3]) -> Result<PersonFiles> {
        let [parse, keypoints, pose] = given;
        let around = Around::new(photo);
        let find = |given: Option<PathBuf>, what, folders: &[&str], suffix: &str| match given {
            Some(path) => Ok(path),
            None => around.find(what, folders, suffix),
        };
        Ok(PersonFiles {
            photo: photo.into(),
            parse: find(parse, "label map", &PARSE, "_parse")?,
            keypoints: find(keypoints, "file of keypoints", &KEYPOINTS, "_keypoints")?,
            pose: find(pose, "skeleton", &POSE, "_rendered").ok(),
        })
    }

    /// All of them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let PersonFiles { photo, parse, keypoints, pose } = self;
        [photo, parse, keypoints].into_iter().chain(pose).map(PathBuf::as_path)
    }

    /// Reads the files. The label map holds labels of `set`.
    ///
    /// # Errors
    /// If a file cannot be read, is not what it should be, or is of another size than the photo.
    pub fn read(&self, set: LabelSet) -> Result<PersonPictures> {
        let photo = read_rgb8(&self.photo)?;
        let [height, width] = photo.size();
        let mut notes = Vec::new();
        let in_file = |path: &Path| {
            let path = path.to_owned();
            move |cause| Error::Preprocess { path: path.clone(), cause }
        };
        let (keypoints, warnings) =
            Keypoints::from_json(&bytes(&self.keypoints)?, height, width).map_err(in_file(&self.keypoints))?;
        let told = |path: &Path, warnings: Vec<Warning>| {
            warnings.into_iter().map(|warning| format!("{}: {warning}", path.display())).collect::<Vec<_>>()
        };
        notes.extend(told(&self.keypoints, warnings));
        let mut of_labels = Vec::new();
        let Plane { height: h, width: w, data } = read_labels_noting(&self.parse, &mut of_labels)?;
        notes.extend(of_labels.iter().map(Note::to_string));
        self.same_size(&self.parse, [h, w], [height, width])?;
        let labels = Labels::new(h, w, data).map_err(in_file(&self.parse))?;
        let (labels, warnings) = set.read(&labels, Some(&keypoints)).map_err(in_file(&self.parse))?;
        notes.extend(told(&self.parse, warnings));
        let mut of_pose = Vec::new();
        let pose = self.pose.as_deref().map(|path| read_skeleton_noting(path, &mut of_pose)).transpose()?;
        notes.extend(of_pose.iter().map(Note::to_string));
        if let (Some(path), Some(pose)) = (&self.pose, &pose) {
            self.same_size(path, pose.size(), [height, width])?;
        }
        Ok(PersonPictures { photo, labels, keypoints, pose, notes })
    }

    fn same_size(&self, path: &Path, [height, width]: [usize; 2], photo_size: [usize; 2]) -> Result<()> {
        same_size(path, [height, width], &self.photo, photo_size)
    }
}

impl GarmentFiles {
    /// The files that belong to a garment's photo: its mask in `cloth-mask` beside its own folder, if that is called `cloth`,
    /// or beside itself. `mask` replaces what is looked for.
    pub fn of_photo(photo: &Path, mask: Option<PathBuf>) -> GarmentFiles {
        let found = || Around::new(photo).find("mask", &["cloth-mask"], "_mask").ok();
        GarmentFiles { photo: photo.into(), mask: mask.or_else(found) }
    }

    /// All of them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.photo].into_iter().chain(&self.mask).map(PathBuf::as_path)
    }

    /// Reads the files. A mask is what is at least half white, as in VITON-HD.
    ///
    /// # Errors
    /// If a file cannot be read, or the mask is of another size than the photo, all black or all white.
    pub fn read(&self) -> Result<GarmentPicture> {
        let photo = read_rgb8(&self.photo)?;
        let mut notes = Vec::new();
        let Some(path) = &self.mask else { return Ok(GarmentPicture { photo, mask: None, notes: Vec::new() }) };
        let mask = read_mask_noting(path, &mut notes)?;
        same_size(path, [mask.height, mask.width], &self.photo, photo.size())?;
        let pixels: Vec<bool> = mask.data.iter().map(|&value| value * 255.0 >= 128.0).collect();
        let covered = pixels.iter().filter(|&&is_garment| is_garment).count();
        if covered == 0 || covered == pixels.len() {
            let (path, is_white) = (path.clone(), covered > 0);
            let nearest = if is_white { f32::min } else { f32::max };
            let nearest = mask.data.iter().map(|value| (value * 2550.0).round() / 10.0).reduce(nearest).unwrap_or(0.0);
            return Err(Error::Preprocess { path, cause: preprocess::Error::MaskOfOneValue { is_white, nearest } });
        }
        let mask = Mask::new(mask.height, mask.width, pixels);
        let mask = mask.map_err(|cause| Error::Preprocess { path: path.clone(), cause })?;
        Ok(GarmentPicture { photo, mask: Some(mask), notes: notes.iter().map(Note::to_string).collect() })
    }
}

/// Where the files that belong to a photo may be.
struct Around<'a> {
    photo: &'a Path,
    /// The photo's name, as [`Folder::names`] has it.
    name: String,
}

impl Around<'_> {
    fn new(photo: &Path) -> Around<'_> {
        Around { photo, name: name_of(&photo.to_string_lossy()) }
    }

    fn find(&self, what: &'static str, folders: &[&str], suffix: &str) -> Result<PathBuf> {
        let own = self.photo.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let is_keypoints = suffix == "_keypoints";
        let look = |folder: &Path, name: &str| {
            let listed = if is_keypoints { Folder::list_keypoints(folder) } else { Folder::list(folder) };
            listed.ok().and_then(|listed| listed.find(name).map(Path::to_owned))
        };
        // `own/..`, not the parent of the path, which a relative path may lack.
        let beside = folders.iter().map(|name| own.join("..").join(name)).filter(|folder| folder.is_dir());
        let found = beside.filter_map(|folder| look(&folder, &self.name)).next();
        let own_file = || {
            let stem = format!("{}{suffix}", self.name);
            let path = if is_keypoints { Folder::keypoints_of(own, &stem) } else { Folder::picture_of(own, &stem) };
            // The photo is no skeleton of its own, whatever its name.
            path.filter(|path| path != self.photo)
        };
        found.or_else(own_file).ok_or_else(|| Error::Missing {
            what,
            name: self.photo.display().to_string(),
            looked_for: format!(
                "{} in {} beside its folder, and {}{suffix} beside it",
                self.name,
                folders.join(" or "),
                self.name
            ),
            remedy: match what {
                "label map" => "Human parsers such as SCHP make it; --parse names one",
                "file of keypoints" => "OpenPose makes it, with --write_json; --keypoints names one",
                _ => remedy(what),
            },
        })
    }
}

/// What to do about a file that is missing in a folder of many.
fn remedy(what: &str) -> &'static str {
    match what {
        "label map" => "Human parsers such as SCHP make it",
        "file of keypoints" => "OpenPose makes it, with --write_json",
        _ => "Correct the name, or add the file",
    }
}

fn same_size(path: &Path, [height, width]: [usize; 2], photo: &Path, photo_size: [usize; 2]) -> Result<()> {
    let [photo_height, photo_width] = photo_size;
    if [height, width] == photo_size {
        return Ok(());
    }
    let (path, photo) = (path.to_owned(), photo.to_owned());
    Err(Error::Size { path, height, width, photo, photo_height, photo_width })
}

/// The file of this name in the first of the folders that has one.
fn found(folders: &[Folder], name: &str) -> Option<PathBuf> {
    folders.iter().find_map(|folder| folder.find(name)).map(Path::to_owned)
}

/// A name without its extension, if the folder has the same photo under both.
fn shortest(folder: Option<&Folder>, name: &str) -> String {
    let bare = name_of(name);
    match folder {
        Some(folder) if folder.find_exactly(name) != folder.find_exactly(&bare) => file_name(name).to_owned(),
        _ => bare,
    }
}

/// A file of keypoints. One that is too long is cut off, so that the error tells.
fn bytes(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|cause| Error::Io { path: path.into(), cause })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
