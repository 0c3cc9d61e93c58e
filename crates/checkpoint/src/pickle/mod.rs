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

use super::bytes::Reader;
use super::error::Problem;
use super::limits::SLACK;

pub(super) use opcode::PROTO;
pub(super) use value::{NodeId, Pickle, Value};

use machine::Machine;

impl<'a> Pickle<'a> {
    /// Unpickles the object at `reader` and moves `reader` past it. `file_len`, in bytes, limits what is allocated.
    pub(super) fn load(reader: &mut Reader<'a>, file_len: usize) -> Result<Pickle<'a>, Problem> {
        // A growing `Vec` may have twice the capacity that it needs, so this many values take at most `2 * file_len +
        // SLACK`.
        let longest = (file_len + SLACK / 2) / size_of::<Value>();
        Machine::new(reader, longest).run()
    }
}
