//! The `tryon` command as its users run it.

mod common;

use alias_model::Checkpoint;
use alias_pictures::dataset::Dataset;
use alias_pictures::images::{read_rgb, read_size};
use common::{fails, succeeds, text, weights};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");

/// A folder with narrow weights and the demo's pictures, drawn once for all tests.
fn drawn() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (out, weights) = (folder.path().join("demo"), weights(folder.path()));
        let printed = succeeds(&["demo", "-o", text(&out), "--weights", text(&weights)]);
        assert!(printed.contains("6 scenes at 256x128"), "{printed}");
        folder
    });
    folder.path()
}

fn folders(demo: &Path) -> Vec<String> {
    ["agnostic", "pose", "cloth", "cloth-mask", "parse"]
        .iter()
        .flat_map(|kind| [format!("--{kind}"), text(&demo.join(kind)).to_owned()])
        .collect()
}

fn files(demo: &Path, name: &str) -> Vec<String> {
    let folders = folders(demo);
    let file = |pair: &[String]| [pair[0].clone(), format!("{}/{name}", pair[1])];
    folders.chunks(2).flat_map(file).collect()
}

fn synth<'a>(weights: &'a Path, inputs: &'a [String], output: &'a Path) -> Vec<&'a str> {
    let mut arguments = vec!["synth", "--weights", text(weights), "-o", text(output)];
    arguments.extend(inputs.iter().map(String::as_str));
    arguments
}

#[test]
fn tensors_in_tensors_out() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let (weights, inputs) = (format!("{GOLDEN}/checkpoint.pth"), format!("{GOLDEN}/most_hard_mask.safetensors"));
    let run = |extra: &[&str]| {
        let mut arguments = vec!["synth", "--weights", &weights, "--tensors", &inputs, "-o", text(&out)];
        arguments.extend(extra);
        succeeds(&arguments);
        let image = Checkpoint::read(&out).unwrap();
        assert_eq!(image.keys().collect::<Vec<_>>(), ["image"]);
        image.get("image").unwrap().to_f64().unwrap()
    };
    let golden = Checkpoint::read(&inputs).unwrap();
    let distance = |got: &[f64], name: &str| {
        let want = golden.get(name).unwrap().to_f64().unwrap();
        let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
        norm(&mut got.iter().zip(&want).map(|(g, w)| g - w)) / norm(&mut want.iter().copied())
    };
    // checkpoint.pth holds the weights of this case.
    assert!(distance(&run(&[]), "image") < 1.6e-6);
    assert!(distance(&run(&["--noise", "13"]), "image_with_noise") < 1.6e-6);
    assert!(distance(&run(&["--plain"]), "image") > 1e-3, "--plain is another network");
}

#[test]
fn pictures_in_a_picture_out() {
    let folder = tempfile::tempdir().unwrap();
    let demo = drawn().join("demo");
    let (weights, inputs) = (drawn().join("weights.safetensors"), files(&demo, "01.png"));
    let out = folder.path().join("one.png");
    succeeds(&synth(&weights, &inputs, &out));
    assert_eq!(read_size(&out).unwrap(), (256, 128));
    // Equal to the demo's result up to rounding: the inputs went through PNGs of 8 bits.
    let (a, b) = (read_rgb(&out).unwrap(), read_rgb(&demo.join("result/01.png")).unwrap());
    let distance = a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.data.len() as f32;
    assert!(distance < 0.02, "{distance}");
    assert!(demo.join("sheet.png").exists());
}

#[test]
fn folders_report_what_fails_and_do_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path();
    for kind in ["agnostic", "pose", "cloth", "cloth-mask", "parse"] {
        fs::create_dir(demo.join(kind)).unwrap();
        for name in ["01.png", "02.png", "03.png"] {
            fs::copy(drawn().join("demo").join(kind).join(name), demo.join(kind).join(name)).unwrap();
        }
    }
    fs::remove_file(demo.join("pose/02.png")).unwrap();
    let whole = fs::read(demo.join("agnostic/03.png")).unwrap();
    fs::write(demo.join("agnostic/03.png"), &whole[..whole.len() / 2]).unwrap();
    let (weights, inputs) = (drawn().join("weights.safetensors"), folders(demo));
    let out = folder.path().join("out");
    let complaint = fails(1, &synth(&weights, &inputs, &out));
    assert!(complaint.contains("02.png: ") && complaint.contains("pose/02.png"), "{complaint}");
    assert!(complaint.contains("03.png: ") && complaint.contains("agnostic/03.png: not a readable PNG"), "{complaint}");
    assert!(complaint.contains("error: 2 of 3 failed"), "{complaint}");
    let written: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(written, ["01.png"], "the other one, and nothing half written");
    fs::write(out.join("02.png"), b"old").unwrap();
    let complaint = fails(1, &synth(&weights, &inputs, &out));
    assert!(complaint.contains("02.png is of an earlier run") && !complaint.contains("03.png is of"), "{complaint}");
    assert_eq!(fs::read(out.join("02.png")).unwrap(), b"old", "nothing is lost");
    let one = files(demo, "01.png");
    let complaint = fails(1, &synth(&weights, &one, &folder.path().join("out.jpg")));
    assert!(complaint.contains("out.jpg: pictures are written as PNGs"), "{complaint}");
    let complaint = fails(1, &synth(&weights, &one, &folder.path().join("none/out.png")));
    assert!(complaint.contains("none is no folder to write to; create it"), "{complaint}");
    let mut inputs = inputs;
    inputs[1] = text(&folder.path().join("nowhere")).into();
    let complaint = fails(1, &synth(&weights, &inputs, &out));
    assert!(complaint.contains("nowhere does not exist"), "{complaint}");
}

