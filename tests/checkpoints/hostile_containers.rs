//! Containers with false or contradictory headers. `refused.rs` says what is checked.

use crate::files;
use crate::files::{dict, floats, int, program, safetensors, six, storage, tensor, text, torch_legacy, torch_zip, zip};
use crate::refused::{read, refused};
use zip::CompressionMethod::{Deflated, Stored};

#[test]
fn storages_that_differ_from_their_list() {
    let object = dict(&[("w", six(0, &[6], &[1]))]);
    let file = torch_legacy(&object);
    let numel = file.len() - 24 - 8;
    let mut other = file.clone();
    other[numel] = 5;
    refused(other, "has 5 elements, but should have 6");
    let keys = program(&[b"](", &*text("0"), &text("0"), b"e"].concat());
    let start = numel - program(&[b"](", &*text("0"), b"e"].concat()).len();
    let data = &file[numel..];
    refused([&file[..start], &keys, data, data].concat(), "listed twice");
    refused([&file[..start], &program(b"]")].concat(), "storage `0` is missing");
    refused([&file[..start], &program(b"N")].concat(), "not listed");
}

#[test]
fn zip_bombs() {
    let zeros = vec![0; 10 << 20];
    let object = dict(&[("a", tensor(storage("FloatStorage", "0", 6), 0, &[6], &[1]))]);
    let pickle = program(&object);
    let data = zip(&[("a/data.pkl", &pickle), ("a/data/0", &zeros)], Deflated);
    refused(data, "would inflate to 10485760 bytes");
    let pickle = zip(&[("a/data.pkl", &zeros)], Deflated);
    refused(pickle.clone(), "would inflate");
    // The same with a false, small size in the directory.
    let mut lies = pickle;
    let at = directory_entry(&lies, "a/data.pkl") + 24;
    lies[at..at + 4].copy_from_slice(&1000u32.to_le_bytes());
    refused(lies, "does not inflate");
    // Many entries, each of which alone would be accepted.
    let names: Vec<_> = (0..50).map(|i| format!("a/data/{i}")).collect();
    let some = vec![0; 8000];
    let tensors: Vec<_> =
        (0..50).map(|i| tensor(storage("FloatStorage", &i.to_string(), 2000), 0, &[2000], &[1])).collect();
    let object = dict(&names.iter().map(|n| &**n).zip(tensors).collect::<Vec<_>>());
    let pickle = program(&object);
    let mut entries: Vec<(&str, &[u8])> = vec![("a/data.pkl", &pickle)];
    entries.extend(names.iter().map(|name| (&**name, &*some)));
    refused(zip(&entries, Deflated), "would inflate to 8000 bytes");
}

#[test]
fn zip_entries_that_share_bytes() {
    let object = dict(&[("a", six(0, &[6], &[1]))]);
    let pickle = program(&object);
    let six = floats(6);
    let entries: [(&str, &[u8]); 3] = [("a/data.pkl", &pickle), ("a/data/0", &six), ("a/data/1", &six)];
    let mut file = zip(&entries, Stored);
    read(file.clone()).unwrap();
    let first = directory_entry(&file, "a/data/0") + 42;
    let second = directory_entry(&file, "a/data/1") + 42;
    file.copy_within(first..first + 4, second);
    refused(file, "entries overlap");

    // Two entries with the same name.
    let mut file = zip(&entries, Stored);
    let name = directory_entry(&file, "a/data/1") + 46;
    file[name + 7] = b'0';
    refused(file, "two entries `a/data/0`");

    // Wrong offsets of an entry and of the directory.
    let mut file = zip(&entries, Stored);
    let offset = directory_entry(&file, "a/data/1") + 42;
    file[offset] -= 1;
    refused(file, "not where it should be");
    let mut file = zip(&entries, Stored);
    let start = file.len() - 6;
    file[start] -= 1;
    refused(file, "directory is not where");

    // An entry that overlaps the directory after it.
    let mut file = zip(&entries, Stored);
    let sizes = directory_entry(&file, "a/data/1") + 20;
    file[sizes] += 1;
    file[sizes + 4] += 1;
    refused(file, "entries overlap");
}

