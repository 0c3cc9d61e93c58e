//! The generator against PyTorch: every golden case, whatever its size, width, batch or configuration.

use alias_model::{Architecture, Config, Generator, Inputs, LoadOptions, Noise, Sample, fill};
use alias_oracle::golden::{self, Golden};
use alias_oracle::{gpu, relative_l2};
use std::collections::BTreeMap;

/// A tensor may be this many times as far from float64 as PyTorch's own float32 run is.
const BAR: f64 = 4.0;

/// The configuration that a case was written with.
fn config(case: &Golden) -> Config {
    let stored = &case.meta["config"];
    let text = |key: &str, default: &str| stored.get(key).map_or(default, |v| v.as_str().unwrap()).to_owned();
    let flag = |key: &str, default: bool| stored.get(key).map_or(default, |v| v.as_bool().unwrap());
    Config {
        ngf: stored.get("ngf").map_or(64, |v| v.as_u64().unwrap() as usize),
        layers: text("layers", "most").parse().unwrap(),
        norm: text("norm", "instance").parse().unwrap(),
        spectral: flag("spectral", true),
        plain: flag("plain", false),
    }
}

fn sample(case: &Golden) -> Sample {
    let agnostic = case.tensor("agnostic");
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

/// The generator of a case, through the same loader as anyone's checkpoint.
fn generator(case: &Golden) -> Generator {
    let config = config(case);
    let checkpoint = fill(&Architecture::new(config), case.integer("weights_seed"));
    let generator =
        Generator::load_with(gpu(), &checkpoint, LoadOptions { plain: config.plain, strict: true }).unwrap();
    assert_eq!(generator.architecture().config, config, "{}: read from the weights", case.name);
    generator
}

#[test]
fn every_golden_tensor_is_as_close_to_float64_as_pytorch() {
    let mut failures = Vec::new();
    for case in golden::cases("generator") {
        let generator = generator(&case);
        let inputs = Inputs::new(gpu(), &sample(&case)).unwrap();
        let mut got = BTreeMap::new();
        let mut tap = |stage: &str, y: &alias_tensor::Tensor| {
            got.insert(format!("stage.{stage}"), y.clone());
        };
        let image = generator.forward_with(&inputs, Noise::None, &mut tap).unwrap();
        got.insert("image".into(), image);
        let noise = Noise::Seed(case.integer("noise_seed"));
        got.insert("image_with_noise".into(), generator.forward(&inputs, noise).unwrap());

        let errors = case.meta["torch_float32_error"].as_object().unwrap();
        assert!(!errors.is_empty(), "{}: nothing to compare", case.name);
        for (name, error) in errors {
            let expected = case.tensor(name);
            let got = got.get(name).unwrap_or_else(|| panic!("{}: nothing computes {name}", case.name));
            assert_eq!(*got.shape(), *expected.shape, "{}: shape of {name}", case.name);
            let want: Vec<f64> = expected.data.iter().map(|&v| v.into()).collect();
            let ratio = relative_l2(&got.to_vec().unwrap(), &want) / error.as_f64().unwrap();
            println!("{} {name}: {ratio:.2} times PyTorch's error", case.name);
            // NaN has to fail.
            if ratio.is_nan() || ratio > BAR {
                failures.push(format!("{} {name}: {ratio:.2} times PyTorch's float32 error", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "past {BAR} times PyTorch's float32 error:\n{}", failures.join("\n"));
}
