//! The stack machine that runs a pickle.

use std::collections::BTreeMap;

use super::opcode as op;
use super::stack::{check_pairs, long};
use super::value::{NodeId, Value};
use super::{Pickle, Storage};
use crate::bytes::Reader;
use crate::error::Problem;

/// The node that all empty tuples share.
const EMPTY: NodeId = 0;

/// The state of a running pickle. The instructions that work on the stack are in `stack.rs`, those that deal with
/// functions, classes and storages in `objects.rs`.
pub(super) struct Machine<'r, 'a> {
    pub(super) reader: &'r mut Reader<'a>,
    /// The most items that any of the vectors may have.
    pub(super) longest: usize,
    pub(super) steps: usize,
    pub(super) stack: Vec<Value<'a>>,
    /// The indices in the stack where open containers begin.
    pub(super) marks: Vec<usize>,
    pub(super) memo: BTreeMap<u32, Value<'a>>,
    pub(super) nodes: Vec<Vec<Value<'a>>>,
    pub(super) storages: BTreeMap<&'a str, Storage>,
}

impl<'r, 'a> Machine<'r, 'a> {
    pub(super) fn new(reader: &'r mut Reader<'a>, longest: usize) -> Machine<'r, 'a> {
        Machine {
            reader,
            longest,
            steps: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: BTreeMap::new(),
            nodes: vec![Vec::new()],
            storages: BTreeMap::new(),
        }
    }

    /// Runs the program to its end and takes its result from the top of the stack.
    pub(super) fn run(mut self) -> Result<Pickle<'a>, Problem> {
        loop {
            self.count(1)?;
            let opcode = self.reader.u8()?;
            if opcode == op::STOP {
                let root = self.pop()?;
                return Ok(Pickle { root, storages: self.storages, nodes: self.nodes });
            }
            self.step(opcode)?;
        }
    }

    /// Runs one instruction.
    #[expect(clippy::too_many_lines, reason = "one arm per instruction")]
    fn step(&mut self, opcode: u8) -> Result<(), Problem> {
        match opcode {
            op::PROTO => match self.reader.u8()? {
                0..=5 => Ok(()),
                version => Err(Problem::unsupported(format!("pickle protocol {version}"))),
            },
            // Frames only matter when reading from a stream.
            op::FRAME => self.reader.take(8).map(|_| ()),

            op::MARK => {
                self.check_length(self.marks.len())?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            op::POP => self.pop().map(|_| ()),
            op::POP_MARK => self.pop_to_mark().map(|_| ()),
            op::DUP => {
                let top = self.top()?;
                self.push(top)
            }

            op::NONE => self.push(Value::None),
            op::NEWTRUE => self.push(Value::Bool(true)),
            op::NEWFALSE => self.push(Value::Bool(false)),
            op::BININT => {
                let int = i32::from_le_bytes(self.reader.array()?);
                self.push(Value::Int(int.into()))
            }
            op::BININT1 => {
                let int = self.reader.u8()?;
                self.push(Value::Int(int.into()))
            }
            op::BININT2 => {
                let int = self.reader.u16()?;
                self.push(Value::Int(int.into()))
            }
            op::LONG1 | op::LONG4 => {
                let bytes = self.counted(if opcode == op::LONG1 { 1 } else { 4 })?;
                self.push(long(bytes))
            }
            op::BINFLOAT => {
                let float = f64::from_be_bytes(self.reader.array()?);
                self.push(Value::Float(float))
            }

            // Strings of Python 2 may be text or bytes. They are taken as text: names in a state dict are ASCII.
            op::SHORT_BINUNICODE | op::SHORT_BINSTRING => self.push_str(1),
            op::BINUNICODE | op::BINSTRING => self.push_str(4),
            op::BINUNICODE8 => self.push_str(8),
            op::SHORT_BINBYTES => self.push_bytes(1),
            op::BINBYTES => self.push_bytes(4),
            op::BINBYTES8 => self.push_bytes(8),

            op::EMPTY_TUPLE => self.push(Value::Tuple(EMPTY)),
            op::TUPLE => {
                let items = self.pop_to_mark()?;
                self.push_node(Value::Tuple, items)
            }
            op::TUPLE1 => self.push_tuple(1),
            op::TUPLE2 => self.push_tuple(2),
            op::TUPLE3 => self.push_tuple(3),
            op::EMPTY_LIST => self.push_node(Value::List, Vec::new()),
            op::EMPTY_DICT => self.push_node(Value::Dict, Vec::new()),
            op::LIST => {
                let items = self.pop_to_mark()?;
                self.push_node(Value::List, items)
            }
            op::DICT => {
                let items = self.pop_to_mark()?;
                check_pairs(&items)?;
                self.push_node(Value::Dict, items)
            }
            op::APPEND => {
                let items = self.pop_items(1)?;
                self.append(items)
            }
            op::APPENDS => {
                let items = self.pop_to_mark()?;
                self.append(items)
            }
            op::SETITEM => {
                let items = self.pop_items(2)?;
                self.set_items(items)
            }
            op::SETITEMS => {
                let items = self.pop_to_mark()?;
                self.set_items(items)
            }

            op::BINPUT => {
                let key = self.reader.u8()?;
                self.put(key.into())
            }
            op::LONG_BINPUT => {
                let key = self.reader.u32()?;
                self.put(key)
            }
            op::MEMOIZE => {
                let key = u32::try_from(self.memo.len()).unwrap_or(u32::MAX);
                self.put(key)
            }
            op::BINGET => {
                let key = self.reader.u8()?;
                self.get(key.into())
            }
            op::LONG_BINGET => {
                let key = self.reader.u32()?;
                self.get(key)
            }

            op::GLOBAL => {
                let (module, name) = (self.reader.line()?, self.reader.line()?);
                self.global(module, name)
            }
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Str(module), Value::Str(name)) = (module, name) else {
                    return Err(Problem::damaged("pickle: a global's name is not a string"));
                };
                self.global(module, name)
            }
            op::REDUCE | op::NEWOBJ => self.reduce(),
            op::BUILD => self.build(),
            op::BINPERSID => self.storage(),

            other => Err(Problem::unsupported(format!(
                "pickle: instruction {other:#04x} at byte {} has no place in a state dict",
                self.reader.position() - 1
            ))),
        }
    }
}
