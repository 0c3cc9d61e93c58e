//! Test files: golden ones, and ones built byte by byte in every format.

use std::io::{Cursor, Write};
use std::path::PathBuf;

use alias_checkpoint::Checkpoint;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A file that PyTorch wrote.
pub(crate) fn golden(name: &str) -> PathBuf {
    PathBuf::from("tests/golden").join(name)
}

/// Reads a file that must be valid.
#[track_caller]
pub(crate) fn open(file: Vec<u8>) -> Checkpoint {
    Checkpoint::from_bytes(file).unwrap()
}

#[track_caller]
pub(crate) fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f64> {
    checkpoint.get(name).unwrap_or_else(|| panic!("no tensor {name}")).to_f64().unwrap()
}

// Pickles, from the inside out. Each function returns the opcodes that push one object.

pub(crate) fn int(value: i64) -> Vec<u8> {
    [&[0x8a, 8], &value.to_le_bytes()[..]].concat()
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap().to_le_bytes();
    [b"X", &length[..], value.as_bytes()].concat()
}

pub(crate) fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

pub(crate) fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &*items.concat(), b"t"].concat()
}

pub(crate) fn ints(values: &[i64]) -> Vec<u8> {
    tuple(&values.iter().map(|&v| int(v)).collect::<Vec<_>>())
}

pub(crate) fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<_> = items.iter().map(|(k, v)| [text(k), v.clone()].concat()).collect();
    [b"}(", &*items.concat(), b"u"].concat()
}

pub(crate) fn call(function: Vec<u8>, arguments: &[Vec<u8>]) -> Vec<u8> {
    [function, tuple(arguments), b"R".to_vec()].concat()
}

pub(crate) fn storage(kind: &str, key: &str, numel: i64) -> Vec<u8> {
    let kind = global("torch", kind);
    let id = tuple(&[text("storage"), kind, text(key), text("cpu"), int(numel)]);
    [&*id, b"Q"].concat()
}

pub(crate) fn tensor(storage: Vec<u8>, offset: i64, size: &[i64], strides: &[i64]) -> Vec<u8> {
    let hooks = call(global("collections", "OrderedDict"), &[]);
    let requires_grad = vec![0x89];
    call(
        global("torch._utils", "_rebuild_tensor_v2"),
        &[storage, int(offset), ints(size), ints(strides), requires_grad, hooks],
    )
}

/// A tensor over storage `0` with six floats.
pub(crate) fn six(offset: i64, size: &[i64], strides: &[i64]) -> Vec<u8> {
    tensor(storage("FloatStorage", "0", 6), offset, size, strides)
}

/// A whole pickle.
pub(crate) fn program(object: &[u8]) -> Vec<u8> {
    [&[0x80, 2], object, b"."].concat()
}

/// The elements of a float storage: 0, 1, 2, ...
pub(crate) fn floats(count: u8) -> Vec<u8> {
    (0..count).flat_map(|v| f32::from(v).to_le_bytes()).collect()
}

// Containers.

pub(crate) fn zip(entries: &[(&str, &[u8])], compression: CompressionMethod) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(compression);
    zip_with(entries, options)
}

pub(crate) fn zip_with(entries: &[(&str, &[u8])], options: SimpleFileOptions) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// PyTorch's zip container with storage `0` of six floats.
pub(crate) fn torch_zip(object: &[u8]) -> Vec<u8> {
    let entries: [(&str, &[u8]); 3] =
        [("a/data.pkl", &program(object)), ("a/byteorder", b"little"), ("a/data/0", &floats(6))];
    zip(&entries, CompressionMethod::Stored)
}

pub(crate) const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// The container of PyTorch before 1.6, not a zip file. It has storage `0` of six floats if `object` uses a storage.
pub(crate) fn torch_legacy(object: &[u8]) -> Vec<u8> {
    let version = program(&int(1001));
    let info = program(&dict(&[("little_endian", vec![0x88])]));
    let file = [MAGIC, &version, &info, &program(object)].concat();
    if !object.windows(7).any(|window| window == b"Storage") {
        return [&*file, &program(b"]")].concat();
    }
    let keys = program(&[b"](", &*text("0"), b"e"].concat());
    [&*file, &keys, &6u64.to_le_bytes(), &floats(6)].concat()
}

pub(crate) fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), data].concat()
}

/// One small, valid file of each format.
pub(crate) fn valid() -> [Vec<u8>; 3] {
    let object = dict(&[("w", six(0, &[2, 3], &[3, 1])), ("v", six(1, &[2], &[2]))]);
    let header = r#"{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    [torch_zip(&object), torch_legacy(&object), safetensors(header, &floats(6))]
}

/// Reproducible random numbers (xorshift).
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 32).unwrap() % n
    }
}
