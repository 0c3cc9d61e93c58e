//! Loading a generator: the checkpoint matches exactly, or the report lists every difference.

use crate::files::golden;
use alias_checkpoint::Array;
use alias_model::{Checkpoint, Generator, GeneratorConfig, LoadOptions, fill};
use alias_oracle::device;

fn checkpoint() -> Checkpoint {
    fill(&GeneratorConfig::PUBLISHED.with_ngf(2).network().unwrap(), 13)
}

/// `checkpoint` without the tensors for whose names `drop` is true.
fn without(checkpoint: &Checkpoint, drop: impl Fn(&str) -> bool) -> Checkpoint {
    let mut kept = Checkpoint::new();
    for (key, array) in checkpoint.iter().filter(|(key, _)| !drop(key)) {
        kept.insert(key, array.clone());
    }
    kept
}

fn refusal(checkpoint: &Checkpoint) -> String {
    Generator::load(device(), checkpoint).unwrap_err().to_string()
}

/// The weights of a file that `torch.save` wrote are those that `fill` draws, so `fill` matches the reference's.
#[test]
fn fill_draws_what_the_reference_draws() {
    let saved = Checkpoint::read(golden("checkpoint.pth")).unwrap();
    let drawn = checkpoint();
    assert!(saved.keys().eq(drawn.keys()));
    for (key, array) in saved.iter() {
        let drawn = drawn.get(key).unwrap();
        assert_eq!(array.shape(), drawn.shape(), "{key}");
        let distance =
            array.to_f64().unwrap().iter().zip(drawn.to_f64().unwrap()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(distance <= 1e-6, "{key}: off by {distance:e}");
    }
}

#[test]
fn every_format_gives_the_same_generator() {
    let folder = tempfile::tempdir().unwrap();
    let saved = Checkpoint::read(golden("checkpoint.pth")).unwrap();
    let path = folder.path().join("generator.safetensors");
    saved.write_safetensors(&path).unwrap();
    let copy = Checkpoint::read(&path).unwrap();
    assert!(saved.iter().zip(copy.iter()).all(|((a, x), (b, y))| a == b && x.to_f32().unwrap() == y.to_f32().unwrap()));
    Generator::load(device(), &copy).unwrap();
}

#[test]
fn the_report_lists_everything_at_once_as_pytorch_does() {
    let mut bad = without(&checkpoint(), |key| key.starts_with("up_3.conv_0.") || key == "conv_img.bias");
    bad.insert("extra.weight", Array::from_f32(&[1], &[0.0]));
    bad.insert("conv_0.weight", Array::from_f32(&[32, 8, 3, 3], &[0.0; 32 * 8 * 9]));
    let report = refusal(&bad);
    for part in [
        "Error(s) in loading state_dict for AliasGenerator:",
        "Missing key(s) in state_dict: \"conv_img.bias\", \"up_3.conv_0.bias\", \"up_3.conv_0.weight_orig\", \
         \"up_3.conv_0.weight_u\", \"up_3.conv_0.weight_v\".",
        "Unexpected key(s) in state_dict: \"extra.weight\".",
        "size mismatch for conv_0.weight: copying a param with shape torch.Size([32, 8, 3, 3]) from checkpoint, the shape \
         in current model is torch.Size([32, 9, 3, 3]).",
        "ngf: 2",
    ] {
        assert!(report.contains(part), "no {part:?} in:\n{report}");
    }
}

#[test]
fn what_does_not_belong_is_let_through_only_where_asked() {
    let mut more = checkpoint();
    more.insert("extra.weight", Array::from_f32(&[1], &[0.0]));
    assert!(refusal(&more).contains("Unexpected key(s)"));
    Generator::load_with(device(), &more, LoadOptions { strict: false, ..Default::default() }).unwrap();
    let less = without(&more, |key| key == "conv_img.bias");
    let options = LoadOptions { strict: false, ..Default::default() };
    let report = Generator::load_with(device(), &less, options).unwrap_err().to_string();
    assert!(report.contains("Missing key(s)") && !report.contains("Unexpected"), "{report}");
}

#[test]
fn a_file_of_something_else_is_told_apart() {
    let discriminator = Checkpoint::read(golden("checkpoint_legacy.pth")).unwrap();
    assert!(refusal(&discriminator).starts_with("this is no ALIAS generator: it has "));
}

#[test]
fn data_parallels_prefix_is_dropped() {
    let mut wrapped = Checkpoint::new();
    for (key, array) in checkpoint().iter() {
        wrapped.insert(format!("module.{key}"), array.clone());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrapped.safetensors");
    wrapped.write_safetensors(&path).unwrap();
    Generator::load(device(), &Checkpoint::read(&path).unwrap()).unwrap();
}

/// Checkpoints of old PyTorch versions do not have it.
#[test]
fn num_batches_tracked_may_be_missing() {
    let config =
        GeneratorConfig { norm: alias_model::ParameterFreeNorm::Batch, ..GeneratorConfig::PUBLISHED.with_ngf(2) };
    let full = fill(&config.network().unwrap(), 1);
    let old = without(&full, |key| key.ends_with("num_batches_tracked"));
    assert!(old.len() < full.len());
    Generator::load(device(), &old).unwrap();
}
