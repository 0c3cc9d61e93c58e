//! The instructions that work on the stack, the memo and the containers, and their limits.

use std::collections::BTreeMap;

use super::value::{NodeId, Value};
use crate::error::Problem;

/// The node of every empty tuple.
pub(super) const EMPTY: NodeId = 0;

/// A hundred times what the state dict of a large network takes.
const MAX_STEPS: usize = 1 << 20;

/// The stack of a running pickle, with the memo and the containers that its values refer to.
pub(super) struct Stack<'a> {
    /// No vector here grows longer than this.
    longest: usize,
    steps: usize,
    values: Vec<Value<'a>>,
    /// Where in the stack the open containers begin.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Value<'a>>,
    pub(super) nodes: Vec<Vec<Value<'a>>>,
}

impl<'a> Stack<'a> {
    pub(super) fn new(longest: usize) -> Stack<'a> {
        let nodes = vec![Vec::new()];
        Stack { longest, steps: 0, values: Vec::new(), marks: Vec::new(), memo: BTreeMap::new(), nodes }
    }

    /// Counts `steps` instructions' worth of work.
    pub(super) fn count(&mut self, steps: usize) -> Result<(), Problem> {
        self.steps += steps;
        if self.steps > MAX_STEPS {
            let what = format!("pickle: more than {MAX_STEPS} instructions");
            return Err(Problem::unsupported(what));
        }
        Ok(())
    }

    /// An error if a vector of `length` values may not grow by one.
    pub(super) fn check_length(&self, length: usize) -> Result<(), Problem> {
        if length >= self.longest {
            let what = "pickle: more objects at once than a file of this size describes";
            return Err(Problem::unsupported(what));
        }
        Ok(())
    }

    pub(super) fn push(&mut self, value: Value<'a>) -> Result<(), Problem> {
        self.check_length(self.values.len())?;
        self.values.push(value);
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<Value<'a>, Problem> {
        let top = self.top()?;
        self.values.pop();
        Ok(top)
    }

    pub(super) fn top(&self) -> Result<Value<'a>, Problem> {
        match self.values.last() {
            Some(&top) if self.values.len() > self.floor() => Ok(top),
            _ => Err(underflow()),
        }
    }

    /// Opens a container.
    pub(super) fn mark(&mut self) -> Result<(), Problem> {
        self.check_length(self.marks.len())?;
        self.marks.push(self.values.len());
        Ok(())
    }

    /// Below the last mark, the stack belongs to containers that are still open.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    /// Removes the top `n` values and returns them, the lowest first.
    pub(super) fn pop_items(&mut self, n: usize) -> Result<Vec<Value<'a>>, Problem> {
        match self.values.len().checked_sub(n) {
            Some(start) if start >= self.floor() => Ok(self.values.split_off(start)),
            _ => Err(underflow()),
        }
    }

    pub(super) fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, Problem> {
        let start = self.marks.pop().ok_or_else(underflow)?;
        Ok(self.values.split_off(start))
    }

    /// Pushes a new container.
    pub(super) fn push_node(
        &mut self,
        kind: impl Fn(NodeId) -> Value<'a>,
        items: Vec<Value<'a>>,
    ) -> Result<(), Problem> {
        self.check_length(self.nodes.len())?;
        self.nodes.push(items);
        self.push(kind(self.nodes.len() - 1))
    }

    pub(super) fn push_tuple(&mut self, n: usize) -> Result<(), Problem> {
        let items = self.pop_items(n)?;
        self.push_node(Value::Tuple, items)
    }

    /// Adds to the list on top of the stack.
    pub(super) fn append(&mut self, items: Vec<Value<'a>>) -> Result<(), Problem> {
        match self.top()? {
            Value::List(list) => self.extend(list, items),
            other => Err(unexpected("append to", other)),
        }
    }

    /// Adds keys and values to the dict on top of the stack.
    pub(super) fn set_items(&mut self, items: Vec<Value<'a>>) -> Result<(), Problem> {
        check_pairs(&items)?;
        match self.top()? {
            Value::Dict(dict) => self.extend(dict, items),
            other => Err(unexpected("set items of", other)),
        }
    }

    fn extend(&mut self, node: NodeId, items: Vec<Value<'a>>) -> Result<(), Problem> {
        self.check_length((self.nodes[node].len() + items.len()).saturating_sub(1))?;
        self.nodes[node].extend(items);
        Ok(())
    }

    pub(super) fn put(&mut self, key: u32) -> Result<(), Problem> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    /// [`Stack::put`] under the next key.
    pub(super) fn memoize(&mut self) -> Result<(), Problem> {
        self.put(u32::try_from(self.memo.len()).unwrap_or(u32::MAX))
    }

    pub(super) fn get(&mut self, key: u32) -> Result<(), Problem> {
        match self.memo.get(&key) {
            Some(&value) => self.push(value),
            None => Err(Problem::Damaged(format!("pickle: memo {key} is used before it is set"))),
        }
    }
}

/// A little-endian two's complement integer of any width.
pub(super) fn long(bytes: &[u8]) -> Value<'_> {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    match wide.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(wide))
        }
        None => Value::Long(bytes),
    }
}

pub(super) fn check_pairs(items: &[Value]) -> Result<(), Problem> {
    if !items.len().is_multiple_of(2) {
        return Err(Problem::damaged("pickle: a key without a value"));
    }
    Ok(())
}

pub(super) fn unexpected(action: &str, value: Value) -> Problem {
    let kind = match value {
        Value::None => "None",
        Value::Bool(_) => "a bool",
        Value::Int(_) | Value::Long(_) => "an int",
        Value::Float(_) => "a float",
        Value::Str(_) => "a string",
        Value::Bytes(_) => "bytes",
        Value::Tuple(_) => "a tuple",
        Value::List(_) => "a list",
        Value::Dict(_) => "a dict",
        Value::Storage(_) => "a storage",
        Value::Tensor(_) => "a tensor",
        Value::Callable(_) => "a function or class",
        Value::Other => "an object",
    };
    Problem::Damaged(format!("pickle: it cannot {action} {kind}"))
}

fn underflow() -> Problem {
    Problem::damaged("pickle: it takes more from the stack than it put there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_width_keep_their_sign() {
        assert_eq!(long(&[]), Value::Int(0));
        assert_eq!(long(&[0xff]), Value::Int(-1));
        assert_eq!(long(&[0xff, 0]), Value::Int(255));
        assert_eq!(long(&i64::MIN.to_le_bytes()), Value::Int(i64::MIN));
        assert_eq!(long(&[1; 9]), Value::Long(&[1; 9]));
    }
}
