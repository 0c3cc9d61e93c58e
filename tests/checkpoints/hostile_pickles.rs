//! Pickles that are not a state dict. `refused.rs` says what is checked.

use crate::files;
use crate::files::{call, dict, global, int, program, six, storage, text};
use crate::refused::{refused, refused_object};

#[test]
fn pickles_that_call_something_else() {
    let system = || call(global("os", "system"), &[text("true")]);
    refused_object(&system(), "wants to call os.system; refused");
    refused_object(&dict(&[("a", system())]), "os.system");
    // A global that is named but not called.
    refused_object(&dict(&[("a", global("builtins", "eval"))]), "builtins.eval");
    let by_stack = [&*text("posix"), &text("system"), b"\x93"].concat();
    refused_object(&by_stack, "posix.system");
    refused_object(&global("torch", "load"), "torch.load");
    refused_object(&global("torch.storage", "_load_from_bytes"), "_load_from_bytes");
    refused_object(&global("collections", "OrderedDict.fromkeys"), "fromkeys");
    refused_object(&global("os", &"x".repeat(100_000)), "os.xxx");
    // INST, OBJ, NEWOBJ_EX, EXT1: other ways to make an object.
    for opcode in [b"i".as_slice(), b"o", b"\x92", b"\x82\x01"] {
        refused_object(opcode, "no place in a state dict");
    }
    // A call in the header, before the object.
    let info = program(&system());
    refused([files::MAGIC, &program(&int(1001)), &info].concat(), "os.system");
}

#[test]
fn pickles_that_are_not_programs() {
    for object in ["0", "2", "t", "e", "\u{1}", "R", "b", "Q", "(0", "]0a", "N(s", "q\0", "h\0"] {
        refused_object(object.as_bytes(), "");
    }
    // Opcodes may not take what is below a mark on the stack.
    for object in [b"N(0t".as_slice(), b"N(2t", b"N(\x85t", b"NN(\x86t", b"](Na"] {
        refused_object(object, "takes more from the stack");
    }
    refused_object(&[&*dict(&[]), b"(Nu"].concat(), "key without a value");
    refused_object(&[&*six(0, &[6], &[1]), b"Nb"].concat(), "set the state of a tensor");
    refused_object(&[&*storage("FloatStorage", "0", 6), b")R"].concat(), "call a storage");
    refused_object(&call(global("torch", "FloatStorage"), &[int(9)]), "Storage");
    refused_object(&int(1), "no dict of tensors");
    refused_object(&dict(&[("epoch", int(1))]), "no tensors");
    refused_object(&[&[0x80, 99], &*dict(&[])].concat(), "protocol 99");
}

#[test]
fn pickles_that_grow() {
    let many = |opcodes: &[u8]| opcodes.repeat(600_000 / opcodes.len());
    refused_object(&many(b"N"), "more objects at once");
    refused_object(&many(b"("), "more objects at once");
    refused_object(&many(b"}"), "more objects at once");
    refused_object(&many(b"}0"), "more objects at once");
    refused_object(&[b"N".to_vec(), many(b"2")].concat(), "more objects at once");
    refused_object(&[b"]".to_vec(), many(b"Na")].concat(), "more objects at once");
    refused_object(&[b"}".to_vec(), many(b"NNs")].concat(), "more objects at once");
    refused_object(&b"N0".repeat(1 << 20), "instructions");
    // Each tuple holds the one before it: dropping them must not recurse. The string makes the file large enough for
    // this many instructions.
    let ballast = [&*text(&"x".repeat(3 << 20)), b"0"].concat();
    let deep = [&*ballast, b")", &b"\x85".repeat(100_000)].concat();
    refused_object(&deep, "no dict of tensors");
    // "Billion laughs": each tuple holds the one before it ten times, thirty deep.
    let laughs = [b"N".to_vec(), [b"q\0(", &*b"h\0".repeat(10), b"t"].concat().repeat(30)];
    refused_object(&laughs.concat(), "no dict of tensors");
    // A list that holds itself; one long list converted to many dicts.
    refused_object(b"]q\0h\0a", "no dict of tensors");
    let pairs = [b"](", &*b"NN\x86".repeat(3000), b"eq\x000"].concat();
    let copies = [&*global("collections", "OrderedDict"), b"h\0\x85R0"].concat().repeat(3000);
    refused_object(&[ballast, pairs, copies].concat(), "instructions");
}
