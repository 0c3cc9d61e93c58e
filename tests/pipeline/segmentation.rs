//! The segmentation generator: by plans on a GPU and on cores, and on the tape.

use crate::{compare, compare_half, executors, executors_in_half_precision, finish, name, ngf, weights};
use alias_model::network::{Builder, Conv, Network, Pool, Reading};
use alias_model::{Conditioning, Feed, Module, Noise, PlanOptions, SegmentationConfig, Session};
use alias_oracle::{devices, golden};
use alias_tensor::Tensor;

/// The segmentation generator with the results of its levels as outputs: `level.conv1` to `level.conv8`, normalized and
/// activated, and `level.conv9`, which is the scores before the sigmoid, by a layer of its own.
fn with_levels(network: Network) -> Network {
    let mut net = Builder::from(network);
    for level in 1..9 {
        let name = format!("level.conv{level}");
        let raw = net.find(&format!("conv{level}.3")).unwrap();
        let read = Reading::of(raw).instance_norm(format!("{name}.norm")).relu();
        let done = net.pool(name.clone(), read, Pool::STORE);
        net.output(name, done);
    }
    let raw = net.find("conv9.3").unwrap();
    let read = Reading::of(raw).instance_norm("level.conv9.norm").relu();
    let logits = net.convolution(read, Conv::same(LOGITS, net.channels(raw), 13, 3));
    net.output(LOGITS, logits);
    net.finish()
}

/// The scores before the sigmoid, by the weights of `conv9.6`.
const LOGITS: &str = "level.conv9";

#[test]
fn the_segmentation_generator_is_as_close_to_float64_as_pytorch() {
    let mut failures = Vec::new();
    for case in golden::cases("pipeline_seg") {
        let x = case.tensor("x");
        let [n, _, h, w] = x.shape[..] else { panic!("{}: shape of x", case.name) };
        let network = SegmentationConfig { ngf: ngf(&case) }.network().unwrap();
        let mut checkpoint = weights(&network, case.integer("weights_seed"));
        let network = with_levels(network);
        for part in ["weight", "bias"] {
            let of_scores = checkpoint.get(&format!("conv9.6.{part}")).unwrap().clone();
            checkpoint.insert(format!("{LOGITS}.{part}"), of_scores);
        }
        assert_eq!(SegmentationConfig::infer(&checkpoint).unwrap(), SegmentationConfig { ngf: ngf(&case) });
        let mut check = |by: &str, outputs: &[Vec<f32>]| {
            let results: Vec<(&str, &[f32])> =
                network.outputs().iter().zip(outputs).map(|(o, values)| (o.name.as_str(), values.as_slice())).collect();
            failures.extend(compare(&case, by, &["x"], &results));
        };
        for executor in executors() {
            let (device, target) = executor.clone();
            let session = Session::load_with(device, &network, &checkpoint, target).unwrap();
            let prepared = session.plan_and_prepare(&Conditioning::size(n, h, w), PlanOptions::default()).unwrap();
            check(&name(&executor), &prepared.run(&[("x", &x.data)], Noise::None).unwrap());
        }
        for device in devices() {
            let module = Module::load(&device, &network, &checkpoint).unwrap();
            let feed = Feed::Tensor(Tensor::new(&device, &x.shape, &x.data).unwrap());
            let outputs = module.forward(&[feed], Noise::None).unwrap();
            let outputs: Vec<_> = outputs.iter().map(|output| output.to_vec().unwrap()).collect();
            check(&format!("tape on {device:?}"), &outputs);
        }
    }
    finish(failures);
}

#[test]
fn half_precision_keeps_its_bar() {
    for case in golden::cases("pipeline_seg") {
        let x = case.tensor("x");
        let network = SegmentationConfig { ngf: ngf(&case) }.network().unwrap();
        let checkpoint = weights(&network, case.integer("weights_seed"));
        for executor in executors_in_half_precision() {
            let (device, target) = executor.clone();
            let session = Session::load_with(device, &network, &checkpoint, target).unwrap();
            let size = Conditioning::size(x.shape[0], x.shape[2], x.shape[3]);
            let prepared = session.plan_and_prepare(&size, PlanOptions::default()).unwrap();
            let outputs = prepared.run(&[("x", &x.data)], Noise::None).unwrap();
            // Fourteen convolutions one after the other, and a sigmoid that is steep where classes meet.
            compare_half(&case, "scores", &name(&executor), outputs.last().unwrap(), 1e-2);
        }
    }
}
