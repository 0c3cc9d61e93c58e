//! The geometric matching module, by plans on a GPU and on cores and on the tape, and warps by its splines.

use crate::{compare, compare_half, executors, executors_in_half_precision, finish, name, ngf, size, weights};
use alias_kernels::{grid_sample, thin_plate_warp, tps_grid};
use alias_model::{Conditioning, Device, Feed, MatchingConfig, Module, Noise, PlanOptions, Session};
use alias_oracle::golden::Golden;
use alias_oracle::{devices, golden};
use alias_tensor::Tensor;

const INPUTS: [&str; 4] = ["person", "cloth", "picture", "picture_mask"];

/// The splines of `theta` on the pixels of a picture of `size`: (N, h, w, 2).
pub(crate) fn grid(device: &Device, theta: &[f32], [h, w]: [usize; 2]) -> Vec<f32> {
    let n = theta.len() / 50;
    tps_grid(&on(device, &[n, 50, 1, 1], theta), h, w).unwrap().to_vec().unwrap()
}

fn on(device: &Device, shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::new(device, shape, values).unwrap()
}

/// Pictures (N, C, H, W) warped to `size`, by each way that the device has.
fn warps(
    device: &Device,
    theta: &[f32],
    pictures: &[f32],
    shape: [usize; 4],
    size @ [h, w]: [usize; 2],
) -> Vec<(&'static str, Vec<f32>)> {
    let tensors = (on(device, &shape, pictures), on(device, &[shape[0], 50, 1, 1], theta));
    let by_grid = grid_sample(&tensors.0, &tps_grid(&tensors.1, h, w).unwrap()).unwrap();
    let in_one = thin_plate_warp(&tensors.0, &tensors.1, h, w).unwrap();
    let mut warps = vec![("by the grid", by_grid.to_vec().unwrap()), ("one pass", in_one.to_vec().unwrap())];
    if let Device::Cores(cores) = device {
        warps.push(("one pass of plans", alias_cpu::thin_plate_warp(cores.cpu(), theta, pictures, shape, size)));
    }
    warps
}

/// A case's picture and its mask in one tensor, and its shape.
fn picture_and_mask(case: &Golden) -> (Vec<f32>, [usize; 4]) {
    let (picture, mask) = (case.tensor("picture"), case.tensor("picture_mask"));
    let ([height, width], n) = (size(case, "picture"), picture.shape[0]);
    let images = picture.data.chunks_exact(3 * height * width).zip(mask.data.chunks_exact(height * width));
    (images.flat_map(|(picture, mask)| [picture, mask].concat()).collect(), [n, 4, height, width])
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
        let (grid_size, (pictures, shape)) = (size(&case, "grid_size"), picture_and_mask(&case));
        let mut check = |by: &str, device: &Device, outputs: &[Vec<f32>]| {
            let of_network =
                network.outputs().iter().zip(outputs).map(|(o, values)| (o.name.as_str(), values.as_slice()));
            let mut results: Vec<(&str, &[f32])> = of_network.collect();
            let (_, theta) = *results.iter().find(|(name, _)| *name == "theta").unwrap();
            let grid = grid(device, theta, grid_size);
            results.push(("grid", &grid));
            for (way, both) in warps(device, theta, &pictures, shape, grid_size) {
                let plane = grid_size[0] * grid_size[1];
                let (warped, mask): (Vec<_>, Vec<_>) =
                    both.chunks_exact(4 * plane).map(|image| image.split_at(3 * plane)).unzip();
                let (warped, mask) = (warped.concat(), mask.concat());
                let results = [&results[..], &[("warped", &warped), ("warped_mask", &mask)]].concat();
                failures.extend(compare(&case, &format!("{by}, {way}"), &INPUTS, &results));
            }
        };
        for executor in executors() {
            let (device, target) = executor.clone();
            let session = Session::load_with(device, &network, &checkpoint, target).unwrap();
            let size = Conditioning::size(n, low[0], low[1]);
            let prepared = session.plan_and_prepare(&size, PlanOptions::default()).unwrap();
            let inputs: [(&str, &[f32]); 2] = [("person", &person.data), ("cloth", &cloth.data)];
            check(&name(&executor), &executor.0, &prepared.run(&inputs, Noise::None).unwrap());
        }
        for device in devices() {
            let module = Module::load(&device, &network, &checkpoint).unwrap();
            let feeds = [person, cloth].map(|x| Feed::Tensor(on(&device, &x.shape, &x.data)));
            let outputs = module.forward(&feeds, Noise::None).unwrap();
            let outputs: Vec<_> = outputs.iter().map(|output| output.to_vec().unwrap()).collect();
            check(&format!("tape on {device:?}"), &device, &outputs);
        }
    }
    finish(failures);
}

#[test]
fn half_precision_keeps_its_bar() {
    for case in golden::cases("pipeline_gmm") {
        let (low, person, cloth) = (size(&case, "low"), case.tensor("person"), case.tensor("cloth"));
        let network = MatchingConfig::of_size(ngf(&case), low).network().unwrap();
        let checkpoint = weights(&network, case.integer("weights_seed"));
        for executor in executors_in_half_precision() {
            let (device, target) = executor.clone();
            let session = Session::load_with(device, &network, &checkpoint, target).unwrap();
            let size = Conditioning::size(person.shape[0], low[0], low[1]);
            let prepared = session.plan_and_prepare(&size, PlanOptions::default()).unwrap();
            let outputs = prepared.run(&[("person", &person.data), ("cloth", &cloth.data)], Noise::None).unwrap();
            compare_half(&case, "theta", &name(&executor), outputs.last().unwrap(), 1e-3);
        }
    }
}
