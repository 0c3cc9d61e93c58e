//! Shared by the tests of generator, painter and trainer: golden cases as configurations and samples.

#![allow(unreachable_pub, dead_code)] // each test is a crate of its own and uses only part of this

use alias_model::{GeneratorConfig, Sample};
use alias_oracle::golden::Golden;
use alias_oracle::relative_l2;
use std::collections::BTreeMap;

/// A tensor may be this many times as far from float64 as PyTorch's own float32 run is.
pub const BAR: f64 = 4.0;
/// The largest norm of a gradient that should be zero, relative to the largest of its network.
const ZERO: f64 = 1e-5;

/// Compares the results of a training case, by name, with all tensors of the case but its `inputs`. The gradients of a network
/// have a common bar, and so have its states: for the median of their errors, and for the worst. Returns what is past its bar.
///
/// # Panics
/// If nothing computes a tensor, or a bar is not a small error.
pub fn compare_training(case: &Golden, inputs: &[&str], got: &BTreeMap<String, Vec<f32>>) -> Vec<String> {
    let group = |name: &str| name.split('.').take(2).collect::<Vec<_>>().join(".");
    let mut failures = Vec::new();
    let mut errors: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (name, expected) in case.tensors.iter().filter(|(name, _)| !inputs.contains(&name.as_str())) {
        let got = got.get(name).unwrap_or_else(|| panic!("{}: nothing computes {name}", case.name));
        let want: Vec<f64> = expected.data.iter().map(|&v| v.into()).collect();
        assert_eq!(got.len(), want.len(), "{}: elements of {name}", case.name);
        errors.entry(group(name)).or_default().push(relative_l2(got, &want));
    }
    let bars = case.meta["torch_float32_error"].as_object().unwrap();
    assert_eq!(errors.keys().collect::<Vec<_>>(), bars.keys().collect::<Vec<_>>(), "{}: groups", case.name);
    for (group, mut errors) in errors {
        // NaN sorts last, and then fails.
        errors.sort_by(f64::total_cmp);
        let found = [errors[errors.len() / 2], errors[errors.len() - 1]];
        for (k, what) in ["median", "worst"].into_iter().enumerate() {
            let bar = bars[&group][k].as_f64().unwrap();
            assert!(bar > 0.0 && bar < 1e-2, "{}: PyTorch's error of {group} is {bar}", case.name);
            let ratio = found[k] / bar;
            println!("{} {group}: {what} {ratio:.2} times PyTorch's", case.name);
            if ratio.is_nan() || ratio > BAR {
                failures.push(format!("{} {group}: {what} {ratio:.2} times PyTorch's float32 error", case.name));
            }
        }
    }
    let norm = |values: &[f32]| values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    for name in case.meta["zero_gradient"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()) {
        let (network, _) = name.split_once('.').unwrap();
        let of_network = format!("grad.{network}.");
        let gradients = got.iter().filter(|(name, _)| name.starts_with(&of_network));
        let largest = gradients.map(|(_, gradient)| norm(gradient)).fold(0.0, f64::max);
        let share = norm(&got[&format!("grad.{name}")]) / largest;
        if share.is_nan() || share > ZERO {
            failures.push(format!("{}: the gradient of {name}, zero, is {share:.1e} of the largest", case.name));
        }
    }
    failures
}

/// The configuration that a case was written with.
pub fn config(case: &Golden) -> GeneratorConfig {
    let stored = &case.meta["config"];
    for key in stored.as_object().unwrap().keys() {
        let known = ["height", "width", "ngf", "layers", "norm", "spectral", "plain"];
        assert!(known.contains(&key.as_str()), "{}: the tests do not know the setting '{key}'", case.name);
    }
    let text = |key: &str, default: &str| stored.get(key).map_or(default, |v| v.as_str().unwrap()).to_owned();
    let flag = |key: &str, default: bool| stored.get(key).map_or(default, |v| v.as_bool().unwrap());
    GeneratorConfig {
        ngf: stored.get("ngf").map_or(64, |v| v.as_u64().unwrap() as usize),
        layers: text("layers", "most").parse().unwrap(),
        norm: text("norm", "instance").parse().unwrap(),
        spectral: flag("spectral", true),
        plain: flag("plain", false),
    }
}

/// The inputs of a case.
pub fn sample(case: &Golden) -> Sample {
    let agnostic = case.tensor("agnostic");
    for (side, key) in [(2, "height"), (3, "width")] {
        let stated = case.meta["config"][key].as_u64().unwrap() as usize;
        assert_eq!(agnostic.shape[side], stated, "{}: {key} of the pictures and of the configuration", case.name);
    }
    let data = |name: &str| case.tensor(name).data.clone();
    Sample {
        batch: agnostic.shape[0],
        height: agnostic.shape[2],
        width: agnostic.shape[3],
        agnostic: data("agnostic"),
        pose: data("pose"),
        warped_cloth: data("warped_cloth"),
        warped_mask: data("warped_mask"),
        labels: data("labels").into_iter().map(|v| v as u8).collect(),
    }
}

/// The drawn scenes of seeds 1 and 2 in one batch.
pub fn pair(height: usize, width: usize) -> Sample {
    let [a, b] = [1, 2].map(|seed| alias_scene::draw(seed, height, width).sample);
    let join = |a: &[f32], b: &[f32]| [a, b].concat();
    Sample {
        batch: 2,
        agnostic: join(&a.agnostic, &b.agnostic),
        pose: join(&a.pose, &b.pose),
        warped_cloth: join(&a.warped_cloth, &b.warped_cloth),
        warped_mask: join(&a.warped_mask, &b.warped_mask),
        labels: [a.labels.as_slice(), &b.labels].concat(),
        ..a
    }
}
