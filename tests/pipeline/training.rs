//! One step of training of the first two networks, on the tape: losses, gradients, and batch norm's running statistics.

use crate::support::compare_training;
use crate::{bytes, finish, ngf, size, weights};
use alias_checkpoint::{Array, Checkpoint};
use alias_kernels::{
    PixelClasses, add, cross_entropy, grid_sample, l1, power_iteration, scale, second_order_constraint, tps_grid,
};
use alias_model::network::{Network, ParameterKind};
use alias_model::preprocess::labels::LIP_TO_13;
use alias_model::{DiscriminatorConfig, Feed, MatchingConfig, Module, Noise, SegmentationConfig, fill, rgb8_to_planes};
use alias_oracle::devices;
use alias_oracle::golden::{self, Golden};
use alias_plan::philox;
use alias_tensor::{Device, Gradients, Tensor};
use alias_train::{Gan, MultiscaleDiscriminator};
use std::collections::BTreeMap;

/// Classes of the segmentation generator.
const CLASSES: usize = 13;
/// Random stream of the noise in the segmentation generator's input.
const NOISE_STREAM: u32 = 24;
/// The noise is 1 where a uniform number is below this.
const NOISE_SHARE: f64 = 2_669_761.0 / 16_777_216.0;
/// Weight of the cross entropy in the segmentation generator's loss.
const CROSS_ENTROPY: f32 = 10.0;
/// Weight of the second-order constraint in the matching module's loss.
const CONSTRAINT: f32 = 0.04;

type Tensors = BTreeMap<String, Tensor>;

/// Errors if a case has other settings than `known`, or other losses than `losses`.
fn check_settings(case: &Golden, known: &[&str], losses: &[&str]) {
    let stored = case.meta["config"].as_object().unwrap();
    for key in stored.keys() {
        assert!(known.contains(&key.as_str()), "{}: the tests do not know the setting '{key}'", case.name);
    }
    assert_eq!(stored["loss_columns"], serde_json::json!(losses), "{}", case.name);
}

fn setting(case: &Golden, key: &str) -> usize {
    case.meta["config"][key].as_u64().unwrap() as usize
}

/// The state dict on the device, with the learned parameters as leaves of the tape.
fn leaves(device: &Device, network: &Network, checkpoint: &Checkpoint) -> Tensors {
    let used = network.parameters().into_iter().filter(|parameter| parameter.kind != ParameterKind::BatchCount);
    used.map(|parameter| {
        let values = checkpoint.get(&parameter.key).unwrap().to_f32().unwrap();
        let tensor = tensor(device, &parameter.shape, &values);
        (parameter.key, if parameter.kind.is_learned() { tensor.requires_grad() } else { tensor })
    })
    .collect()
}

fn tensor(device: &Device, shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::new(device, shape, values).unwrap()
}

fn stored(device: &Device, case: &Golden, name: &str) -> Tensor {
    let stored = case.tensor(name);
    tensor(device, &stored.shape, &stored.data)
}

fn gradients(loss: &Tensor) -> Gradients {
    loss.clone().backward(&tensor(loss.device(), &[], &[1.0])).unwrap()
}

/// Adds the gradients of a network's parameters to the results, as `grad.NETWORK.KEY`.
fn collect(got: &mut BTreeMap<String, Vec<f32>>, network: &str, leaves: &Tensors, gradients: &Gradients) {
    for (key, leaf) in leaves {
        if let Some(gradient) = gradients.get(leaf) {
            got.insert(format!("grad.{network}.{key}"), gradient.to_vec().unwrap());
        }
    }
}

/// The power iteration that PyTorch takes before each forward pass in training.
fn iterate(network: &Network, state: &mut Tensors) {
    for parameter in network.parameters() {
        if let ParameterKind::Weight { spectral: Some([u, v]), .. } = parameter.kind {
            let norm = power_iteration(&state[&parameter.key], &state[&u], &state[&v]).unwrap();
            state.extend([(u, norm.u().clone()), (v, norm.v().clone())]);
        }
    }
}

fn values(losses: &[&Tensor]) -> Vec<f32> {
    losses.iter().map(|loss| loss.to_vec().unwrap()[0]).collect()
}

