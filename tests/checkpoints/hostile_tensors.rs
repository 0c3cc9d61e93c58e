//! Tensors with impossible sizes, strides or storages. `refused.rs` says what is checked.

use crate::files::{call, dict, global, int, ints, six, storage, tensor, text, torch_legacy, torch_zip, tuple};
use crate::refused::{refused, refused_object, refused_tensor};

#[test]
fn tensors_outside_their_storage() {
    refused_tensor(six(0, &[1_000_000_000], &[1]), "outside its storage");
    refused_tensor(six(0, &[7], &[1]), "outside its storage");
    refused_tensor(six(1, &[6], &[1]), "outside its storage");
    refused_tensor(six(0, &[2, 3], &[4, 1]), "outside its storage");
    refused_tensor(six(i64::MAX, &[2], &[i64::MAX]), "outside its storage");
    // The last element would be at 3 + 2 (2^63 - 1), which is 1 if it wraps around.
    refused_tensor(six(3, &[3], &[i64::MAX]), "outside its storage");
    refused_tensor(six(0, &[1 << 62, 1 << 62], &[1, 1]), "outside its storage");
    refused_tensor(six(0, &[1 << 62, 4, 0], &[1, 1, 1]), "outside its storage");
    // Inside the storage, but with more elements than it has.
    refused_tensor(six(0, &[3, 3], &[1, 1]), "outside its storage");
    refused_tensor(six(0, &[2, 3], &[0, 1]), "call .contiguous()");
    refused_tensor(six(0, &[1_000_000_000], &[0]), "call .contiguous()");
    refused_tensor(six(0, &[1; 17], &[1; 17]), "17 dimensions");
    refused_tensor(six(0, &[2, 3], &[1]), "2 dimensions");
}

#[test]
fn impossible_numbers() {
    refused_tensor(six(-1, &[6], &[1]), "offset is -1");
    refused_tensor(six(0, &[-6], &[1]), "offset is -6");
    refused_tensor(six(0, &[6], &[-1]), "offset is -1");
    let wide = [&[0x8a, 9], &[0x7f; 9][..]].concat();
    let arguments = [storage("FloatStorage", "0", 6), int(0), tuple(&[wide]), ints(&[1])];
    let rebuild = global("torch._utils", "_rebuild_tensor_v2");
    refused_tensor(call(rebuild, &arguments), "not an integer");
    for numel in [-1, 5, 7, 1_000_000_000, i64::MAX] {
        let six = tensor(storage("FloatStorage", "0", numel), 0, &[1], &[1]);
        refused_tensor(six, "storage `0`");
    }
}

#[test]
fn storages_that_contradict_each_other() {
    let wide = tensor(storage("DoubleStorage", "0", 3), 0, &[3], &[1]);
    let both = dict(&[("a", six(0, &[6], &[1])), ("b", wide)]);
    refused_object(&both, "two different storages");
    let missing = tensor(storage("FloatStorage", "1", 6), 0, &[6], &[1]);
    refused(torch_zip(&dict(&[("a", missing.clone())])), "zip entry `a/data/1`: missing");
    refused(torch_legacy(&dict(&[("a", missing)])), "listed but not used");
}

#[test]
fn tensors_that_are_more_than_a_view() {
    // A view of another storage, as in the earliest files of PyTorch.
    let kind = global("torch", "FloatStorage");
    let part = tuple(&[text("1"), int(0), int(6)]);
    let id = [text("storage"), kind, text("0"), text("cpu"), int(6), part];
    let part = [tuple(&id), b"Q".to_vec()].concat();
    refused_tensor(tensor(part, 0, &[6], &[1]), "part of another");
    // Values that are negated when read.
    let arguments = [
        storage("FloatStorage", "0", 6),
        int(0),
        ints(&[6]),
        ints(&[1]),
        vec![0x89],
        dict(&[]),
        dict(&[("neg", vec![0x88])]),
    ];
    let rebuild = global("torch._utils", "_rebuild_tensor_v2");
    refused_tensor(call(rebuild, &arguments), "metadata");
    // State set twice, and state with too few arguments.
    let empty = call(global("torch", "FloatTensor"), &[]);
    let state = tuple(&arguments[..4]);
    let twice = [&*empty, &state, b"b", &state, b"b"].concat();
    refused_tensor(twice, "set the state of a tensor");
    refused_tensor([&*empty, &ints(&[1]), b"b"].concat(), "set the state of a tensor");
    refused_tensor(empty, "it is not (storage");
}

#[test]
fn names_that_take_long_to_compare() {
    let name = "x".repeat(1 << 20);
    refused_object(&dict(&[(&name, six(0, &[6], &[1]))]), "its name is too long");
    let storage = storage("FloatStorage", &name, 6);
    refused_object(&dict(&[("a", tensor(storage, 0, &[6], &[1]))]), "its key is too long");
}
