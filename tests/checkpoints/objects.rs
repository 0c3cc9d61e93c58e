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

#[test]
fn tensors_of_several_dicts_have_the_path_to_their_dict() {
    let dict_of = |names: &[&str]| dict(&names.iter().map(|&name| (name, six(0, &[6], &[1]))).collect::<Vec<_>>());
    let list = |item: &[u8]| [b"](", item, b"e"].concat();
    let object = dict(&[
        ("loss", six(0, &[], &[])),
        ("nets", dict(&[("G", dict_of(&["conv.weight"])), ("D", dict_of(&["conv.weight"]))])),
        ("old", list(&dict_of(&["conv.weight"]))),
        ("optimizer_states", list(&dict_of(&["exp_avg"]))),
    ]);
    let checkpoint = open(files::torch_zip(&object));
    let expected = ["loss", "nets.D.conv.weight", "nets.G.conv.weight", "old.0.conv.weight"];
    assert!(checkpoint.keys().eq(expected), "{checkpoint:?}");
}

#[test]
fn a_network_is_found_by_its_names() {
    let names = ["conv.weight", "conv.bias", "up.conv.weight", "up.conv.bias", "up.norm.weight", "up.norm.bias"];
    let under =
        |prefix: &str| -> Vec<_> { names.iter().map(|name| (format!("{prefix}{name}"), six(0, &[6], &[1]))).collect() };
    let read = |tensors: Vec<(String, Vec<u8>)>| {
        let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
        open(files::torch_zip(&dict(&tensors)))
    };
    let mut sorted = names;
    sorted.sort_unstable();
    let beside = [("n_averaged".to_owned(), six(0, &[], &[])), ("other.conv.weight".to_owned(), six(0, &[6], &[1]))];
    for prefix in ["", "netG.", "model._orig_mod.generator.", "G_"] {
        let checkpoint = read([&under(prefix)[..], if prefix.is_empty() { &[] } else { &beside }].concat());
        let found = checkpoint.state_dict(names).unwrap();
        assert!(found.keys().eq(sorted), "{prefix}: {found:?}");
    }
    let twice = read([under("model."), under("ema.")].concat());
    let error = twice.state_dict(names).unwrap_err().to_string();
    assert!(error.contains("several state dicts of this network, after 'ema.', 'model.'"), "{error}");
    // Fewer names than five may be another network's.
    let few = read(under("down.").into_iter().take(4).collect());
    assert!(few.state_dict(names).unwrap().keys().all(|name| name.starts_with("down.")));
}

#[test]
fn spectral_norm_has_one_set_of_names() {
    let w = || six(0, &[2, 3], &[3, 1]); // [[0, 1, 2], [3, 4, 5]]
    let u = || six(0, &[2], &[1]); // [0, 1]
    let v = || six(0, &[3], &[1]);
    let expected = ["a.weight_orig", "a.weight_u", "a.weight_v"];
    for [original, left, right] in [
        ["a.weight_orig", "a.weight_u", "a.weight_v"],
        ["a.parametrizations.weight.original", "a.parametrizations.weight.0._u", "a.parametrizations.weight.0._v"],
        ["_orig_mod.a.weight_orig", "_orig_mod.a.weight_u", "_orig_mod.a.weight_v"],
    ] {
        let checkpoint = open(files::torch_zip(&dict(&[(original, w()), (left, u()), (right, v())])));
        assert!(checkpoint.keys().eq(expected), "{checkpoint:?}");
        assert_eq!(values(&checkpoint, "a.weight_v"), [0., 1., 2.]);
    }
    // Weight norm, which is another thing.
    let weight_norm = ["a.parametrizations.weight.original0", "a.parametrizations.weight.original1"];
    let checkpoint = open(files::torch_zip(&dict(&weight_norm.map(|name| (name, w())))));
    assert!(checkpoint.keys().eq(weight_norm), "{checkpoint:?}");

    // PyTorch 0.4 has the divided weight in place of v: u W v must be the divisor, here 1.
    let divisor = |checkpoint: &alias_checkpoint::Checkpoint| -> f64 {
        assert!(checkpoint.keys().eq(expected), "{checkpoint:?}");
        let v = values(checkpoint, "a.weight_v");
        [3., 4., 5.].iter().zip(v).map(|(w, v)| w * v).sum()
    };
    let old = dict(&[("a.weight", w()), ("a.weight_orig", w()), ("a.weight_u", u())]);
    assert!((divisor(&open(files::torch_zip(&old))) - 1.0).abs() < 1e-6);
    let none = dict(&[("a.weight_orig", w()), ("a.weight_u", u())]);
    assert!((divisor(&open(files::torch_zip(&none))) - f64::sqrt(50.0)).abs() < 1e-5);
}

#[test]
fn what_a_scheduler_or_an_optimizer_saves_is_passed_over() {
    let counter = call(global("collections", "Counter"), &[dict(&[("30", int(1))])]);
    let set = call(global("__builtin__", "set"), &[b"](K\x01e".to_vec()]);
    let device = call(global("torch", "device"), &[text("cuda"), int(0)]);
    let object = dict(&[
        ("model", dict(&[("w", six(0, &[6], &[1]))])),
        ("milestones", counter),
        ("seen", set),
        ("device", device),
        ("dtype", global("torch", "float32")),
        ("bytes", call(global("_codecs", "encode"), &[text("x"), text("latin1")])),
    ]);
    for file in [files::torch_zip(&object), files::torch_legacy(&object)] {
        assert!(open(file).keys().eq(["w"]));
    }
}
