//! The values that unpickled objects consist of.

use std::collections::BTreeMap;

use crate::array::Dtype;

/// An unpickled object.
pub(in super::super) struct Pickle<'a> {
    pub(in super::super) root: Value<'a>,
    /// The storages it refers to, by key.
    pub(in super::super) storages: BTreeMap<&'a str, Storage>,
    pub(super) nodes: Vec<Vec<Value<'a>>>,
}

impl<'a> Pickle<'a> {
    /// What a container holds: the items of a list or tuple, keys and values of a dict in turn.
    pub(in super::super) fn items(&self, node: NodeId) -> &[Value<'a>] {
        &self.nodes[node]
    }
}

/// What a pickle says of a storage; the elements are elsewhere in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Storage {
    pub(in super::super) dtype: Dtype,
    pub(in super::super) numel: usize,
}

impl Storage {
    /// The size of its elements, if that can be.
    pub(in super::super) fn byte_len(self) -> Option<usize> {
        self.numel.checked_mul(self.dtype.size())
    }
}

/// A container of a [`Pickle`], as an index into its nodes.
pub(in super::super) type NodeId = usize;

/// An object. Containers are indices: copying one is cheap, one that contains itself is harmless, and dropping a deeply
/// nested one does not recurse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer too wide for `i64`: little-endian two's complement.
    Long(&'a [u8]),
    Float(f64),
    Str(&'a str),
    Bytes(&'a [u8]),
    Tuple(NodeId),
    List(NodeId),
    /// Its node holds keys and values in turn.
    Dict(NodeId),
    /// The storage with this key.
    Storage(&'a str),
    /// Its node holds the arguments of its constructor: storage, offset, size, strides, and others.
    Tensor(NodeId),
    Callable(Callable),
    /// An object that no tensor consists of, such as a set or a device.
    Other,
}

/// What a pickle may refer to outside itself. Nothing is called: each stands for a few lines
/// in `Stack::reduce`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Callable {
    OrderedDict,
    /// From a dict: the dict itself.
    Counter,
    /// From (storage, offset, size, strides, ...).
    RebuildTensor,
    /// From (tensor, `requires_grad`, hooks): the tensor itself.
    RebuildParameter,
    /// An empty tensor, which the instruction `BUILD` fills in, in the earliest files.
    NewTensor,
    /// `torch.Size`: a tuple.
    Size,
    Storage(Dtype),
    /// Any arguments make a [`Value::Other`].
    Other,
}

impl Callable {
    /// The callable `module.name`, if it is one that state dicts need.
    pub(super) fn find(module: &str, name: &str) -> Option<Callable> {
        let callable = match (module, name) {
            ("collections", "OrderedDict") => Callable::OrderedDict,
            ("collections", "Counter") => Callable::Counter,
            ("builtins" | "__builtin__", "set" | "complex" | "bytearray")
            | ("_codecs", "encode")
            | ("torch", "device")
            | ("torch.serialization", "_get_layout") => Callable::Other,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Callable::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Callable::RebuildParameter,
            ("torch", "Size") => Callable::Size,
            ("torch", _) => {
                if let Some(element) = name.strip_suffix("Storage") {
                    Callable::Storage(dtype(element)?)
                } else {
                    dtype(name.strip_suffix("Tensor")?)?;
                    Callable::NewTensor
                }
            }
            _ => return None,
        };
        Some(callable)
    }
}

/// The element type with this name of PyTorch's, as in `FloatStorage`.
fn dtype(element: &str) -> Option<Dtype> {
    let dtype = match element {
        "Bool" => Dtype::Bool,
        "Byte" => Dtype::U8,
        "Char" => Dtype::I8,
        "Short" => Dtype::I16,
        "Int" => Dtype::I32,
        "Long" => Dtype::I64,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::BF16,
        "Float" => Dtype::F32,
        "Double" => Dtype::F64,
        _ => return None,
    };
    Some(dtype)
}