#[test]
fn complaints_name_the_file_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(folder.path());
    let out = folder.path().join("out.safetensors");
    let tensors = |weights: &Path, tensors: &Path| {
        fails(1, &["synth", "--weights", text(weights), "--tensors", text(tensors), "-o", text(&out)])
    };
    let inputs = PathBuf::from(GOLDEN).join("most_hard_mask.safetensors");
    let complaint = tensors(&folder.path().join("none.pth"), &inputs);
    assert!(complaint.contains("none.pth: No such file"), "{complaint}");
    let complaint = tensors(&PathBuf::from(GOLDEN).join("checkpoint_legacy.pth"), &inputs);
    assert!(complaint.contains("checkpoint_legacy.pth: this is no ALIAS generator"), "{complaint}");
    let complaint = tensors(&weights, &weights);
    assert!(complaint.contains("weights.safetensors: no tensor 'agnostic'"), "{complaint}");
    fs::write(folder.path().join("cut.pth"), &fs::read(format!("{GOLDEN}/checkpoint.pth")).unwrap()[..100_000])
        .unwrap();
    let complaint = tensors(&folder.path().join("cut.pth"), &inputs);
    assert!(complaint.contains("cut.pth") && complaint.contains("download or copy it again"), "{complaint}");
    assert!(!out.exists());
    let before = fs::read(&weights).unwrap();
    let complaint = fails(1, &["synth", "--weights", text(&weights), "--tensors", text(&inputs), "-o", text(&weights)]);
    assert!(complaint.contains("weights.safetensors is an input; write elsewhere"), "{complaint}");
    assert!(fs::read(&weights).unwrap() == before);
    let complaint =
        fails(1, &["synth", "--weights", text(&weights), "--tensors", text(&inputs), "-o", text(folder.path())]);
    assert!(complaint.contains("is a folder; name a file in it"), "{complaint}");
    let complaint = fails(1, &["demo", "--adapter", "Voodoo 2", "-o", text(folder.path())]);
    assert!(complaint.contains("no adapter named 'Voodoo 2'; found: '"), "{complaint}");
}

/// As in `tryon inspect FILE | true`.
#[test]
#[cfg(unix)]
fn a_closed_pipe_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = Command::new(env!("CARGO_BIN_EXE_tryon"));
    let status = child.args(["inspect", &format!("{GOLDEN}/checkpoint.pth")]).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn command_lines_that_make_no_sense_exit_with_2() {
    fails(2, &[]);
    fails(2, &["synth"]);
    fails(2, &["synth", "--weights", "w", "-o", "o"]);
    fails(2, &["synth", "--weights", "w", "-o", "o", "--tensors", "t", "--agnostic", "a"]);
    let complaint = fails(2, &["synth", "--weights", "w", "-o", "o", "--agnostic", "a", "--pose", "p"]);
    assert!(complaint.contains("--cloth-mask"), "{complaint}");
}

#[test]
fn info_says_which_adapter_and_why() {
    let printed = succeeds(&["info"]);
    assert!(printed.contains("MiB per binding"), "{printed}");
    assert!(printed.lines().last().unwrap().starts_with("used: "), "{printed}");
}

#[test]
fn the_environment_is_honoured() {
    let info = |name: &str, value: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_tryon")).arg("info").env(name, value).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, printed) = info("WGPU_ADAPTER_NAME", "Voodoo 2");
    assert!(code == Some(1) && printed.contains("no adapter named 'Voodoo 2' by WGPU_ADAPTER_NAME"), "{printed}");
    // A back end that this platform does not have.
    let elsewhere = if cfg!(windows) { "metal" } else { "dx12" };
    let (code, printed) = info("WGPU_BACKEND", elsewhere);
    assert!(code == Some(0) && printed.contains("cores") && printed.contains("there is no adapter"), "{printed}");
    let mut insists = Command::new(env!("CARGO_BIN_EXE_tryon"));
    let output = insists.args(["info", "--device", "gpu"]).env("WGPU_BACKEND", elsewhere).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && complaint.contains("found: none. WGPU_BACKEND is"), "{complaint}");
}

