//! The stages before the image generator against PyTorch: every `pipeline_*` golden case, whatever its sizes, widths and
//! batch.

mod agnostic;
#[path = "../support/mod.rs"]
mod support;

use alias_checkpoint::{Array, Checkpoint};
use alias_model::network::{Builder, Network, ParameterKind, Pool, Reading};
use alias_model::{
    Checkpoints, Conditioning, Cpu, CpuOptions, Device, Feed, GarmentPictures, GeneratorConfig, LoadOptions,
    MatchingConfig, Module, Noise, PlanOptions, Precision, Seeds, SegmentationConfig, Session, Target, TryOn, Tuning,
    WearerPictures, fill, misaligned,
};
use alias_oracle::golden::{self, Golden};
use alias_oracle::{gpu, relative_l2};
use alias_plan::{Method, philox};
use alias_tensor::Tensor;
use std::collections::BTreeMap;
use support::BAR;

/// Weights as the golden cases' writer draws them: as [`fill`] does, but for running statistics, which it draws as well,
/// and a wider bias of the scores.
fn weights(network: &Network, seed: u64) -> Checkpoint {
    let mut checkpoint = fill(network, seed);
    for (stream, parameter) in network.parameters().into_iter().enumerate() {
        let value = |z: f64| match parameter.kind {
            ParameterKind::RunningMean => Some(0.1 * z),
            ParameterKind::RunningVariance => Some(1.0 + 0.1 * z * z),
            ParameterKind::NormWeight => Some(1.0 + 0.1 * z),
            ParameterKind::Bias if parameter.key == "conv9.6.bias" => Some(0.5 * z),
            _ => None,
        };
        let count = parameter.shape.iter().product();
        let drawn: Option<Vec<f32>> =
            philox::normal(seed, stream as u32).take(count).map(|z| value(z).map(|v| v as f32)).collect();
        if let Some(values) = drawn {
            checkpoint.insert(parameter.key, Array::from_f32(&parameter.shape, &values));
        }
    }
    checkpoint
}

/// Everything that executes plans: the adapter at hand by the plans for each kind of GPU, and processor cores with each
/// instruction set that they have, and by each method.
fn executors() -> Vec<(Device, Target)> {
    let on_gpu =
        |method| (Device::from(gpu()), Target { tuning: Tuning::Always(method), ..Target::of(gpu(), Precision::F32) });
    let cores = |instructions, tuning| {
        let options = CpuOptions { instructions, ..Default::default() };
        (Device::cores(options).unwrap(), Target { tuning, ..Target::CORES })
    };
    let mut all = [Method::Staged(0), Method::Fused, Method::Winograd(2)].map(on_gpu).to_vec();
    all.extend(Cpu::available().into_iter().map(|which| cores(Some(which), Tuning::Default)));
    all.extend([Method::Fused, Method::Winograd(2)].map(|method| cores(None, Tuning::Always(method))));
    all
}

fn name((device, target): &(Device, Target)) -> String {
    match device {
        Device::Gpu(_) => format!("GPU, {:?}", target.tuning),
        Device::Cpu(cpu) => format!("cores, {:?}, {:?}", cpu.instructions(), target.tuning),
    }
}

/// Compares results with a case's tensors of their names, and collects those past the bar.
struct Comparison<'a> {
    case: &'a Golden,
    failures: Vec<String>,
}

impl Comparison<'_> {
    fn check(&mut self, by: &str, tensor: &str, got: &[f32]) {
        let want: Vec<f64> = self.case.tensor(tensor).data.iter().map(|&v| v.into()).collect();
        assert_eq!(got.len(), want.len(), "{}: elements of {tensor}", self.case.name);
        let error = self.case.meta["torch_float32_error"][tensor].as_f64().unwrap_or(f64::NAN);
        assert!(error > 0.0 && error < 1e-3, "{}: PyTorch's error of {tensor} is {error}", self.case.name);
        let ratio = relative_l2(got, &want) / error;
        let line = format!("{} {tensor}, {by}: {ratio:.2}", self.case.name);
        println!("{line}");
        // NaN has to fail.
        if ratio.is_nan() || ratio > BAR {
            self.failures.push(line);
        }
    }
}

fn finish(failures: Vec<String>) {
    assert!(failures.is_empty(), "past {BAR} times PyTorch's float32 error:\n{}", failures.join("\n"));
}

/// The size [H, W] under `key` of a case's configuration.
fn size(case: &Golden, key: &str) -> [usize; 2] {
    let sides = case.meta["config"][key].as_array().unwrap();
    [0, 1].map(|side| sides[side].as_u64().unwrap() as usize)
}

