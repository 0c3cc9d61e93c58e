//! The instructions that deal with functions, classes and storages.

use std::collections::BTreeMap;

use super::stack::{Stack, unexpected};
use super::value::{Callable, Storage, Value};
use crate::error::{Problem, clip};
use crate::limits::MAX_NAME;

impl<'a> Stack<'a> {
    /// Pushes a function or class by name: one of the few in [`Callable`], or it is an error.
    pub(super) fn global(&mut self, module: &'a str, name: &'a str) -> Result<(), Problem> {
        if module == "torch" && is_dtype(name) {
            return self.push(Value::Other);
        }
        let Some(callable) = Callable::find(module, name) else {
            let (module, name) = (clip(module), clip(name));
            return Err(Problem::Refused(format!("{module}.{name}")));
        };
        self.push(Value::Callable(callable))
    }

    /// Replaces a callable and its tuple of arguments by the result of the call.
    pub(super) fn reduce(&mut self) -> Result<(), Problem> {
        let (args, callable) = (self.pop()?, self.pop()?);
        let (Value::Callable(callable), Value::Tuple(node)) = (callable, args) else {
            return Err(unexpected("call", callable));
        };
        let args = &*self.nodes[node];
        match (callable, args) {
            (Callable::OrderedDict, []) => self.push_node(Value::Dict, Vec::new()),
            // Python 2 passes a list of pairs.
            (Callable::OrderedDict, &[Value::List(pairs)]) => {
                self.count(self.nodes[pairs].len())?;
                let items = self.pairs(pairs)?;
                self.push_node(Value::Dict, items)
            }
            (Callable::Counter, []) => self.push_node(Value::Dict, Vec::new()),
            (Callable::Counter, &[Value::Dict(counts)]) => self.push(Value::Dict(counts)),
            (Callable::Other, _) => self.push(Value::Other),
            (Callable::RebuildTensor, [Value::Storage(_), ..]) => self.push(Value::Tensor(node)),
            (Callable::RebuildParameter, &[Value::Tensor(tensor), ..]) => self.push(Value::Tensor(tensor)),
            (Callable::NewTensor, []) => self.push_node(Value::Tensor, Vec::new()),
            (Callable::Size, &[Value::Tuple(size)]) => self.push(Value::Tuple(size)),
            (callable, args) => {
                let what = format!("pickle: {callable:?} is called with {} arguments of wrong types", args.len());
                Err(Problem::Damaged(what))
            }
        }
    }

    /// The keys and values of a dict in turn, from the node of a list of (key, value) pairs.
    fn pairs(&self, list: usize) -> Result<Vec<Value<'a>>, Problem> {
        let mut items = Vec::new();
        for &pair in &self.nodes[list] {
            let (Value::List(node) | Value::Tuple(node)) = pair else {
                return Err(unexpected("make a dict of", pair));
            };
            let &[key, value] = &*self.nodes[node] else {
                return Err(Problem::damaged("pickle: a pair does not have two items"));
            };
            self.check_length(items.len() + 1)?;
            items.extend([key, value]);
        }
        Ok(items)
    }

    /// Sets the state of the object below the top of the stack. The attributes of a dict are ignored: in a state dict
    /// they are the versions of the modules. The earliest versions of PyTorch create a tensor empty and fill it in
    /// here.
    pub(super) fn build(&mut self) -> Result<(), Problem> {
        let state = self.pop()?;
        match (self.top()?, state) {
            (Value::Dict(_) | Value::Other, _) => Ok(()),
            (Value::Tensor(tensor), Value::Tuple(state))
                if self.nodes[tensor].is_empty() && self.nodes[state].len() == 4 =>
            {
                let arguments = self.nodes[state].clone();
                self.nodes[tensor] = arguments;
                Ok(())
            }
            (other, _) => Err(unexpected("set the state of", other)),
        }
    }

    /// Replaces a persistent id by the storage that it names, and notes it in `storages`.
    pub(super) fn storage(&mut self, storages: &mut BTreeMap<&'a str, Storage>) -> Result<(), Problem> {
        let id = self.pop()?;
        let Value::Tuple(id) = id else {
            return Err(unexpected("use as a storage", id));
        };
        let &[
            Value::Str("storage"),
            Value::Callable(Callable::Storage(dtype)),
            Value::Str(key),
            Value::Str(_device),
            Value::Int(numel),
            // In the container before 1.6, a sixth item tells which part of another storage this is. Since 2018,
            // PyTorch writes whole storages and puts None here.
            ref view @ ..,
        ] = &*self.nodes[id]
        else {
            return Err(Problem::damaged("pickle: a persistent id is not that of a storage"));
        };
        if !matches!(view, [] | [Value::None]) {
            let what = format!("storage `{}` is a part of another", clip(key));
            return Err(Problem::unsupported(what));
        }
        if key.len() > MAX_NAME {
            let what = format!("storage `{}...`: its key is too long", clip(key));
            return Err(Problem::unsupported(what));
        }
        let numel = usize::try_from(numel)
            .map_err(|_| Problem::Damaged(format!("storage `{}` has {numel} elements", clip(key))))?;
        let storage = Storage { dtype, numel };
        if *storages.entry(key).or_insert(storage) != storage {
            let what = format!("two different storages `{}`", clip(key));
            return Err(Problem::Damaged(what));
        }
        self.push(Value::Storage(key))
    }
}

/// Whether `torch.name` is an element type, such as `torch.float32`.
fn is_dtype(name: &str) -> bool {
    const TYPES: [&str; 12] = [
        "bool",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "complex64",
        "complex128",
    ];
    TYPES.contains(&name)
}
