//! Files that are written completely or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes a file: `content` writes a temporary file in the same folder, which is synced to disk and then renamed to
/// `path`. If anything fails, a file that was at `path` before stays as it was, and the temporary file is removed. Where `path`
/// is a link to a file, that file is replaced.
///
/// # Errors
/// The error of `content` or of the file system; [`InvalidInput`](io::ErrorKind::InvalidInput) if `path` is a folder, a pipe
/// or a device, which a rename would replace.
pub fn write_atomically<E: From<io::Error>>(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<(), E> {
    // A path that does not exist is no link.
    let path = &*path.canonicalize().unwrap_or_else(|_| path.into());
    if path.exists() && !path.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no regular file, and is not replaced").into());
    }
    let (temporary, file) = Temporary::beside(path)?;
    let mut out = BufWriter::new(file);
    content(&mut out)?;
    out.flush()?;
    out.get_ref().sync_all()?;
    // Some systems cannot rename an open file.
    drop(out);
    fs::rename(&temporary.0, path)?;
    sync_name(path);
    // Nothing is left to remove when `temporary` is dropped.
    Ok(())
}

/// Writes the rename to disk, which a power failure could otherwise undo. A failure is ignored: not every file system
/// can do this, and the file is complete already.
fn sync_name(path: &Path) {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    if cfg!(unix)
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

/// The path of a file that is removed when this is dropped, unless it has been renamed.
struct Temporary(PathBuf);

impl Temporary {
    /// Creates it in the folder of `path`: a rename is atomic only within a file system.
    fn beside(path: &Path) -> io::Result<(Temporary, File)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let names_a_directory =
            || io::Error::new(io::ErrorKind::InvalidInput, "the path names a directory, not a file");
        let name = path.file_name().ok_or_else(names_a_directory)?.to_string_lossy();
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let temporary = path.with_file_name(format!(".{name}.{}-{count}.tmp", std::process::id()));
            match File::create_new(&temporary) {
                // Left behind by a process with the same id that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => return Ok((Temporary(temporary), file?)),
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::write_atomically;
    use std::io::{self, Write};

    #[test]
    #[cfg(unix)]
    fn links_stay_and_what_is_no_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_atomically::<io::Error>(&link, |out| out.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        assert!(link.is_symlink());
        // A socket stands for devices and pipes, which need a command or privileges to make.
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = write_atomically::<io::Error>(&socket, |out| out.write_all(b"new")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(socket.exists() && !socket.is_file());
    }

    #[test]
    fn what_others_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        for count in 0..1000 {
            let left = folder.path().join(format!(".file.{}-{count}.tmp", std::process::id()));
            std::fs::write(left, "half").unwrap();
        }
        let path = folder.path().join("file");
        write_atomically::<io::Error>(&path, |out| out.write_all(b"whole")).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"whole");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1001);
    }
}