fn ngf(case: &Golden) -> usize {
    case.meta["config"]["ngf"].as_u64().unwrap() as usize
}

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

#[test]
fn the_segmentation_generator_is_as_close_to_float64_as_pytorch() {
    let mut failures = Vec::new();
    for case in golden::cases("pipeline_seg") {
        let x = case.tensor("x");
        let [n, _, h, w] = x.shape[..] else { panic!("{}: shape of x", case.name) };
        let network = with_levels(SegmentationConfig { ngf: ngf(&case) }.network().unwrap());
        let checkpoint = weights(&network, case.integer("weights_seed"));
        assert_eq!(SegmentationConfig::infer(&checkpoint).unwrap(), SegmentationConfig { ngf: ngf(&case) });
        let mut comparison = Comparison { case: &case, failures: Vec::new() };
        let mut compare = |by: &str, outputs: Vec<Vec<f32>>| {
            for (output, values) in network.outputs().iter().zip(outputs) {
                if case.tensors.contains_key(&output.name) {
                    comparison.check(by, &output.name, &values);
                }
                // Before the sigmoid: where it does not saturate, the scores tell.
                if output.name == "scores" && case.tensors.contains_key("level.conv9") {
                    let logits = inverse_sigmoid(&values);
                    let distance = relative_l2(
                        &logits,
                        &case.tensor("level.conv9").data.iter().map(|&v| v.into()).collect::<Vec<_>>(),
                    );
                    assert!(distance < 1e-4, "{} level.conv9, {by}: {distance:.1e}", case.name);
                }
            }
        };
        for executor in executors() {
            let (device, target) = executor.clone();
            let session = Session::load_with(device, &network, &checkpoint, target).unwrap();
            let prepared = session.plan_and_prepare(&Conditioning::size(n, h, w), PlanOptions::default()).unwrap();
            compare(&name(&executor), prepared.run(&[("x", &x.data)], Noise::None).unwrap());
        }
        let module = Module::load(gpu(), &network, &checkpoint).unwrap();
        let feed = Feed::Tensor(Tensor::new(gpu(), &x.shape, &x.data).unwrap());
        let outputs = module.forward(&[feed], Noise::None).unwrap();
        compare("tape", outputs.iter().map(|output| output.to_vec().unwrap()).collect());
        failures.extend(comparison.failures);
    }
    finish(failures);
}

#[test]
fn the_matching_module_is_as_close_to_float64_as_pytorch() {
    let mut failures = Vec::new();
    for case in golden::cases("pipeline_gmm") {
        let low = size(&case, "low");
        let (person, cloth) = (case.tensor("person"), case.tensor("cloth"));
        let n = person.shape[0];
        let config = MatchingConfig::of_size(ngf(&case), low);
        let network = config.network().unwrap();
        let checkpoint = weights(&network, case.integer("weights_seed"));
        assert_eq!(MatchingConfig::infer(&checkpoint).unwrap(), config);
        let (picture, mask) = (case.tensor("picture"), case.tensor("picture_mask"));
        let (grid_size, [height, width]) = (size(&case, "grid_size"), size(&case, "picture"));
        let pixels = height * width;
        let both: Vec<f32> = (0..n)
            .flat_map(|image| {
                [&picture.data[3 * image * pixels..][..3 * pixels], &mask.data[image * pixels..][..pixels]]
            })
            .collect::<Vec<_>>()
            .concat();
        let mut comparison = Comparison { case: &case, failures: Vec::new() };
        let mut compare = |by: &str, outputs: Vec<Vec<f32>>| {
            for (output, values) in network.outputs().iter().zip(&outputs) {
                comparison.check(by, &output.name, values);
            }
            // Warps on cores, whichever device computed theta.
            let (cpu, theta) = (Cpu::open(CpuOptions::default()).unwrap(), &outputs[outputs.len() - 1]);
            comparison.check(by, "grid", &alias_cpu::thin_plate_grid(&cpu, theta, n, grid_size));
            let warped = alias_cpu::thin_plate_warp(&cpu, theta, &both, [n, 4, height, width], grid_size);
            let plane = grid_size[0] * grid_size[1];
            let part = |channels: std::ops::Range<usize>| {
                let of_image = |image: &[f32]| image[channels.start * plane..channels.end * plane].to_vec();
                warped.chunks_exact(4 * plane).flat_map(of_image).collect::<Vec<f32>>()
            };
            comparison.check(by, "warped", &part(0..3));
            comparison.check(by, "warped_mask", &part(3..4));
        };
        for executor in executors() {
            let (device, target) = executor.clone();
            let session = Session::load_with(device, &network, &checkpoint, target).unwrap();
            let size = Conditioning::size(n, low[0], low[1]);
            let prepared = session.plan_and_prepare(&size, PlanOptions::default()).unwrap();
            let inputs: [(&str, &[f32]); 2] = [("person", &person.data), ("cloth", &cloth.data)];
            compare(&name(&executor), prepared.run(&inputs, Noise::None).unwrap());
        }
        let module = Module::load(gpu(), &network, &checkpoint).unwrap();
        let feeds = [person, cloth].map(|x| Feed::Tensor(Tensor::new(gpu(), &x.shape, &x.data).unwrap()));
        let outputs: BTreeMap<_, _> = network
            .outputs()
            .iter()
            .zip(module.forward(&feeds, Noise::None).unwrap())
            .map(|(o, y)| (&o.name, y))
            .collect();
        compare("tape", network.outputs().iter().map(|output| outputs[&output.name].to_vec().unwrap()).collect());
        failures.extend(comparison.failures);
    }
    finish(failures);
}

