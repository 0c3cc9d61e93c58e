//! A restricted unpickler.
//!
//! A pickle is a program for a stack machine. Python's machine can call any function; this one builds scalars, strings,
//! lists, tuples, dicts, storages and tensors. If a pickle so much as names anything else, that is an error.
//!
//! Strings are borrowed from the file and containers are shared by index. A program of `n` instructions therefore takes
//! memory in proportion to `n`, even if it duplicates what it has built.

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
    /// The storages that it refers to, by key.
    pub(super) storages: BTreeMap<&'a str, Storage>,
    nodes: Vec<Vec<Value<'a>>>,
}

/// A storage as a pickle describes it; its elements are elsewhere in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Storage {
    pub(super) dtype: Dtype,
    pub(super) numel: usize,
}

impl Storage {
    /// The size of its elements, or `None` if it overflows.
    pub(super) fn byte_len(self) -> Option<usize> {
        self.numel.checked_mul(self.dtype.size())
    }
}

impl<'a> Pickle<'a> {
    /// Unpickles the object at `reader` and moves `reader` past it. `file_len`, in bytes, limits what is allocated.
    pub(super) fn load(reader: &mut Reader<'a>, file_len: usize) -> Result<Pickle<'a>, Problem> {
        // A growing `Vec` may have twice the capacity that it needs, so this many values take at most `2 * file_len +
        // SLACK`.
        let longest = (file_len + SLACK / 2) / size_of::<Value>();
        Machine::new(reader, longest).run()
    }

    /// The items of a list or tuple, or the keys and values of a dict in turn.
    pub(super) fn items(&self, node: NodeId) -> &[Value<'a>] {
        &self.nodes[node]
    }
}
