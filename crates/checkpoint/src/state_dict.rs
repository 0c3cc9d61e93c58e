//! Finds the state dict in an unpickled object and turns it into named tensors.

use std::collections::{BTreeMap, BTreeSet};

use super::array::Array;
use super::checkpoint::Checkpoint;
use super::contents::Contents;
use super::error::{Problem, clip};
use super::limits::{MAX_DESCRIPTION, MAX_NAME};
use super::pickle::{NodeId, Pickle, Value};

/// The tensors of the state dict in `pickle`. `load` returns the bytes of the storage with a given key.
///
/// The object may hold dicts in dicts. If only one of them has tensors, it is the state dict. If there are several, such
/// as a model and its average, or a state dict and a loss, the names of all begin with the keys that lead to their dict;
/// [`Checkpoint::state_dict`] then finds a network's.
pub(super) fn checkpoint<'a>(
    pickle: &Pickle<'a>,
    mut load: impl FnMut(&'a str) -> Result<Contents, Problem>,
) -> Result<Checkpoint, Problem> {
    // Tied weights share a storage, which should be inflated once.
    let mut loaded: BTreeMap<&str, Contents> = BTreeMap::new();
    let mut load_once = |key| {
        if let Some(data) = loaded.get(key) {
            return Ok(data.clone());
        }
        let data = load(key)?;
        loaded.insert(key, data.clone());
        Ok(data)
    };

    let mut checkpoint = Checkpoint::new();
    let mut length_of_names = 0;
    for (path, dict) in Dicts::of(pickle).with_tensors(pickle)? {
        for (name, tensor) in tensors(pickle, dict) {
            let Value::Str(name) = name else {
                let what = "a tensor in the state dict has no name";
                return Err(Problem::unsupported(what));
            };
            let length = path.len() + name.len();
            length_of_names += length;
            if length > MAX_NAME || length_of_names > MAX_DESCRIPTION {
                let what = format!("tensor `{}...`: its name is too long", clip(name));
                return Err(Problem::unsupported(what));
            }
            let array = array(pickle, tensor, &mut load_once).map_err(|p| p.in_tensor(name))?;
            checkpoint.insert(format!("{path}{name}"), array);
        }
    }
    Ok(checkpoint)
}

/// The tensor of the node `tensor`, which holds the arguments of its constructor.
fn array<'a>(
    pickle: &Pickle<'a>,
    tensor: NodeId,
    load: impl FnOnce(&'a str) -> Result<Contents, Problem>,
) -> Result<Array, Problem> {
    let (key, view) = View::new(pickle, tensor)?;
    let storage = pickle.storages.get(key);
    let storage = storage.ok_or_else(|| Problem::damaged("its storage is missing"))?;
    let data = load(key)?;
    if Some(data.len()) != storage.byte_len() {
        return Err(Problem::Damaged(format!(
            "storage `{}` has {} bytes, but should hold {} {:?} elements",
            clip(key),
            data.len(),
            storage.numel,
            storage.dtype
        )));
    }
    Array::view(storage.dtype, view.shape, view.strides, view.offset, data)
}

/// The most dicts and lists of an object that are searched for tensors; a training's checkpoint has a dozen.
const MAX_DICTS: usize = 1000;
/// How deep they may be nested.
const MAX_DEPTH: usize = 16;

/// The dicts, lists and tuples of an object, outer ones first.
struct Dicts<'a>(Vec<Dict<'a>>);

/// A dict, list or tuple of an object.
struct Dict<'a> {
    node: NodeId,
    is_dict: bool,
    /// The index of the one that it is in, and its key or index there; None for the object itself.
    place: Option<(usize, Value<'a>)>,
    depth: usize,
}

impl<'a> Dicts<'a> {
    /// Lists the dicts in the object, but for an optimizer's: its state holds tensors too, but none of the model.
    fn of(pickle: &Pickle<'a>) -> Dicts<'a> {
        let mut dicts = Vec::new();
        // A dict may be there under several names.
        let mut seen = BTreeSet::new();
        let mut add = |dicts: &mut Vec<Dict<'a>>, value, place, depth| {
            if let Value::Dict(node) | Value::List(node) | Value::Tuple(node) = value
                && dicts.len() < MAX_DICTS
                && seen.insert(node)
            {
                dicts.push(Dict { node, is_dict: value == Value::Dict(node), place, depth });
            }
        };
        add(&mut dicts, pickle.root, None, 0);
        let mut at = 0;
        while let Some(&Dict { node, is_dict, depth, .. }) = dicts.get(at) {
            let items = if depth < MAX_DEPTH { pickle.items(node) } else { &[] };
            if is_dict {
                for pair in items.chunks_exact(2).filter(|pair| !is_optimizer(pair[0])) {
                    add(&mut dicts, pair[1], Some((at, pair[0])), depth + 1);
                }
            } else {
                for (index, &item) in (0..).zip(items) {
                    add(&mut dicts, item, Some((at, Value::Int(index))), depth + 1);
                }
            }
            at += 1;
        }
        Dicts(dicts)
    }