/// (N, H, W, 3) bytes as one (3, H, W) in [-1, 1] for each image.
fn planes(case: &Golden, name: &str) -> Vec<Vec<f32>> {
    let n = case.tensor(name).shape[0];
    let bytes = bytes(case, name);
    bytes.chunks_exact(bytes.len() / n).map(rgb8_to_planes).collect()
}

fn one_hot(classes: &[u8]) -> Vec<f32> {
    let of_class = |class: usize| classes.iter().map(move |&c| f32::from(u8::from(usize::from(c) == class)));
    (0..CLASSES).flat_map(of_class).collect()
}

/// The segmentation generator's input from pictures of its own size: the garment's mask 1, the garment on gray 3, the person's
/// classes 13, the pose 3, noise 1.
fn segmentation_input(case: &Golden, [h, w]: [usize; 2]) -> Vec<f32> {
    let (labels, masks) = (bytes(case, "parse_agnostic"), &case.tensor("cloth_mask").data);
    let (cloths, poses) = (planes(case, "cloth"), planes(case, "skeleton"));
    let noise = philox::uniform(case.integer("noise_seed"), NOISE_STREAM).map(|u| f32::from(u8::from(u < NOISE_SHARE)));
    let noise: Vec<f32> = noise.take(cloths.len() * h * w).collect();
    let image = |n: usize| {
        let of_image = n * h * w..(n + 1) * h * w;
        let mask = &masks[of_image.clone()];
        let masked: Vec<f32> = cloths[n].iter().zip(mask.iter().cycle()).map(|(cloth, mask)| cloth * mask).collect();
        let classes: Vec<u8> = labels[of_image.clone()].iter().map(|&label| LIP_TO_13[usize::from(label)]).collect();
        [mask, &masked, &one_hot(&classes), &poses[n], &noise[of_image]].concat()
    };
    (0..cloths.len()).flat_map(image).collect()
}

/// The discriminator's gradients by its loss on generated and true segmentations, then the generator's by the loss on its
/// segmentation. Both networks have their first weights throughout.
fn segmentation_step(case: &Golden, device: &Device) -> BTreeMap<String, Vec<f32>> {
    let known = ["n", "low", "ngf", "ndf", "n_layers", "last_stride", "loss_columns"];
    check_settings(case, &known, &["discriminator", "gan", "cross_entropy", "generator"]);
    let (n, low @ [h, w], seed) = (setting(case, "n"), size(case, "low"), case.integer("weights_seed"));
    let network = SegmentationConfig { ngf: ngf(case) }.network().unwrap();
    let config = DiscriminatorConfig {
        inputs: [21, CLASSES],
        layers: setting(case, "n_layers"),
        ndf: setting(case, "ndf"),
        last_stride: setting(case, "last_stride"),
        ..DiscriminatorConfig::SPADE
    };
    let judging = config.network().unwrap();
    let (generator, mut judge) =
        (leaves(device, &network, &weights(&network, seed)), leaves(device, &judging, &fill(&judging, seed + 1)));
    let x = tensor(device, &[n, 21, h, w], &segmentation_input(case, low));
    let truth = bytes(case, "truth");
    let real: Vec<f32> = truth.chunks_exact(h * w).flat_map(one_hot).collect();
    let real = tensor(device, &[n, CLASSES, h, w], &real);
    let classes: Vec<u32> = truth.iter().map(|&class| class.into()).collect();
    let classes = PixelClasses::new(device, [n, h, w], &classes, CLASSES).unwrap();

    let module = Module::from_state(network, |key, _| Ok(generator[key].clone())).unwrap().in_training(false);
    let dropout = Noise::Seed(case.integer("drop_seed"));
    let fake = module.forward(&[Feed::Tensor(x.clone())], dropout).unwrap().remove(0);

    let mut got = BTreeMap::from([("fake".to_owned(), fake.to_vec().unwrap())]);
    iterate(&judging, &mut judge);
    let assembled = MultiscaleDiscriminator::from_state(config, |key, _| Ok(judge[key].clone())).unwrap();
    let twice = |a: &Tensor, b: &Tensor| {
        let [n, c, h, w] = a.shape().nchw("test", "a").unwrap();
        let both = Tensor::gather(device, 2 * a.numel(), &[(0, a), (a.numel(), b)]).unwrap();
        both.reshape(&[2 * n, c, h, w]).unwrap()
    };
    let judged = assembled.forward(&twice(&x, &x), &twice(&fake.detach(), &real)).unwrap();
    let of_discriminator = Gan::LeastSquares.discriminator_loss(&judged).unwrap();
    collect(&mut got, "discriminator", &judge, &gradients(&of_discriminator));

    iterate(&judging, &mut judge);
    let frozen = MultiscaleDiscriminator::from_state(config, |key, _| Ok(judge[key].detach())).unwrap();
    let gan = Gan::LeastSquares.generator_loss(&frozen.forward(&x, &fake).unwrap()).unwrap();
    let entropy = cross_entropy(&fake, &classes).unwrap();
    let of_generator = add(&gan, &scale(&entropy, CROSS_ENTROPY).unwrap()).unwrap();
    collect(&mut got, "generator", &generator, &gradients(&of_generator));
    got.insert("losses".into(), values(&[&of_discriminator, &gan, &entropy, &of_generator]));
    got
}

