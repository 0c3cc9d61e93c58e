//! Finds the state dict in an unpickled object and turns it into named tensors.

use std::collections::{BTreeMap, BTreeSet};

use super::array::Array;
use super::checkpoint::Checkpoint;
use super::contents::Contents;
use super::error::{Problem, clip};
use super::limits::MAX_NAME;
use super::pickle::{NodeId, Pickle, Value};

/// The tensors of the state dict in `pickle`. `load` returns the bytes of the storage with a given key.
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
    for (name, tensor) in tensors(pickle, find(pickle)?) {
        let Value::Str(name) = name else {
            let what = "a tensor in the state dict has no name";
            return Err(Problem::unsupported(what));
        };
        if name.len() > MAX_NAME {
            let what = format!("tensor `{}...`: its name is too long", clip(name));
            return Err(Problem::unsupported(what));
        }
        let array = array(pickle, tensor, &mut load_once).map_err(|p| p.in_tensor(name))?;
        checkpoint.insert(name, array);
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

/// Finds the dict of tensors: the outermost dict or, if it has no tensors, the only dict directly inside it that has
/// some.
fn find(pickle: &Pickle) -> Result<NodeId, Problem> {
    let Value::Dict(root) = pickle.root else {
        return Err(Problem::unsupported("the file holds no dict of tensors"));
    };
    if tensors(pickle, root).next().is_some() {
        return Ok(root);
    }
    let mut names = Vec::new();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for pair in pickle.items(root).chunks_exact(2) {
        // A dict may be there under several names.
        if let &[Value::Str(name), Value::Dict(dict)] = pair
            && seen.insert(dict)
            && tensors(pickle, dict).next().is_some()
        {
            names.push(format!("'{}'", clip(name)));
            found.push(dict);
            if found.len() == 8 {
                break;
            }
        }
    }
    match *found {
        [dict] => Ok(dict),
        [] => Err(Problem::unsupported("the file holds no tensors")),
        _ => Err(Problem::Unsupported {
            what: format!("the file holds several dicts of tensors: {}", names.join(", ")),
            remedy: "re-save one of them, as in torch.save(checkpoint['model'], path)",
        }),
    }
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
