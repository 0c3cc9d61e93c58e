//! Shared by the tests of generator, painter and trainer: golden cases as configurations and samples.

#![allow(unreachable_pub, dead_code)] // each test is a crate of its own and uses only part of this

use alias_model::{GeneratorConfig, Sample};
use alias_oracle::golden::Golden;

/// A tensor may be this many times as far from float64 as PyTorch's own float32 run is.
pub const BAR: f64 = 4.0;

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
