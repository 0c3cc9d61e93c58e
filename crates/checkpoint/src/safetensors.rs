//! The safetensors container: an 8-byte length, a JSON header, then the elements.

use std::cmp::Reverse;
use std::io::Write;
use std::path::Path;

use ::safetensors::SafeTensors;
use ::safetensors::tensor::{Dtype as StoredDtype, TensorInfo};
use serde_json::{Map, Value, json};

use super::array::{Array, Dtype};
use super::bytes::{Reader, SharedBytes};
use super::error::{Problem, clip};
use super::{Checkpoint, SLACK};
use crate::atomic_file::write_atomically;

/// The key in the header that is not a tensor.
const METADATA: &str = "__metadata__";

pub(super) fn read(file: &SharedBytes) -> Result<Checkpoint, Problem> {
    check_header(file)?;
    // Checks that the tensors fill the rest of the file, each in its place.
    let (header_len, header) = SafeTensors::read_metadata(file)
        .map_err(|e| Problem::damaged(format!("safetensors: {}", clip(&e.to_string()))))?;
    let mut checkpoint = Checkpoint::new();
    for (name, info) in header.tensors() {
        let array = array(file, 8 + header_len, info).map_err(|p| p.in_tensor(&name))?;
        checkpoint.insert(name, array);
    }
    let metadata = header.metadata().iter().flatten();
    checkpoint.metadata = metadata.map(|(k, v)| (k.clone(), v.clone())).collect();
    Ok(checkpoint)
}

/// The array that `info` describes; offsets count from `data_start`.
fn array(file: &SharedBytes, data_start: usize, info: &TensorInfo) -> Result<Array, Problem> {
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
                what: format!("elements of type {other:?}"),
                remedy: "save it as float32",
            });
        }
    };
    let (start, end) = info.data_offsets;
    let data = file
        .slice(data_start.saturating_add(start)..data_start.saturating_add(end))
        .ok_or_else(|| Problem::damaged("offsets outside the file"))?;
    Array::row_major(dtype, info.shape.clone(), data)
}

/// Refuses headers that grow when parsed: the JSON `1,` is two bytes long, but up to
/// `PARSED` bytes as an element of a parsed list or object.
fn check_header(file: &[u8]) -> Result<(), Problem> {
    /// Two hash table slots per entry, each a name with a `TensorInfo`.
    const PARSED: usize = 168;
    let mut reader = Reader::new(file);
    let length = reader.len64()?;
    let header = reader.take(length)?;

    let most = (2 * file.len() + SLACK) / PARSED;
    // A header nests three deep: names, the fields of a tensor, its shape.
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
                        what: format!("over {most} items in a list of the safetensors header"),
                        remedy: "re-save it with fewer tensors, or larger ones",
                    });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes the file, whole or not at all.
pub(super) fn write(checkpoint: &Checkpoint, path: &Path) -> Result<(), Problem> {
    let header = header(checkpoint)?;
    write_atomically(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        in_file_order(checkpoint).into_iter().try_for_each(|(_, array)| file.write_all(&array.to_le_bytes()))
    })
    .map_err(Problem::Io)
}

/// Wide elements first, so that each lies at a multiple of its size, as the format wants.
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
            what: format!("`{METADATA}` is not a tensor in safetensors"),
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
