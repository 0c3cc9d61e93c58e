//! What a command writes, checked before its work: whether it can be written, and whether it would replace something that it
//! reads or writes elsewhere.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

/// The files and folders that a command writes, against those that it reads. Nothing is created before [`Outputs::create`].
pub(super) struct Outputs {
    inputs: BTreeSet<PathBuf>,
    /// Folders that hold pictures to read.
    sources: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
    /// Folders in which nothing but the files of one output lies.
    exclusive: BTreeSet<PathBuf>,
}

impl Outputs {
    /// Those of a command that reads `pictures`, one by one, and other files or folders.
    pub(super) fn new<'a>(
        pictures: impl IntoIterator<Item = &'a Path>,
        others: impl IntoIterator<Item = &'a Path>,
    ) -> Outputs {
        let canonical = |path: &Path| path.canonicalize().ok();
        let pictures: Vec<_> = pictures.into_iter().filter_map(canonical).collect();
        let sources = pictures.iter().filter_map(|picture| picture.parent().map(Path::to_owned)).collect();
        let inputs = pictures.into_iter().chain(others.into_iter().filter_map(canonical)).collect();
        let [files, folders, exclusive] = [const { BTreeSet::new() }; 3];
        Outputs { inputs, sources, files, folders, exclusive }
    }

    /// A file, whose folder exists.
    pub(super) fn file(&mut self, path: &Path) -> Result<()> {
        let shown = path.display();
        ensure!(!path.is_dir(), "{shown} is a folder; name a file in it");
        ensure!(path.is_file() || !path.exists(), "{shown} is no regular file; name one");
        let (folder, place) = (folder_of(path), place(path));
        let is_new = self.folders.contains(&self::place(folder));
        ensure!(is_new || folder.is_dir(), "{} is no folder to write to; create it first", folder.display());
        ensure!(!self.inputs.contains(&place), "{shown} is an input; write elsewhere");
        let is_taken = place.parent().is_some_and(|folder| self.exclusive.contains(folder));
        ensure!(!is_taken && self.files.insert(place), "{shown} is where another output goes; write elsewhere");
        self.folders.insert(folder.into());
        Ok(())
    }

    /// A picture, which is written as a PNG.
    pub(super) fn picture(&mut self, path: &Path) -> Result<()> {
        let is_png = path.extension().is_none_or(|extension| extension.eq_ignore_ascii_case("png"));
        ensure!(is_png, "{}: pictures are written as PNGs; give a name that ends in .png", path.display());
        self.file(path)
    }

    /// A folder, for files that `option` asks for. None of the pictures to read may lie in it.
    pub(super) fn folder(&mut self, path: &Path, option: &str) -> Result<()> {
        let shown = path.display();
        ensure!(path.is_dir() || !path.exists(), "{shown} exists and is not a folder; {option} names a folder");
        let place = place(path);
        let is_input = self.inputs.contains(&place) || self.sources.contains(&place);
        ensure!(!is_input, "{shown} holds pictures that are read; name another folder by {option}");
        ensure!(!self.exclusive.contains(&place), "{shown} is where another output goes; name another folder");
        self.folders.insert(place);
        Ok(())
    }

    /// Creates the folders, and writes to each: an error now instead of after the work.
    pub(super) fn create(self) -> Result<()> {
        self.folders.iter().try_for_each(|folder| prepare_folder(folder))
    }

    /// As [`Outputs::folder`]; no other output may lie in it.
    pub(super) fn exclusive_folder(&mut self, path: &Path, option: &str) -> Result<()> {
        self.folder(path, option)?;
        self.exclusive.insert(place(path));
        Ok(())
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// The one path of a file or folder that may not exist yet.
fn place(path: &Path) -> PathBuf {
    let of_new = || Some(place(folder_of(path)).join(path.file_name()?));
    path.canonicalize().ok().or_else(of_new).unwrap_or_else(|| path.into())
}

/// Creates a folder to write to, and writes to it: an error now instead of after the work.
pub(super) fn prepare_folder(folder: &Path) -> Result<()> {
    let folder = if folder == Path::new("") { Path::new(".") } else { folder };
    // Other machines may write to the same folder, with processes of the same number.
    let probe = folder.join(format!(".tryon.{:x}.tmp", RandomState::new().hash_one(0)));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&probe, ""))
        .and_then(|()| std::fs::remove_file(&probe))
        .with_context(|| format!("{} cannot be written to; write elsewhere", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::Outputs;

    #[test]
    fn nothing_is_written_twice_or_over_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("in")).unwrap();
        std::fs::write(at("in/photo.png"), "").unwrap();
        let input = at("in/photo.png");
        let mut outputs = Outputs::new([input.as_path()], []);
        let refused = |result: anyhow::Result<()>| result.unwrap_err().to_string();
        assert!(refused(outputs.picture(&at("in/../in/photo.png"))).contains("is an input"));
        assert!(refused(outputs.folder(&at("in"), "-o")).contains("holds pictures that are read"));
        assert!(refused(outputs.folder(&at("in/photo.png"), "-o")).contains("not a folder"));
        assert!(refused(outputs.picture(&at("out.jpg"))).contains(".png"));
        assert!(refused(outputs.file(&at("nowhere/out.png"))).contains("create it first"));
        outputs.picture(&at("out.png")).unwrap();
        assert!(refused(outputs.picture(&at("in/../out.png"))).contains("another output"));
        outputs.folder(&at("out"), "-o").unwrap();
        outputs.picture(&at("out/sheet.png")).unwrap();
        assert!(!at("out").exists());
        outputs.exclusive_folder(&at("stages"), "--stages").unwrap();
        assert!(refused(outputs.picture(&at("stages/out.png"))).contains("another output"));
        assert!(refused(outputs.folder(&at("stages"), "-o")).contains("another output"));
        outputs.create().unwrap();
        assert!(at("out").is_dir() && at("stages").is_dir());
    }

    #[test]
    #[cfg(unix)]
    fn devices_are_no_files() {
        let error = Outputs::new([], []).file(std::path::Path::new("/dev/null")).unwrap_err();
        assert!(error.to_string().contains("no regular file"), "{error}");
    }
}
