//! Files that somebody changes while they are open, and files that are larger than memory.

use crate::files::{self, dict, floats, six, text, torch_legacy, torch_zip, valid};
use crate::refused::largest_allocation;
use alias_checkpoint::{Array, Checkpoint, Problem};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

/// A folder, and in it a file with this content.
fn file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

/// Changes a file in place, as a program does that has it open for writing.
fn overwrite(path: &PathBuf, at: usize, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(bytes).unwrap();
}

fn six_floats() -> Vec<f32> {
    (0..6u8).map(f32::from).collect()
}

#[test]
fn a_file_cut_short_after_it_was_opened_is_an_error() {
    for content in valid() {
        let (folder, path) = file(&content);
        let checkpoint = Checkpoint::read(&path).unwrap();
        let array = checkpoint.get("w").unwrap();
        assert_eq!(array.to_f32().unwrap(), six_floats());
        File::options().write(true).open(&path).unwrap().set_len(20).unwrap();

        assert_eq!((array.shape(), array.numel()), (&[2, 3][..], 6));
        let copy = folder.path().join("copy");
        for error in [
            array.to_f32().unwrap_err(),
            array.to_f64().unwrap_err(),
            array.to_le_bytes().unwrap_err(),
            array.to_half().unwrap_err(),
            checkpoint.write_safetensors(&copy).unwrap_err(),
        ] {
            assert!(matches!(error.problem(), Problem::CutShort), "{error}");
            assert_eq!(error.file(), path);
            let error = error.to_string();
            assert!(error.starts_with(path.to_str().unwrap()) && error.contains("Read it again"), "{error}");
        }
        assert!(!copy.exists());
    }
}

#[test]
fn a_file_replaced_while_it_is_open_keeps_its_values() {
    for content in valid() {
        let (folder, path) = file(&content);
        let checkpoint = Checkpoint::read(&path).unwrap();
        let other = folder.path().join("other");
        std::fs::write(&other, "something else").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"something else");
        assert_eq!(checkpoint.get("w").unwrap().to_f32().unwrap(), six_floats());
        // The file that it was read from may be the one to write.
        checkpoint.write_safetensors(&path).unwrap();
        checkpoint.write_safetensors(&path).unwrap();
        assert_eq!(Checkpoint::read(&path).unwrap().get("w").unwrap().to_f32().unwrap(), six_floats());
    }
}

/// The checksums of a zip file are compared when values are read: of a whole storage, and of a part of one.
#[test]
fn a_zip_entry_changed_after_it_was_opened_is_an_error() {
    let content = torch_zip(&dict(&[("whole", six(0, &[6], &[1])), ("part", six(2, &[2], &[2]))]));
    let at = content.windows(24).position(|window| window == floats(6)).unwrap();
    for name in ["whole", "part"] {
        let (_folder, path) = file(&content);
        let checkpoint = Checkpoint::read(&path).unwrap();
        // The first element, which is not in the part.
        overwrite(&path, at, &[1]);
        let error = checkpoint.get(name).unwrap().to_f32().unwrap_err().to_string();
        assert!(error.contains("zip entry `a/data/0`") && error.contains("CRC-32"), "{name}: {error}");
        overwrite(&path, at, &[0]);
        assert_eq!(checkpoint.get("whole").unwrap().to_f32().unwrap(), six_floats());
        assert_eq!(checkpoint.get("part").unwrap().to_f32().unwrap(), [2.0, 4.0]);
    }
}

/// Of a file from before the zip container, a beginning is read that may not hold all of its pickles.
#[test]
fn a_long_pickle_is_read_whole() {
    let ballast = [&*text(&"x".repeat(3 << 20)), b"0"].concat();
    let object = [ballast, dict(&[("w", six(0, &[6], &[1]))])].concat();
    for content in [torch_legacy(&object), torch_zip(&object)] {
        let (_folder, path) = file(&content);
        assert_eq!(Checkpoint::read(&path).unwrap().get("w").unwrap().to_f32().unwrap(), six_floats());
    }
}

#[test]
fn threads_share_an_open_file() {
    let arrays = (0..64u16).map(|k| (format!("{k}"), [f32::from(k); 1000]));
    let mut checkpoint = Checkpoint::new();
    for (name, values) in arrays {
        checkpoint.insert(name, Array::from_f32(&[1000], &values));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    checkpoint.write_safetensors(&path).unwrap();
    let checkpoint = &Checkpoint::read(&path).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u16 {
            scope.spawn(move || {
                for k in (0..4000).map(|k| (k * 7 + thread) % 64) {
                    let values = checkpoint.get(&format!("{k}")).unwrap().to_f32().unwrap();
                    assert!(values.iter().all(|&value| value == f32::from(k)), "{k}");
                }
            });
        }
    });
}

/// A terabyte that takes no room on disk, and claims that its header, its directory or its pickle is about as long.
#[cfg(unix)]
#[test]
fn descriptions_larger_than_memory_are_refused() {
    const LENGTH: u64 = 1 << 40;
    let half = (LENGTH / 2).to_le_bytes();
    let safetensors = [&(LENGTH / 1024).to_le_bytes()[..], b"{"].concat();
    let string = [b"\x8d", &half[..]].concat();
    let legacy = [files::MAGIC, b"\x80\x02M\xe9\x03.", b"\x80\x02}.", b"\x80\x02", &string].concat();
    // The directory begins behind the first bytes and ends with the file.
    let zip_start = b"PK\x03\x04".to_vec();
    let size = LENGTH - 98 - 4;
    let end64 = [b"PK\x06\x06", &[0; 28][..], &1u64.to_le_bytes(), &size.to_le_bytes(), &4u64.to_le_bytes()].concat();
    let locator = [b"PK\x06\x07", &[0; 4][..], &(LENGTH - 98).to_le_bytes(), &[0; 4]].concat();
    let end = [b"PK\x05\x06", &[0; 18][..]].concat();
    let zip_end = [end64, locator, end].concat();
    for (start, end, words) in [
        (safetensors, Vec::new(), "the description of the tensors takes"),
        (legacy, Vec::new(), "are due"),
        (zip_start, zip_end, "the description of the tensors takes"),
    ] {
        let (_folder, path) = file(&start);
        File::options().write(true).open(&path).unwrap().set_len(LENGTH).unwrap();
        overwrite(&path, usize::try_from(LENGTH).unwrap() - end.len(), &end);
        let mut error = String::new();
        let largest = largest_allocation(|| error = Checkpoint::read(&path).unwrap_err().to_string());
        assert!(error.contains(words), "{error}");
        assert!(largest <= 100_000_000, "{words}: allocated {largest} bytes");
    }
}
