//! The segmentation generator: by plans on a GPU and on cores, and on the tape.

use crate::{compare, executors, finish, name, ngf, weights};
use alias_model::network::{Builder, Network, Pool, Reading};
use alias_model::{Conditioning, Feed, Module, Noise, PlanOptions, SegmentationConfig, Session};
use alias_oracle::{golden, gpu, relative_l2};
use alias_tensor::Tensor;

/// The segmentation generator with the results of its levels as outputs: `level.conv1` to `level.conv8`, normalized and
/// activated.
fn with_levels(network: Network) -> Network {
    let mut net = Builder::from(network);
    for level in 1..9 {
        let name = format!("level.conv{level}");
        let raw = net.find(&format!("conv{level}.3")).unwrap();
        let read = Reading::of(raw).instance_norm(format!("{name}.norm")).relu();
        let done = net.pool(name.clone(), read, Pool::STORE);
        net.output(name, done);
    }
    net.finish()
}

fn inverse_sigmoid(scores: &[f32]) -> Vec<f32> {
    scores.iter().map(|&s| (f64::from(s) / (1.0 - f64::from(s))).ln() as f32).collect()
}

/// The result of the last level, before the sigmoid. Networks return it only after that, which loses digits where it saturates.
const LOGITS: &str = "level.conv9";

#[test]
fn the_segmentation_generator_is_as_close_to_float64_as_pytorch() {
    let mut failures = Vec::new();
    for case in golden::cases("pipeline_seg") {
        let x = case.tensor("x");
        let [n, _, h, w] = x.shape[..] else { panic!("{}: shape of x", case.name) };
        let network = with_levels(SegmentationConfig { ngf: ngf(&case) }.network().unwrap());
        let checkpoint = weights(&network, case.integer("weights_seed"));
        assert_eq!(SegmentationConfig::infer(&checkpoint).unwrap(), SegmentationConfig { ngf: ngf(&case) });
        let mut check = |by: &str, outputs: &[Vec<f32>]| {
            let results: Vec<(&str, &[f32])> =
                network.outputs().iter().zip(outputs).map(|(o, values)| (o.name.as_str(), values.as_slice())).collect();
            failures.extend(compare(&case, by, &["x", LOGITS], &results));
            if let Some(expected) = case.tensors.get(LOGITS) {
                let (_, scores) = results.iter().find(|(name, _)| *name == "scores").unwrap();
                let want: Vec<f64> = expected.data.iter().map(|&v| v.into()).collect();
                let distance = relative_l2(&inverse_sigmoid(scores), &want);
                assert!(distance < 1e-4, "{} {LOGITS}, {by}: {distance:.1e}", case.name);
            }
        };
        for executor in executors() {
            let (device, target) = executor.clone();
            let session = Session::load_with(device, &network, &checkpoint, target).unwrap();
            let prepared = session.plan_and_prepare(&Conditioning::size(n, h, w), PlanOptions::default()).unwrap();
            check(&name(&executor), &prepared.run(&[("x", &x.data)], Noise::None).unwrap());
        }
        let module = Module::load(gpu(), &network, &checkpoint).unwrap();
        let feed = Feed::Tensor(Tensor::new(gpu(), &x.shape, &x.data).unwrap());
        let outputs = module.forward(&[feed], Noise::None).unwrap();
        check("tape", &outputs.iter().map(|output| output.to_vec().unwrap()).collect::<Vec<_>>());
    }
    finish(failures);
}
