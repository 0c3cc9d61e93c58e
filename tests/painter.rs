//! The planned generator against PyTorch, and against the one on the tape.

mod support;

use alias_model::{Architecture, LoadOptions, Noise, Painter, Precision, Target, fill};
use alias_oracle::golden::{self, Golden};
use alias_oracle::{gpu, relative_l2};
use support::{BAR, config, sample};

fn painter(case: &Golden, target: Target) -> Painter {
    let config = config(case);
    let checkpoint = fill(&Architecture::new(config).unwrap(), case.integer("weights_seed"));
    Painter::load_with(gpu(), &checkpoint, LoadOptions { plain: config.plain, strict: true }, target).unwrap()
}

/// Plans for a software rasterizer, and for GPUs with and without Winograd's algorithm, whatever runs the test.
fn targets() -> [Target; 3] {
    let here = Target::of(gpu(), Precision::F32);
    [(true, false), (false, false), (false, true)].map(|(software, winograd)| Target { software, winograd, ..here })
}

#[test]
fn every_golden_image_is_as_close_to_float64_as_pytorch() {
    let mut failures = Vec::new();
    for case in golden::cases("generator") {
        let sample = sample(&case);
        let seed = Noise::Seed(case.integer("noise_seed"));
        for target in targets() {
            let painter = painter(&case, target);
            for (name, noise) in [("image", Noise::None), ("image_with_noise", seed)] {
                let got = painter.draw(&sample, noise).unwrap();
                let want: Vec<f64> = case.tensor(name).data.iter().map(|&v| v.into()).collect();
                let error = case.meta["torch_float32_error"][name].as_f64().unwrap();
                let ratio = relative_l2(&got, &want) / error;
                let Target { software, winograd, .. } = target;
                let which = format!("{} {name}, software {software}, Winograd {winograd}: {ratio:.2}", case.name);
                println!("{which}");
                // NaN has to fail.
                if ratio.is_nan() || ratio > BAR {
                    failures.push(which);
                }
            }
        }
    }
    assert!(failures.is_empty(), "past {BAR} times PyTorch's float32 error:\n{}", failures.join("\n"));
}
