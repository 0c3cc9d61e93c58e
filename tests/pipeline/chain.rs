//! All stages in a row, from a person's and a garment's pictures to the person in that garment.

use crate::{bytes, compare, executors, finish, matching, name, ngf, size, weights};
use alias_kernels::{bilinear_resize, gaussian_blur};
use alias_model::{
    Checkpoints, Device, GarmentPictures, GeneratorConfig, LoadOptions, Matcher, MatchingConfig, Noise, Seeds,
    SegmentationConfig, Segmenter, TryOn, WearerPictures, fill, misaligned,
};
use alias_oracle::golden::{self, Golden};
use alias_plan::Smoothing;
use alias_tensor::Tensor;

const INPUTS: [&str; 6] = ["agnostic", "parse_agnostic", "skeleton", "cloth", "cloth_mask", "scores_given"];

/// The configuration of a case's image generator.
fn generator(case: &Golden) -> GeneratorConfig {
    let stored = &case.meta["config"]["alias"];
    let layers = stored.get("layers").map_or("most", |layers| layers.as_str().unwrap());
    let ngf = stored["ngf"].as_u64().unwrap() as usize;
    GeneratorConfig { layers: layers.parse().unwrap(), ..GeneratorConfig::PUBLISHED.with_ngf(ngf) }
}

/// The scores (N, 13, h, w) enlarged to `size` and blurred.
fn smooth(device: &Device, scores: &[f32], shape: [usize; 4], size @ [height, width]: [usize; 2]) -> Vec<f32> {
    match device {
        Device::Cores(cores) => alias_cpu::smooth_scores(cores.cpu(), scores, shape, size),
        Device::Gpu(gpu) => {
            let large = bilinear_resize(&Tensor::new(gpu, &shape, scores).unwrap(), height, width).unwrap();
            gaussian_blur(&large, Smoothing::TAPS, Smoothing::SIGMA).unwrap().to_vec().unwrap()
        }
    }
}

#[test]
fn the_whole_chain_is_as_close_to_float64_as_pytorch() {
    let mut failures = Vec::new();
    for case in golden::cases("pipeline_chain") {
        let (fine @ [height, width], low) = (size(&case, "fine"), size(&case, "low"));
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
        for executor in executors() {
            let (device, target) = executor.clone();
            let try_on = TryOn::load_with(&device, &checkpoints, LoadOptions::default(), target).unwrap();
            assert_eq!(try_on.low_size(height, width).unwrap(), low, "{}", case.name);
            let (wearer, garment) = (try_on.wearer(&wearer).unwrap(), try_on.garment(&garment).unwrap());
            let worn = match case.tensors.get("scores_given") {
                Some(scores) => try_on.draw_scored(&wearer, &garment, scores.data.clone(), seeds.image),
                None => try_on.draw(&wearer, &garment, seeds),
            };
            let worn = worn.unwrap();
            let seg_input = Segmenter::input(&wearer, &garment, seeds.segmentation).unwrap();
            let [gmm_person, gmm_cloth] = Matcher::inputs(&wearer, &garment, &worn.sample.labels).unwrap();
            let smooth = smooth(&device, &worn.scores, [batch, 13, low[0], low[1]], fine);
            let grid = matching::grid(&device, &worn.theta, fine);
            let misaligned: Vec<f32> = (0..worn.parsed.len()).map(|at| misaligned(&worn.sample, at)).collect();
            let [labels13, labels] = [&worn.parsed, &worn.sample.labels]
                .map(|labels| labels.iter().map(|&v| v.into()).collect::<Vec<f32>>());
            let results: [(&str, &[f32]); 13] = [
                ("seg_input", &seg_input),
                ("scores", &worn.scores),
                ("smooth", &smooth),
                ("labels13", &labels13),
                ("labels", &labels),
                ("gmm_person", &gmm_person),
                ("gmm_cloth", &gmm_cloth),
                ("theta", &worn.theta),
                ("grid", &grid),
                ("warped_cloth", &worn.sample.warped_cloth),
                ("warped_mask", &worn.sample.warped_mask),
                ("misalign", &misaligned),
                ("image", &worn.image),
            ];
            failures.extend(compare(&case, &name(&executor), &INPUTS, &results));
        }
    }
    finish(failures);
}