/// The configuration of a case's image generator.
fn generator(case: &Golden) -> GeneratorConfig {
    let stored = &case.meta["config"]["alias"];
    let layers = stored.get("layers").map_or("most", |layers| layers.as_str().unwrap());
    let ngf = stored["ngf"].as_u64().unwrap() as usize;
    GeneratorConfig { layers: layers.parse().unwrap(), ..GeneratorConfig::PUBLISHED.with_ngf(ngf) }
}

/// A stored tensor of bytes.
fn bytes(case: &Golden, name: &str) -> Vec<u8> {
    case.tensor(name).data.iter().map(|&v| v as u8).collect()
}

#[test]
fn the_whole_chain_is_as_close_to_float64_as_pytorch() {
    let mut failures = Vec::new();
    for case in golden::cases("pipeline_chain") {
        let ([height, width], low) = (size(&case, "fine"), size(&case, "low"));
        let (batch, seed) = (case.tensor("agnostic").shape[0], case.integer("weights_seed"));
        let segmentation = SegmentationConfig { ngf: ngf(&case) }.network().unwrap();
        let matching = MatchingConfig::of_size(ngf(&case), low).network().unwrap();
        let image = generator(&case).network().unwrap();
        let (segmentation, matching) = (weights(&segmentation, seed), weights(&matching, seed + 1));
        let image = fill(&image, seed + 2);
        let checkpoints = Checkpoints { segmentation: &segmentation, matching: &matching, generator: &image };
        let noise = |key: &str| case.meta[key].as_u64().map_or(Noise::None, Noise::Seed);
        let seeds = Seeds { segmentation: noise("noise_seed"), image: noise("image_noise_seed") };
        let [agnostic, pose, labels, picture, mask] =
            ["agnostic", "skeleton", "parse_agnostic", "cloth", "cloth_mask"].map(|name| bytes(&case, name));
        let wearer = WearerPictures { batch, height, width, agnostic: &agnostic, pose: &pose, labels: &labels };
        let garment = GarmentPictures { batch, height, width, picture: &picture, mask: &mask };
        let mut comparison = Comparison { case: &case, failures: Vec::new() };
        for executor in executors() {
            let (device, target) = executor.clone();
            let try_on = TryOn::load_with(device, &checkpoints, LoadOptions::default(), target).unwrap();
            assert_eq!(try_on.low_size(height, width).unwrap(), low, "{}", case.name);
            let (wearer, garment) = (try_on.wearer(&wearer).unwrap(), try_on.garment(&garment).unwrap());
            let worn = match case.tensors.get("scores_given") {
                Some(scores) => try_on.draw_scored(&wearer, &garment, scores.data.clone(), seeds.image),
                None => try_on.draw(&wearer, &garment, seeds),
            };
            let worn = worn.unwrap();
            let by = name(&executor);
            assert!(worn.parsed == bytes(&case, "labels13"), "{}, {by}: the 13 classes", case.name);
            assert!(worn.sample.labels == bytes(&case, "labels"), "{}, {by}: the seven classes", case.name);
            let misaligned: Vec<f32> = (0..worn.parsed.len()).map(|at| misaligned(&worn.sample, at)).collect();
            let results: [(&str, &[f32]); 6] = [
                ("scores", &worn.scores),
                ("theta", &worn.theta),
                ("warped_cloth", &worn.sample.warped_cloth),
                ("warped_mask", &worn.sample.warped_mask),
                ("misalign", &misaligned),
                ("image", &worn.image),
            ];
            for (tensor, got) in results.into_iter().filter(|(tensor, _)| case.tensors.contains_key(*tensor)) {
                comparison.check(&by, tensor, got);
            }
        }
        failures.extend(comparison.failures);
    }
    finish(failures);
}
