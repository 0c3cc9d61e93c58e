//! Truncated files and files with changed bytes. `refused.rs` says what is checked.

use crate::files;
use crate::files::{Random, dict, six, torch_zip, valid};
use crate::refused::read;
use alias_checkpoint::Checkpoint;

#[test]
fn files_cut_short_at_any_length() {
    for file in valid() {
        read(file.clone()).unwrap();
        for length in 0..file.len() {
            assert!(read(file[..length].to_vec()).is_err(), "cut to {length}");
        }
    }
    let legacy = std::fs::read(files::golden("checkpoint_legacy.pth")).unwrap();
    for length in (0..legacy.len()).step_by(211) {
        assert!(read(legacy[..length].to_vec()).is_err(), "cut to {length}");
    }
}

#[test]
fn files_with_any_byte_changed() {
    for file in valid() {
        for at in 0..file.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut damaged = file.clone();
                damaged[at] ^= flip;
                let _ = read(damaged);
            }
        }
    }
}

#[test]
fn files_with_many_bytes_changed() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let legacy = std::fs::read(files::golden("checkpoint_legacy.pth")).unwrap();
    for file in valid().iter().chain([&legacy]) {
        for _ in 0..4000 {
            let mut damaged = file.clone();
            for _ in 0..=random.below(6) {
                // Most of the structure is at the front.
                let at = random.below(file.len().min(6000));
                damaged[at] = u8::try_from(random.below(256)).unwrap();
            }
            let _ = read(damaged);
        }
    }
    let zip = std::fs::read(files::golden("checkpoint.pth")).unwrap();
    for _ in 0..50 {
        let mut damaged = zip.clone();
        let at = random.below(zip.len());
        damaged[at] ^= 1 << random.below(8);
        let _ = read(damaged);
    }
}

#[test]
fn errors_name_the_file_the_tensor_and_a_remedy() {
    let path = std::env::temp_dir().join(format!("hostile-{}.pth", std::process::id()));
    let object = dict(&[("layer.weight", six(0, &[2, 3], &[0, 1]))]);
    std::fs::write(&path, torch_zip(&object)).unwrap();
    let error = Checkpoint::read(&path).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(error.starts_with(path.to_str().unwrap()), "{error}");
    assert!(error.contains("tensor `layer.weight`"), "{error}");
    assert!(error.contains("To fix it"), "{error}");
    let error = Checkpoint::read("/nowhere/at.all").unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/at.all: "), "{error}");
}