#[test]
fn inspect_shows_configuration_names_shapes_and_count() {
    let printed = succeeds(&["inspect", &format!("{GOLDEN}/checkpoint.pth")]);
    assert!(printed.contains("head_0.conv_0.weight_orig") && printed.contains("[32, 32, 3, 3]"), "{printed}");
    assert!(printed.contains("264 tensors, 1768174 elements"), "{printed}");
    assert!(
        printed.contains("an ALIAS generator of 1764014 parameters: ngf 2, layers Most, norm Instance"),
        "{printed}"
    );
    assert!(printed.contains("with spectral norm, with mask norm"), "{printed}");
    let printed = succeeds(&["inspect", &format!("{GOLDEN}/checkpoint_legacy.pth")]);
    assert!(printed.contains("not an ALIAS generator"), "{printed}");
    let printed = succeeds(&["inspect", &format!("{GOLDEN}/pipeline_seg.pth")]);
    assert!(printed.ends_with("a segmentation generator of 136449 parameters: ngf 4\n"), "{printed}");
    let printed = succeeds(&["inspect", &format!("{GOLDEN}/pipeline_gmm.pth")]);
    assert!(printed.contains("a geometric matching module of 77878 parameters: "), "{printed}");
    assert!(printed.ends_with("ngf 4, for inputs of 64x64\n"), "{printed}");
}

#[test]
fn bench_prints_one_line_of_json() {
    let common = [
        "ms_median",
        "ms_min",
        "ms_first",
        "executed_gflop",
        "dense_gflop",
        "bytes_moved_mib",
        "peak_mib",
        "largest_binding_mib",
    ];
    for (device, own) in [("gpu", ["launches", "submits"].as_slice()), ("cpu", &["peak_gflops"])] {
        let size = ["--size", "256x128", "--ngf", "2", "--runs", "2", "--map", "flat"];
        let printed = succeeds(&[["bench", "--json", "--device", device].as_slice(), &size].concat());
        assert_eq!(printed.lines().count(), 1);
        let report: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((&report["size"], &report["precision"]), (&"256x128".into(), &"f32".into()));
        for key in common.iter().chain(own) {
            assert!(report[key].as_f64().is_some_and(|v| v > 0.0), "{key} in {printed}");
        }
        assert!(report["ms_min"].as_f64() <= report["ms_median"].as_f64());
    }
}

#[test]
fn devices_that_do_not_fit_what_is_asked_for_are_named() {
    let narrow = ["bench", "--size", "128x128", "--ngf", "2", "--runs", "1", "--device", "cpu"];
    let refused = |more: &[&str]| fails(1, &[narrow.as_slice(), more].concat());
    assert!(refused(&["--precision", "f16"]).contains("name a GPU with --adapter"));
    assert!(refused(&["--tune"]).contains("nothing to tune on processor cores"));
    let planned = fails(1, &["info", "--plan", "--device", "cpu", "--precision", "f16"]);
    assert!(planned.contains("processor cores store float32"), "{planned}");
    assert!(refused(&["--adapter", "x"]).contains("leave one of them out"));
    let printed = succeeds(&["info", "--device", "cpu", "--threads", "3"]);
    assert!(printed.contains("used: 3 cores") && printed.contains("as --device says"), "{printed}");
}

#[test]
fn bench_tunes_and_keeps_what_it_found() {
    let cache = tempfile::tempdir().unwrap();
    let bench = || {
        let arguments = ["bench", "--size", "128x128", "--ngf", "2", "--runs", "1", "--device", "gpu"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_tryon"));
        // The variables that the cache folder depends on: on Linux, on macOS and on Windows.
        command.env("XDG_CACHE_HOME", cache.path()).env("HOME", cache.path()).env("LOCALAPPDATA", cache.path());
        command.args(arguments);
        command
    };
    let output = bench().arg("--tune").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && printed.contains("up_4.conv_0") && printed.contains("peak:"), "{printed}");
    let kept = cache.path().join("alias");
    let Ok(entries) = fs::read_dir(&kept) else { return }; // a system that keeps caches elsewhere
    for entry in entries {
        fs::write(entry.unwrap().path(), "{").unwrap();
    }
    let output = bench().output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && complaint.contains("tune again"), "{complaint}");
}

