//! The pictures in a folder, by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use unicode_normalization::UnicodeNormalization;

/// Extensions of pictures, in small letters. Of files of one name, the first of these is taken. The last ones are not
/// read, but found, so that the error says what they are.
const EXTENSIONS: [&str; 13] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "tif", "tiff", "gif", "avif", "heic", "heif"];
/// What OpenPose adds to the names of the poses that it draws.
const RENDERED: &str = "_rendered";

/// What OpenPose adds to the names of the keypoints that it finds.
const KEYPOINTS: &str = "_keypoints";

/// The pictures in a folder, by name: the stem of a file, without OpenPose's `_rendered`. Extensions may be in capitals,
/// and accents stored in either of Unicode's forms, as systems differ in both.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    files: BTreeMap<String, (usize, PathBuf)>,
    /// The same files and those that others of their name precede, by their whole names.
    whole: BTreeMap<String, PathBuf>,
}

impl Folder {
    /// Lists a folder. Hidden files, such as macOS's `._01.png`, are left out.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn list(path: &Path) -> std::io::Result<Folder> {
        Folder::list_of(path, &EXTENSIONS, RENDERED)
    }

    /// Lists OpenPose's files of keypoints in a folder, in the same way: by the stem without `_keypoints`.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn list_keypoints(path: &Path) -> std::io::Result<Folder> {
        Folder::list_of(path, &["json"], KEYPOINTS)
    }

    /// The picture of exactly this stem in a folder, `_rendered` included.
    pub(crate) fn picture_of(folder: &Path, stem: &str) -> Option<PathBuf> {
        Folder::list_of(folder, &EXTENSIONS, "").ok()?.files.remove(&normalized(stem)).map(|(_, file)| file)
    }

    /// The file of keypoints of exactly this stem in a folder, `_keypoints` included.
    pub(crate) fn keypoints_of(folder: &Path, stem: &str) -> Option<PathBuf> {
        Folder::list_of(folder, &["json"], "").ok()?.files.remove(&normalized(stem)).map(|(_, file)| file)
    }

    fn list_of(path: &Path, extensions: &[&str], suffix: &str) -> std::io::Result<Folder> {
        let mut files = BTreeMap::<String, (usize, PathBuf)>::new();
        let mut whole = BTreeMap::new();
        for entry in std::fs::read_dir(path)? {
            let file = entry?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some((stem, extension)) = split_extension(&name, extensions) else { continue };
            if name.starts_with('.') || !file.is_file() {
                continue;
            }
            whole.insert(normalized(&name), file.clone());
            let bare = stem.strip_suffix(suffix);
            let rank = 2 * extension + usize::from(bare.is_some());
            let key = normalized(bare.unwrap_or(stem));
            if files.get(&key).is_none_or(|(other, _)| rank < *other) {
                files.insert(key, (rank, file));
            }
        }
        Ok(Folder { path: path.into(), files, whole })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The picture of this name, with or without an extension.
    pub fn find(&self, name: &str) -> Option<&Path> {
        // What looks like an extension may be part of the name, as in `a.jpg.png`.
        let whole = self.files.get(&normalized(file_name(name)));
        whole.or_else(|| self.files.get(&name_of(name))).map(|(_, file)| file.as_path())
    }

    /// The picture of exactly this name if there is one, else that of [`Folder::find`]: `a.png` and `a.jpg` may be different
    /// photos.
    pub fn find_exactly(&self, name: &str) -> Option<&Path> {
        self.whole.get(&normalized(file_name(name))).map(PathBuf::as_path).or_else(|| self.find(name))
    }

    /// The names of all pictures, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }
}

/// The name of a file of this path, with or without an extension, as [`Folder::names`] has it.
pub(crate) fn name_of(path: &str) -> String {
    let file = file_name(path);
    let stem = split_extension(file, &EXTENSIONS).map_or(file, |(stem, _)| stem);
    normalized(stem.strip_suffix(RENDERED).unwrap_or(stem))
}

/// What is behind the last folder of a path of any system.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// Stem and index of the extension, if it is one of these.
fn split_extension<'n>(name: &'n str, extensions: &[&str]) -> Option<(&'n str, usize)> {
    let (stem, extension) = name.rsplit_once('.')?;
    let index = extensions.iter().position(|known| extension.eq_ignore_ascii_case(known))?;
    Some((stem, index))
}

/// Accents as one character each (NFC); macOS stores them apart from their letters (NFD).
fn normalized(stem: &str) -> String {
    stem.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_however_their_names_are_written() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "a.JPG",
            "b_rendered.png",
            "b.jpg",
            "cafe\u{301}.Png",
            "d.e.png",
            "._a.png",
            "notes.txt",
            "f.jpeg",
            "f.png",
            "h.jpg.png",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("g.png")).unwrap();
        let listed = Folder::list(folder.path()).unwrap();
        assert!(listed.names().eq(["a", "b", "caf\u{e9}", "d.e", "f", "h.jpg"]), "{listed:?}");
        let found = |name: &str| listed.find(name).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
        assert_eq!(found("a.png").as_deref(), Some("a.JPG"));
        assert_eq!(found("b").as_deref(), Some("b_rendered.png"), "PNGs come first");
        assert_eq!(found("image\\caf\u{e9}.jpg").as_deref(), Some("cafe\u{301}.Png"));
        assert_eq!(found("d.e").as_deref(), Some("d.e.png"));
        assert_eq!(found("f_rendered.jpg").as_deref(), Some("f.png"));
        assert_eq!(found("g"), None);
        assert_eq!(found("h.jpg").as_deref(), Some("h.jpg.png"));
        let exactly = |name: &str| listed.find_exactly(name).map(|path| path.file_name().unwrap().to_str().unwrap());
        assert_eq!(exactly("cloth/f.jpeg"), Some("f.jpeg"));
        assert_eq!(exactly("b.jpg"), Some("b.jpg"));
        assert_eq!((exactly("f"), exactly("f.bmp"), exactly("a.jpg")), (Some("f.png"), Some("f.png"), Some("a.JPG")));
    }
}