/// The matching module's gradients by the distance of the warped garment from the worn one, and its running statistics after
/// the forward pass.
fn matching_step(case: &Golden, device: &Device) -> BTreeMap<String, Vec<f32>> {
    check_settings(case, &["n", "low", "ngf", "loss_columns"], &["total", "l1", "bending"]);
    let (n, low @ [h, w]) = (setting(case, "n"), size(case, "low"));
    let network = MatchingConfig::of_size(ngf(case), low).network().unwrap();
    let mut checkpoint = weights(&network, case.integer("weights_seed"));
    let key = "regression.linear.weight";
    let linear = checkpoint.get(key).unwrap();
    let quarter: Vec<f32> = linear.to_f32().unwrap().iter().map(|v| 0.25 * v).collect();
    let quarter = Array::from_f32(linear.shape(), &quarter);
    checkpoint.insert(key, quarter);
    let state = leaves(device, &network, &checkpoint);

    let worn = &case.tensor("worn").data;
    let pictures = planes(case, "skeleton").into_iter().zip(planes(case, "agnostic"));
    let person = worn.chunks_exact(h * w).zip(pictures);
    let person: Vec<f32> = person.flat_map(|(worn, (pose, agnostic))| [worn, &pose, &agnostic].concat()).collect();
    let (person, cloth, target) =
        (tensor(device, &[n, 7, h, w], &person), stored(device, case, "cloth"), stored(device, case, "target"));
    let module = Module::from_state(network, |key, _| Ok(state[key].clone())).unwrap().in_training(false);
    let outputs = module.forward(&[person, cloth.clone()].map(Feed::Tensor), Noise::None).unwrap();
    let at = module.network().outputs().iter().position(|output| output.name == "theta").unwrap();
    let theta = &outputs[at];
    let warped = grid_sample(&cloth, &tps_grid(theta, h, w).unwrap()).unwrap();
    let (distance, bending) = (l1(&warped, &target).unwrap(), second_order_constraint(theta).unwrap());
    let total = add(&distance, &scale(&bending, CONSTRAINT).unwrap()).unwrap();

    let mut got = BTreeMap::from([("theta".to_owned(), theta.to_vec().unwrap())]);
    collect(&mut got, "gmm", &state, &gradients(&total));
    for (key, statistic) in module.moved_state() {
        got.insert(format!("after.gmm.{key}"), statistic.to_vec().unwrap());
    }
    got.insert("losses".into(), values(&[&total, &distance, &bending]));
    got
}

#[test]
fn a_step_of_the_segmentation_generator_is_as_close_to_float64_as_pytorch() {
    let inputs = ["parse_agnostic", "skeleton", "cloth", "cloth_mask", "truth"];
    let cases = golden::cases("pipeline_seg_training");
    for device in devices() {
        let compare = |case| compare_training(case, &inputs, &segmentation_step(case, &device));
        finish(cases.iter().flat_map(compare).collect());
    }
}

#[test]
fn a_step_of_the_matching_module_is_as_close_to_float64_as_pytorch() {
    let inputs = ["agnostic", "skeleton", "worn", "cloth", "target"];
    let cases = golden::cases("pipeline_gmm_training");
    for device in devices() {
        let compare = |case| compare_training(case, &inputs, &matching_step(case, &device));
        finish(cases.iter().flat_map(compare).collect());
    }
}
