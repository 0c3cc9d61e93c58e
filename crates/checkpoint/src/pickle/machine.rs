//! The stack machine that runs a pickle.

use std::collections::BTreeMap;

use super::opcode as op;
use super::stack::{EMPTY, Stack, check_pairs, long};
use super::value::{Pickle, Storage, Value};
use crate::bytes::{Reader, utf8};
use crate::error::Problem;

/// A running pickle. `stack.rs` holds what its instructions do to the stack, and `objects.rs` what they do with functions,
/// classes and storages.
pub(super) struct Machine<'r, 'a> {
    reader: &'r mut Reader<'a>,
    stack: Stack<'a>,
    storages: BTreeMap<&'a str, Storage>,
}

impl<'r, 'a> Machine<'r, 'a> {
    pub(super) fn new(reader: &'r mut Reader<'a>, longest: usize) -> Machine<'r, 'a> {
        Machine { reader, stack: Stack::new(longest), storages: BTreeMap::new() }
    }

    /// Runs the program to its end and takes its result from the top of the stack.
    pub(super) fn run(mut self) -> Result<Pickle<'a>, Problem> {
        loop {
            self.stack.count(1)?;
            let opcode = self.reader.u8()?;
            if opcode == op::STOP {
                let root = self.stack.pop()?;
                return Ok(Pickle { root, storages: self.storages, nodes: self.stack.nodes });
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

            op::MARK => self.stack.mark(),
            op::POP => self.stack.pop().map(|_| ()),
            op::POP_MARK => self.stack.pop_to_mark().map(|_| ()),
            op::DUP => {
                let top = self.stack.top()?;
                self.stack.push(top)
            }

            op::NONE => self.stack.push(Value::None),
            op::NEWTRUE => self.stack.push(Value::Bool(true)),
            op::NEWFALSE => self.stack.push(Value::Bool(false)),
            op::BININT => {
                let int = i32::from_le_bytes(self.reader.array()?);
                self.stack.push(Value::Int(int.into()))
            }
            op::BININT1 => {
                let int = self.reader.u8()?;
                self.stack.push(Value::Int(int.into()))
            }
            op::BININT2 => {
                let int = self.reader.u16()?;
                self.stack.push(Value::Int(int.into()))
            }
            op::LONG1 | op::LONG4 => {
                let bytes = self.counted(if opcode == op::LONG1 { 1 } else { 4 })?;
                self.stack.push(long(bytes))
            }
            op::BINFLOAT => {
                let float = f64::from_be_bytes(self.reader.array()?);
                self.stack.push(Value::Float(float))
            }

            // Strings of Python 2 may be text or bytes. They are taken as text: names in a state dict are ASCII.
            op::SHORT_BINUNICODE | op::SHORT_BINSTRING => self.push_str(1),
            op::BINUNICODE | op::BINSTRING => self.push_str(4),
            op::BINUNICODE8 => self.push_str(8),
            op::SHORT_BINBYTES => self.push_bytes(1),
            op::BINBYTES => self.push_bytes(4),
            op::BINBYTES8 => self.push_bytes(8),

            op::EMPTY_TUPLE => self.stack.push(Value::Tuple(EMPTY)),
            op::TUPLE => {
                let items = self.stack.pop_to_mark()?;
                self.stack.push_node(Value::Tuple, items)
            }
            op::TUPLE1 => self.stack.push_tuple(1),
            op::TUPLE2 => self.stack.push_tuple(2),
            op::TUPLE3 => self.stack.push_tuple(3),
            op::EMPTY_LIST => self.stack.push_node(Value::List, Vec::new()),
            op::EMPTY_DICT => self.stack.push_node(Value::Dict, Vec::new()),
            op::LIST => {
                let items = self.stack.pop_to_mark()?;
                self.stack.push_node(Value::List, items)
            }
            op::DICT => {
                let items = self.stack.pop_to_mark()?;
                check_pairs(&items)?;
                self.stack.push_node(Value::Dict, items)
            }
            op::APPEND => {
                let items = self.stack.pop_items(1)?;
                self.stack.append(items)
            }
            op::APPENDS => {
                let items = self.stack.pop_to_mark()?;
                self.stack.append(items)
            }
            op::SETITEM => {
                let items = self.stack.pop_items(2)?;
                self.stack.set_items(items)
            }
            op::SETITEMS => {
                let items = self.stack.pop_to_mark()?;
                self.stack.set_items(items)
            }

            op::BINPUT => {
                let key = self.reader.u8()?;
                self.stack.put(key.into())
            }
            op::LONG_BINPUT => {
                let key = self.reader.u32()?;
                self.stack.put(key)
            }
            op::MEMOIZE => self.stack.memoize(),
            op::BINGET => {
                let key = self.reader.u8()?;
                self.stack.get(key.into())
            }
            op::LONG_BINGET => {
                let key = self.reader.u32()?;
                self.stack.get(key)
            }

            op::GLOBAL => {
                let (module, name) = (self.reader.line()?, self.reader.line()?);
                self.stack.global(module, name)
            }
            op::STACK_GLOBAL => {
                let (name, module) = (self.stack.pop()?, self.stack.pop()?);
                let (Value::Str(module), Value::Str(name)) = (module, name) else {
                    return Err(Problem::damaged("pickle: a global's name is not a string"));
                };
                self.stack.global(module, name)
            }
            op::REDUCE | op::NEWOBJ => self.stack.reduce(),
            op::BUILD => self.stack.build(),
            op::BINPERSID => self.stack.storage(&mut self.storages),

            other => Err(Problem::unsupported(format!(
                "pickle: instruction {other:#04x} at byte {} has no place in a state dict",
                self.reader.position() - 1
            ))),
        }
    }

    fn push_str(&mut self, width: usize) -> Result<(), Problem> {
        let text = utf8(self.counted(width)?)?;
        self.stack.push(Value::Str(text))
    }

    fn push_bytes(&mut self, width: usize) -> Result<(), Problem> {
        let bytes = self.counted(width)?;
        self.stack.push(Value::Bytes(bytes))
    }

    /// Bytes that follow their own length, itself a number of `width` bytes.
    fn counted(&mut self, width: usize) -> Result<&'a [u8], Problem> {
        let length = match width {
            1 => usize::from(self.reader.u8()?),
            4 => self.reader.len32()?,
            _ => self.reader.len64()?,
        };
        self.reader.take(length)
    }
}
