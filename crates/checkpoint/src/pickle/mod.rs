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

use super::SLACK;
use super::bytes::Reader;
use super::error::Problem;

pub(super) use opcode::PROTO;
pub(super) use value::{NodeId, Pickle, Value};

use machine::Machine;

impl<'a> Pickle<'a> {
    /// Unpickles the object at `reader`, in a file of `file_len` bytes, and leaves `reader`
    /// behind it.
    pub(super) fn load(reader: &mut Reader<'a>, file_len: usize) -> Result<Pickle<'a>, Problem> {
        // A `Vec` doubles as it grows, so one of this many values takes at most twice the file.
        let longest = (file_len + SLACK / 2) / size_of::<Value>();
        Machine::new(reader, longest).run()
    }
}