#[test]
fn info_lists_the_plan() {
    let printed = succeeds(&["info", "--plan", "--guaranteed", "--size", "256x128", "--ngf", "4"]);
    let last = printed.lines().rev().nth(1).unwrap();
    assert!(printed.starts_with("step") && last.starts_with("all"), "{printed}");
    assert!(printed.contains("up_4.conv_0        winograd    1 x 4+16x256x128 -> 2, 3x3"), "{printed}");
    // The longest name does not touch its kernel.
    let printed = succeeds(&["info", "--plan", "--guaranteed", "--stage", "gmm", "--size", "512x256", "--ngf", "4"]);
    assert!(printed.contains("extractionA.model.12  winograd"), "{printed}");
    let refused = fails(2, &["info", "--plan", "--size", "1024"]);
    assert!(refused.contains("height x width"), "{refused}");
    let refused = fails(1, &["info", "--plan", "--size", "1000x768"]);
    assert!(refused.contains("1000x768") && refused.contains("multiples of 128"), "{refused}");
}

#[test]
fn a_drawn_dataset_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    let draw = ["dataset", "draw", text(&set), "--count", "3", "--seed", "7", "--size", "128x64"];
    assert_eq!(succeeds(&draw), format!("3 examples of 128x64 in {}\n", set.display()));
    let checked = succeeds(&["dataset", "check", text(&set)]);
    let (first, second) = (
        "3 examples of 128x64, all readable\n",
        "train with --layers more: height and width are multiples of 64, but not of 128\n",
    );
    assert!(checked.starts_with(&(first.to_owned() + second)), "{checked}");
    assert!(checked.contains("  labels: image-parse\n            warped garment: cloth\n"), "{checked}");
    assert!(fails(1, &draw).contains("not empty"));
    // The published set's own garments are flat.
    fs::create_dir(set.join("openpose_json")).unwrap();
    let refused = fails(1, &["dataset", "check", text(&set)]);
    assert!(refused.contains("garments in cloth are not warped; `tryon dataset prepare` warps them"), "{refused}");
    fs::remove_dir(set.join("openpose_json")).unwrap();

    // What is read is what was drawn, up to rounding to the 8 bits of a PNG.
    let dataset = Dataset::open(&set).unwrap();
    assert_eq!((dataset.len(), dataset.size(), dataset.name(1)), (3, [128, 64], "000008"));
    let (read, scene) = (dataset.read(1).unwrap(), alias_scene::draw(8, 128, 64));
    assert_eq!(read.sample.labels, scene.sample.labels);
    for (read, drawn, step) in [
        (&read.truth, &scene.truth, 2.0),
        (&read.sample.agnostic, &scene.sample.agnostic, 2.0),
        (&read.sample.pose, &scene.sample.pose, 2.0),
        (&read.sample.warped_cloth, &scene.sample.warped_cloth, 2.0),
        (&read.sample.warped_mask, &scene.sample.warped_mask, 1.0),
    ] {
        assert!(read.iter().zip(drawn).all(|(a, b)| (a - b).abs() <= 0.51 * step / 255.0));
    }
}

/// All problems are reported at once.
#[test]
fn a_dataset_with_gaps_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    succeeds(&["dataset", "draw", text(&set), "--count", "4", "--size", "128x64"]);
    let check = || fails(1, &["dataset", "check", text(&set)]);
    fs::remove_file(set.join("openpose/000002.png")).unwrap();
    fs::remove_file(set.join("image-parse/000004.png")).unwrap();
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gradient.jpg"), set.join("cloth/000001.png")).unwrap();
    fs::remove_dir_all(set.join("cloth-mask")).unwrap();
    let error = check();
    for named in [
        "warped-cloth-mask or cloth-mask",
        "openpose: no 000002",
        "image-parse: no 000004",
        "000001.png is 16x24, the first picture 128x64",
        "4 reasons",
    ] {
        assert!(error.contains(named), "{error}");
    }
    fs::write(set.join("train_pairs.txt"), "000001.png 000002.png\nonly\n").unwrap();
    let error = check();
    assert!(
        error.contains("line 1") && error.contains("both names must be the same") && error.contains("line 2"),
        "{error}"
    );
    fs::remove_file(set.join("train_pairs.txt")).unwrap();
    assert!(check().contains("no train_pairs.txt or pairs.txt"));
}

#[test]
fn jpegs_are_read() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gradient.jpg"));
    assert_eq!(read_size(path).unwrap(), (16, 24));
    let image = read_rgb(path).unwrap();
    for (y, x) in [(0, 0), (0, 23), (15, 0), (8, 12)] {
        let want = [10 * x, 15 * y, 128].map(|v| v as f32 / 127.5 - 1.0);
        let got = image.pixel(y, x);
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 0.05), "{y}, {x}: {got:?}, not {want:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.jpg");
    fs::write(&cut, &fs::read(path).unwrap()[..400]).unwrap();
    let error = read_rgb(&cut).unwrap_err().to_string();
    assert!(error.contains("cut.jpg: not a readable JPEG"), "{error}");
}
