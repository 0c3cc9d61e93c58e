//! A restricted unpickler.
//!
//! A pickle is a program for a stack machine, and Python's lets it call anything. This machine
//! builds scalars, strings, lists, tuples, dicts, storages and tensors. Whatever else a pickle
//! names is an error as soon as it is named, called or not.
//!
//! Strings are borrowed from the file and containers are shared by index, so a program of `n`
//! instructions needs memory in proportion to `n`, however often it duplicates what it built.

mod machine;
mod objects;
mod opcode;
mod stack;
mod value;

use std::collections::BTreeMap;

use super::SLACK;
use super::array::Dtype;
use super::bytes::Reader;
use super::error::Problem;

pub(super) use opcode::PROTO;
pub(super) use value::{NodeId, Value};

use machine::Machine;

/// An unpickled object.
pub(super) struct Pickle<'a> {
    pub(super) root: Value<'a>,
    /// The storages it refers to, by key.
    pub(super) storages: BTreeMap<&'a str, Storage>,
    nodes: Vec<Vec<Value<'a>>>,
}

/// What a pickle says of a storage; the elements are elsewhere in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Storage {
    pub(super) dtype: Dtype,
    pub(super) numel: usize,
}

impl Storage {
    /// The size of its elements, if that can be.
    pub(super) fn byte_len(self) -> Option<usize> {
        self.numel.checked_mul(self.dtype.size())
    }
}

impl<'a> Pickle<'a> {
    /// Unpickles the object at `reader`, in a file of `file_len` bytes, and leaves `reader`
    /// behind it.
    pub(super) fn load(reader: &mut Reader<'a>, file_len: usize) -> Result<Pickle<'a>, Problem> {
        // A `Vec` doubles as it grows, so one of this many values takes at most twice the file.
        let longest = (file_len + SLACK / 2) / size_of::<Value>();
        Machine::new(reader, longest).run()
    }

    /// What a container holds: the items of a list or tuple, keys and values of a dict in turn.
    pub(super) fn items(&self, node: NodeId) -> &[Value<'a>] {
        &self.nodes[node]
    }
}
