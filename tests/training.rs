//! The trainer against PyTorch: losses, images, gradients and states of every golden case.

mod support;

use alias_model::{
    Architecture, Batch, Config, DiscriminatorConfig, Gan, Inputs, Trainer, TrainerOptions, Vgg19, fill,
    fill_state_dict,
};
use alias_oracle::golden::{self, Golden};
use alias_oracle::{gpu, relative_l2};
use alias_tensor::Tensor;
use std::collections::BTreeMap;
use support::{BAR, sample};

/// What a case stores of its inputs; everything else is a result to compare.
const INPUTS: [&str; 6] = ["agnostic", "pose", "warped_cloth", "warped_mask", "labels", "real"];
/// How large a gradient that is zero may be, beside the largest of its network.
const ZERO: f64 = 1e-5;

/// The trainer of a case and its batch, by every setting of its configuration; and how many steps it takes.
fn trainer(case: &Golden) -> (Trainer, Batch, u64) {
    let stored = case.meta["config"].as_object().unwrap();
    let known = [
        "height",
        "width",
        "ngf",
        "ndf",
        "gan",
        "n_layers",
        "last_stride",
        "steps",
        "adam_eps",
        "vgg_divisor",
        "loss_columns",
    ];
    for key in stored.keys() {
        assert!(known.contains(&key.as_str()), "{}: nothing here heeds the setting '{key}'", case.name);
    }
    let integer = |key: &str| stored[key].as_u64().unwrap() as usize;
    let columns = ["discriminator", "gan", "feature_matching", "perceptual", "generator"];
    assert_eq!(stored["loss_columns"], serde_json::json!(columns), "{}", case.name);
    let gan = match stored["gan"].as_str().unwrap() {
        "hinge" => Gan::Hinge,
        "vanilla" => Gan::Vanilla,
        "lsgan" => Gan::LeastSquares,
        other => panic!("{}: no adversarial loss '{other}'", case.name),
    };
    let seed = case.integer("weights_seed");
    let config = Config::PUBLISHED.with_ngf(integer("ngf"));
    let discriminator = DiscriminatorConfig {
        layers: integer("n_layers"),
        ndf: integer("ndf"),
        last_stride: integer("last_stride"),
        ..DiscriminatorConfig::SPADE
    };
    let vgg = fill_state_dict(Vgg19::state_dict(integer("vgg_divisor")), seed + 2);
    let options = TrainerOptions {
        gan,
        eps: stored["adam_eps"].as_f64().unwrap() as f32,
        noise_seed: 1000 * seed,
        ..Default::default()
    };
    let trainer = Trainer::new(
        gpu(),
        (config, &fill(&Architecture::new(config).unwrap(), seed)),
        (discriminator, &fill_state_dict(discriminator.state_dict(), seed + 1)),
        Some(Vgg19::load(gpu(), &vgg).unwrap()),
        options,
    );
    let real = case.tensor("real");
    let batch = Batch {
        inputs: Inputs::new(gpu(), &sample(case)).unwrap(),
        real: Tensor::new(gpu(), &real.shape, &real.data).unwrap(),
    };
    (trainer.unwrap(), batch, integer("steps") as u64)
}

/// All that a case's steps compute, by the names under which cases store it; gradients and image of the first step.
fn run(case: &Golden) -> BTreeMap<String, Vec<f32>> {
    let (mut trainer, batch, steps) = trainer(case);
    let (mut got, mut losses) = (BTreeMap::new(), Vec::new());
    for step in 0..steps {
        let tap = |name: &str, tensor: &Tensor| {
            if step == 0 {
                got.insert(name.to_owned(), tensor.to_vec().unwrap());
            }
        };
        let l = trainer.step_with(std::slice::from_ref(&batch), tap).unwrap();
        losses.extend([l.discriminator, l.gan, l.feature_matching, l.perceptual, l.generator]);
    }
    got.insert("losses".into(), losses);
    for (network, state) in [("generator", trainer.generator()), ("discriminator", trainer.discriminator())] {
        for (key, array) in state.unwrap().iter() {
            got.insert(format!("after.{network}.{key}"), array.to_f32());
        }
    }
    got
}

/// The gradients or the states of one network; or what stands alone.
fn group(name: &str) -> String {
    name.split('.').take(2).collect::<Vec<_>>().join(".")
}

#[test]
fn every_golden_case_is_as_close_to_float64_as_pytorch() {
    let mut failures = Vec::new();
    for case in golden::cases("training") {
        let got = run(&case);
        let norm = |values: &[f32]| values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let mut errors: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (name, expected) in case.tensors.iter().filter(|(name, _)| !INPUTS.contains(&name.as_str())) {
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
        for network in ["generator", "discriminator"] {
            let of_network = format!("grad.{network}.");
            let gradients = got.iter().filter(|(name, _)| name.starts_with(&of_network));
            let largest = gradients.map(|(_, gradient)| norm(gradient)).fold(0.0, f64::max);
            let zero = case.meta["zero_gradient"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
            for name in zero.filter(|name| name.starts_with(network)) {
                let share = norm(&got[&format!("grad.{name}")]) / largest;
                if share.is_nan() || share > ZERO {
                    failures
                        .push(format!("{}: the gradient of {name}, zero, is {share:.1e} of the largest", case.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "past {BAR} times PyTorch's float32 error:\n{}", failures.join("\n"));
}