    /// The nodes of the dicts that hold named tensors, each with the path to prefix its names with: none for the only
    /// one.
    fn with_tensors(&self, pickle: &Pickle<'a>) -> Result<Vec<(String, NodeId)>, Problem> {
        let dicts = || self.0.iter().filter(|dict| dict.is_dict);
        let has =
            |dict: &&Dict, is_name: fn(&Value) -> bool| tensors(pickle, dict.node).any(|(name, _)| is_name(&name));
        let is_text = |name: &Value| matches!(name, Value::Str(_));
        let found: Vec<_> = dicts().filter(|dict| has(dict, is_text)).collect();
        match *found {
            [] if dicts().any(|dict| has(&dict, |_| true)) => {
                Err(Problem::unsupported("a tensor in the state dict has no name"))
            }
            [] if matches!(pickle.root, Value::Dict(_)) => Err(Problem::unsupported("the file holds no tensors")),
            [] => Err(Problem::unsupported("the file holds no dict of tensors")),
            [only] => Ok(vec![(String::new(), only.node)]),
            _ => Ok(found.into_iter().map(|dict| (self.path(dict), dict.node)).collect()),
        }
    }

    /// The keys that lead to a dict, as in `nets.generator.`.
    fn path(&self, dict: &Dict) -> String {
        let Some((parent, key)) = dict.place else { return String::new() };
        let key = match key {
            Value::Str(key) => clip(key).to_owned(),
            Value::Int(index) => index.to_string(),
            _ => "?".to_owned(),
        };
        format!("{}{key}.", self.path(&self.0[parent]))
    }
}

/// Whether a key is that of an optimizer, such as `optimizer`, `optim_G` and Lightning's `optimizer_states`.
fn is_optimizer(key: Value) -> bool {
    matches!(key, Value::Str(key) if clip(key).to_ascii_lowercase().contains("optim"))
}

/// The tensors among the entries of a dict: their names and nodes.
fn tensors<'p, 'a>(pickle: &'p Pickle<'a>, dict: NodeId) -> impl Iterator<Item = (Value<'a>, NodeId)> + use<'p, 'a> {
    let pairs = pickle.items(dict).chunks_exact(2);
    pairs.filter_map(|pair| match *pair {
        [name, Value::Tensor(tensor)] => Some((name, tensor)),
        _ => None,
    })
}

/// The part of its storage that a tensor consists of, in elements.
struct View {
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

impl View {
    /// The key of the storage and the view of it, from the arguments of `_rebuild_tensor_v2`.
    fn new<'a>(pickle: &Pickle<'a>, tensor: NodeId) -> Result<(&'a str, View), Problem> {
        let &[Value::Storage(key), Value::Int(offset), Value::Tuple(shape), Value::Tuple(strides), ref rest @ ..] =
            pickle.items(tensor)
        else {
            return Err(Problem::damaged("it is not (storage, offset, size, strides, ...)"));
        };
        // The argument after requires_grad and the hooks: elements may be conjugated or negated when they are used.
        if let Some(&Value::Dict(metadata)) = rest.get(2)
            && !pickle.items(metadata).is_empty()
        {
            return Err(Problem::unsupported("it has metadata that changes its elements"));
        }
        let view = View {
            shape: sizes(pickle.items(shape))?,
            strides: sizes(pickle.items(strides))?,
            offset: size(Value::Int(offset))?,
        };
        Ok((key, view))
    }
}

fn sizes(values: &[Value]) -> Result<Vec<usize>, Problem> {
    values.iter().copied().map(size).collect()
}

fn size(value: Value) -> Result<usize, Problem> {
    match value {
        Value::Int(int) => {
            usize::try_from(int).map_err(|_| Problem::Damaged(format!("a size, stride or offset is {int}")))
        }
        _ => Err(Problem::damaged("a size, stride or offset is not an integer")),
    }
}
