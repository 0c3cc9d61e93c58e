//! The safetensors container: an 8-byte length, a JSON header, then the elements.

use std::cmp::Reverse;
use std::io::{self, Write};
use std::path::Path;

use ::safetensors::tensor::{Dtype as StoredDtype, Metadata, TensorInfo};
use serde_json::{Map, Value, json};

use super::array::{Array, Dtype};
use super::bytes::Reader;
use super::checkpoint::Checkpoint;
use super::contents::Contents;
use super::error::{CheckpointError, Problem, clip};
use super::limits::SLACK;
use crate::atomic_file::write_atomically;

/// The key of the metadata in the header; all others are names of tensors.
const METADATA: &str = "__metadata__";

pub(super) fn read(file: &Contents) -> Result<Checkpoint, Problem> {
    /// The size of the number in front of the header, which is the header's length.
    const LENGTH: usize = 8;
    let length = Reader::new(&file.read_range(0, LENGTH)?).len64()?;
    let header = file.slice(LENGTH, length)?;
    let header = header.read_description()?;
    check_header(&header, file.len())?;
    // This also checks that the tensors follow each other without gaps, and that each has the length of its shape and
    // type.
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|e| Problem::damaged(format!("safetensors: {}", clip(&e.to_string()))))?;
    let (described, left) = (header.data_len(), file.len() - LENGTH - length);
    if described != left {
        let what = format!("safetensors: the header describes {described} bytes of elements, but {left} follow it");
        return Err(Problem::Damaged(what));
    }
    let data = file.slice(LENGTH + length, described)?;
    let mut checkpoint = Checkpoint::new();
    for (name, info) in header.tensors() {
        let array = array(&data, info).map_err(|p| p.in_tensor(&name))?;
        checkpoint.insert(name, array);
    }
    let metadata = header.metadata().iter().flatten();
    checkpoint.metadata = metadata.map(|(k, v)| (k.clone(), v.clone())).collect();
    Ok(checkpoint)
}

/// The array that `info` describes; its offsets count from the start of `data`.
fn array(data: &Contents, info: &TensorInfo) -> Result<Array, Problem> {
    let dtype = match info.dtype {
        StoredDtype::BOOL => Dtype::Bool,
        StoredDtype::U8 => Dtype::U8,
        StoredDtype::I8 => Dtype::I8,
        StoredDtype::I16 => Dtype::I16,
        StoredDtype::I32 => Dtype::I32,
        StoredDtype::I64 => Dtype::I64,
        StoredDtype::F16 => Dtype::F16,
        StoredDtype::BF16 => Dtype::BF16,
        StoredDtype::F32 => Dtype::F32,
        StoredDtype::F64 => Dtype::F64,
        other => {
            return Err(Problem::Unsupported {
                what: format!("its elements are of type {other:?}"),
                remedy: "save it as float32",
            });
        }
    };
    let (start, end) = info.data_offsets;
    let data = data.slice(start, end.saturating_sub(start))?;
    Array::row_major(dtype, info.shape.clone(), data)
}

/// Refuses headers that would take too much memory when they are parsed: the two bytes `1,` of JSON may become an item
/// of `PARSED` bytes in a list or object.
fn check_header(header: &[u8], file_len: usize) -> Result<(), Problem> {
    /// Two slots of a hash table, each with a name and a `TensorInfo`: half of the slots may be empty.
    const PARSED: usize = 168;
    let most = (2 * file_len + SLACK) / PARSED;
    // A header nests three levels deep: names, the fields of a tensor, its shape.
    let mut commas = [0; 4];
    let mut depth = 0;
    let (mut in_string, mut escaped) = (false, false);
    for &byte in header {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                let Some(count) = commas.get_mut(depth) else {
                    return Err(Problem::damaged("the safetensors header nests too deep"));
                };
                *count = 0;
            }
            b'}' | b']' => depth = usize::saturating_sub(depth, 1),
            b',' => {
                commas[depth] += 1;
                if commas[depth] >= most {
                    return Err(Problem::Unsupported {
                        what: format!("a list in the safetensors header has over {most} items"),
                        remedy: "re-save it with fewer tensors, or larger ones",
                    });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes the file, completely or not at all. Tensors of files are read one at a time.
pub(super) fn write(checkpoint: &Checkpoint, path: &Path) -> Result<(), CheckpointError> {
    let header = header(checkpoint).map_err(|problem| CheckpointError::new(path, problem))?;
    let written = write_atomically(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for (_, array) in in_file_order(checkpoint) {
            file.write_all(&array.to_le_bytes().map_err(Failure::Reading)?)?;
        }
        Ok(())
    });
    written.map_err(|failure| match failure {
        Failure::Writing(error) => CheckpointError::new(path, error),
        Failure::Reading(error) => error,
    })
}

/// Why a file could not be written.
enum Failure {
    Writing(io::Error),
    /// The values of a tensor could not be read from their own file.
    Reading(CheckpointError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Writing(error)
    }
}

/// Tensors with larger elements come first, so that each is aligned to the size of its elements, as the format asks.
fn in_file_order(checkpoint: &Checkpoint) -> Vec<(&str, &Array)> {
    let mut tensors: Vec<_> = checkpoint.iter().collect();
    tensors.sort_by_key(|(_, array)| Reverse(array.dtype().size()));
    tensors
}

/// The JSON header, padded with spaces to a multiple of 8 bytes.
fn header(checkpoint: &Checkpoint) -> Result<Vec<u8>, Problem> {
    let mut header = Map::new();
    let mut start = 0;
    for (name, array) in in_file_order(checkpoint) {
        let end = start + array.byte_len();
        let info = TensorInfo {
            dtype: stored_dtype(array.dtype()),
            shape: array.shape().to_vec(),
            data_offsets: (start, end),
        };
        header.insert(name.to_owned(), json!(info));
        start = end;
    }
    if !checkpoint.metadata.is_empty() {
        header.insert(METADATA.to_owned(), json!(checkpoint.metadata));
    }
    if checkpoint.get(METADATA).is_some() {
        return Err(Problem::Unsupported {
            what: format!("the name `{METADATA}` is reserved in safetensors"),
            remedy: "give the tensor another name",
        });
    }
    let mut json = Value::Object(header).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok(json)
}

fn stored_dtype(dtype: Dtype) -> StoredDtype {
    match dtype {
        Dtype::Bool => StoredDtype::BOOL,
        Dtype::U8 => StoredDtype::U8,
        Dtype::I8 => StoredDtype::I8,
        Dtype::I16 => StoredDtype::I16,
        Dtype::I32 => StoredDtype::I32,
        Dtype::I64 => StoredDtype::I64,
        Dtype::F16 => StoredDtype::F16,
        Dtype::BF16 => StoredDtype::BF16,
        Dtype::F32 => StoredDtype::F32,
        Dtype::F64 => StoredDtype::F64,
    }
}