#[test]
fn zips_that_are_no_checkpoint() {
    let inner = torch_zip(&dict(&[("a", six(0, &[6], &[1]))]));
    refused(zip(&[("a/inner.pth", &inner)], Stored), "no data.pkl");
    refused(zip(&[("a/data.pkl", &inner)], Stored), "no place in a state dict");
    refused(zip(&[("a/data.pkl", b"N."), ("b/data.pkl", b"N.")], Stored), "several data.pkl");
    let big: [(&str, &[u8]); 2] = [("a/data.pkl", b"N."), ("a/byteorder", b"big")];
    refused(zip(&big, Stored), "big-endian");

    let mut damaged = inner.clone();
    let at = damaged.windows(24).position(|w| w == floats(6)).unwrap();
    damaged[at] ^= 1;
    refused(damaged, "CRC-32");
    // A checksum of 0 means that there is none; the sizes must agree all the same.
    let mut unchecked = torch_zip(&dict(&[("a", six(0, &[6], &[1]))]));
    let entry = directory_entry(&unchecked, "a/data/0");
    unchecked[entry + 16..entry + 20].fill(0);
    read(unchecked.clone()).unwrap();
    unchecked[entry + 24] -= 1;
    refused(unchecked, "size and CRC-32");
    let mut unknown_method = inner.clone();
    let at = directory_entry(&inner, "a/data/0") + 10;
    unknown_method[at] = 99;
    refused(unknown_method, "compression 99");
    let mut encrypted = inner;
    encrypted[at - 2] |= 1;
    refused(encrypted, "encrypted");
}

/// Offset of an entry's header in the central directory.
fn directory_entry(file: &[u8], name: &str) -> usize {
    let at = file.windows(name.len()).rposition(|window| window == name.as_bytes());
    at.unwrap() - 46
}

#[test]
fn safetensors_that_lie() {
    let one = |shape: &str, offsets: &str| {
        let header = format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#);
        safetensors(&header, &floats(6))
    };
    read(one("[6]", "[0,24]")).unwrap();
    refused(one("[1000000000]", "[0,24]"), "safetensors");
    refused(one("[1000000000]", "[0,4000000000]"), "safetensors");
    refused(one("[4294967296,4294967296]", "[0,24]"), "safetensors");
    refused(one("[-6]", "[0,24]"), "safetensors");
    refused(one("[5]", "[4,24]"), "safetensors");
    refused(one("[6]", "[24,0]"), "safetensors");
    refused(one(&format!("[{}]", ["1"; 17].join(",")), "[0,4]"), "");
    let two = r#"{"a":{"dtype":"F32","shape":[6],"data_offsets":[0,24]},
                  "b":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}}"#;
    refused(safetensors(two, &floats(6)), "safetensors");
    let complex = r#"{"a":{"dtype":"C64","shape":[3],"data_offsets":[0,24]}}"#;
    refused(safetensors(complex, &floats(6)), "C64");
    let mut beyond = safetensors("{}", &[]);
    beyond[3] = 0x7f;
    refused(beyond, "are due");
}

#[test]
fn safetensors_headers_that_grow() {
    let ones = "1,".repeat(100_000);
    let shape = format!(r#"{{"a":{{"dtype":"F32","shape":[{ones}1],"data_offsets":[0,4]}}}}"#);
    refused(safetensors(&shape, &[0; 4]), "items");
    refused(safetensors(&format!("{{{}}}", r#""a":1,"#.repeat(50_000)), &[]), "items");
    let each = |value: &str| {
        let items: Vec<_> = (0..9000).map(|i| format!("\"{i}\":{value}")).collect();
        format!("{{{}}}", items.join(","))
    };
    refused(safetensors(&each("{}"), &[]), "items");
    let metadata = format!(r#"{{"__metadata__":{}}}"#, each(r#""""#));
    refused(safetensors(&metadata, &[]), "items");
    refused(safetensors(&format!(r#"{{"a":{}"#, "[".repeat(100_000)), &[]), "too deep");
    // Just under the limit on items, the parser must keep within the limit on allocations.
    let tensor = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    for count in [500, 1000, 1790, 1800, 3590] {
        let entries: Vec<_> = (0..count).map(|i| format!(r#""{i:050}":{tensor}"#)).collect();
        read(safetensors(&format!("{{{}}}", entries.join(",")), &[])).unwrap();
    }
}

#[test]
fn files_that_are_something_else() {
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    refused(tar, "tar format");
    refused(Vec::new(), "empty");
    refused(b"<!DOCTYPE html><html>".to_vec(), "web page");
    refused(b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "Git LFS");
    refused(vec![7; 1000], "neither safetensors nor");
    refused(vec![7; 8], "has only 8 bytes");
    refused([&[1; 8][..], b"{}"].concat(), "header is over 4 GiB");
    let folder = alias_checkpoint::Checkpoint::read(std::env::temp_dir()).unwrap_err().to_string();
    assert!(folder.contains("this is a folder. To fix it, name a checkpoint file"), "{folder}");
    refused(program(&dict(&[("a", int(1))])), "not written by torch.save");
    let info = program(&dict(&[("little_endian", vec![0x89])]));
    refused([files::MAGIC, &program(&int(1001)), &info].concat(), "big-endian");
    refused([files::MAGIC, &program(&int(1002))].concat(), "unknown version");
}
