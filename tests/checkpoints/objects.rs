//! All ways in which a pickle can hold a state dict.

use crate::files;
use crate::files::{call, dict, global, int, open, six, text, tuple, values};

#[test]
fn views_are_read_in_row_major_order() {
    let object = dict(&[
        ("plain", six(0, &[2, 3], &[3, 1])),
        ("transposed", six(0, &[3, 2], &[1, 3])),
        ("column", six(1, &[2], &[3])),
        ("scalar", six(5, &[], &[])),
        ("one", six(2, &[1, 2, 1], &[0, 1, 99])),
        ("empty", six(0, &[0, 3], &[3, 1])),
    ]);
    for file in [files::torch_zip(&object), files::torch_legacy(&object)] {
        let checkpoint = open(file);
        assert_eq!(values(&checkpoint, "plain"), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(values(&checkpoint, "transposed"), [0., 3., 1., 4., 2., 5.]);
        assert_eq!(values(&checkpoint, "column"), [1., 4.]);
        assert_eq!(values(&checkpoint, "scalar"), [5.]);
        assert_eq!(values(&checkpoint, "one"), [2., 3.]);
        assert!(values(&checkpoint, "empty").is_empty());
    }
}

#[test]
fn the_state_dict_is_found_inside_a_training_checkpoint() {
    let w = six(0, &[6], &[1]);
    let wrapped = dict(&[
        ("epoch", int(3)),
        ("model", dict(&[("module.a", w.clone()), ("module.b", w.clone()), ("lr", int(1))])),
        ("optimizer", dict(&[("state", dict(&[("0", dict(&[("m", w.clone())]))]))])),
    ]);
    let checkpoint = open(files::torch_zip(&wrapped));
    assert!(checkpoint.keys().eq(["a", "b"]), "{checkpoint:?}");

    // The prefix `module.` is dropped only if all names have it.
    let mixed = dict(&[("module.a", w.clone()), ("b", w)]);
    assert!(open(files::torch_zip(&mixed)).keys().eq(["b", "module.a"]));
}

#[test]
fn one_dict_under_two_names_is_one_state_dict() {
    let inner = dict(&[("w", six(0, &[6], &[1]))]);
    let object = [b"}(", &*text("model"), &inner, b"q\0", &text("ema"), b"h\0u"].concat();
    assert!(open(files::torch_zip(&object)).keys().eq(["w"]));
}

#[test]
fn older_ways_to_save_a_tensor_are_read() {
    let storage = || files::storage("FloatStorage", "0", 6);
    let size = || call(global("torch", "Size"), &[files::ints(&[6])]);
    let arguments = [storage(), int(0), size(), files::ints(&[1])];
    let v1 = call(global("torch._utils", "_rebuild_tensor"), &arguments);
    let filled_in = [call(global("torch", "FloatTensor"), &[]), tuple(&arguments), b"b".to_vec()].concat();
    let parameter = global("torch._utils", "_rebuild_parameter");
    let parameter = call(parameter, &[v1.clone(), vec![0x88], dict(&[])]);
    // Python 2: an OrderedDict of pairs, with names as byte strings.
    let name = |name: &str| [b"U\x01", name.as_bytes()].concat();
    let pairs = [("a", v1), ("b", filled_in), ("c", parameter)];
    let pairs = pairs.map(|(n, v)| [b"](", &*name(n), &v, b"e"].concat());
    let list = [b"](", &*pairs.concat(), b"e"].concat();
    let object = call(global("collections", "OrderedDict"), &[list]);
    let checkpoint = open(files::torch_legacy(&object));
    for name in ["a", "b", "c"] {
        assert_eq!(values(&checkpoint, name), [0., 1., 2., 3., 4., 5.], "{name}");
    }
}

#[test]
fn protocol_4_is_read() {
    let short = |s: &str| [&[0x8c, u8::try_from(s.len()).unwrap()], s.as_bytes(), b"\x94"].concat();
    let stack_global = |module, name| [short(module), short(name), b"\x93\x94".to_vec()].concat();
    let id = [&*short("storage"), &stack_global("torch", "FloatStorage"), &short("0"), &short("cpu"), b"K\x06"];
    let object = [
        b"\x80\x04\x95\0\0\0\0\0\0\0\0}\x94",
        &*short("w"),
        &stack_global("torch._utils", "_rebuild_tensor_v2"),
        b"((",
        &id.concat(),
        b"t\x94QM\x01\0K\x02K\x02\x86\x94J\x02\0\0\0K\x01\x86\x94\x89}\x94t\x94R\x94s.",
    ];
    let checkpoint = open(files::torch_zip(&object.concat()));
    assert_eq!(values(&checkpoint, "w"), [1., 2., 3., 4.]);
}

#[test]
fn an_ordered_dict_may_have_attributes() {
    let versions = dict(&[("_metadata", dict(&[("", dict(&[("version", int(1))]))]))]);
    let state_dict = [
        &*call(global("collections", "OrderedDict"), &[]),
        b"(",
        &text("w"),
        &six(0, &[6], &[1]),
        b"u",
        &versions,
        b"b",
    ];
    assert!(open(files::torch_zip(&state_dict.concat())).keys().eq(["w"]));
}
