//! The generator against PyTorch: every golden case, whatever its size, width, batch or configuration.

mod support;

use alias_model::{Generator, GeneratorConfig, Inputs, Layers, LoadOptions, Noise, Sample, SpadeMethod, fill};
use alias_oracle::golden::{self, Golden};
use alias_oracle::{Random, device, devices, own_devices, relative_l2};
use alias_tensor::{Device, Tensor};
use std::collections::BTreeMap;
use support::{BAR, config, sample};

/// The inputs in a case; all its other tensors are results to compare.
const INPUTS: [&str; 5] = ["agnostic", "pose", "warped_cloth", "warped_mask", "labels"];

/// The generator of a case, loaded like any checkpoint.
fn generator(case: &Golden, device: &Device) -> Generator {
    let config = config(case);
    let checkpoint = fill(&config.network().unwrap(), case.integer("weights_seed"));
    let generator =
        Generator::load_with(device, &checkpoint, LoadOptions { plain: config.plain, strict: true }).unwrap();
    assert_eq!(generator.config(), config, "{}: read from the weights", case.name);
    generator
}

#[test]
fn every_golden_tensor_is_as_close_to_float64_as_pytorch() {
    let (cases, mut failures) = (golden::cases("generator"), Vec::new());
    for (case, device) in cases.iter().flat_map(|case| devices().into_iter().map(move |device| (case, device))) {
        let generator = generator(case, &device);
        let inputs = Inputs::new(&device, &sample(case)).unwrap();
        let mut got = BTreeMap::new();
        let mut tap = |stage: &str, y: &Tensor| {
            got.insert(format!("stage.{stage}"), y.clone());
        };
        let image = generator.forward_with(&inputs, Noise::None, SpadeMethod::Table, &mut tap).unwrap();
        got.insert("image".into(), image);
        let noise = Noise::Seed(case.integer("noise_seed"));
        got.insert("image_with_noise".into(), generator.forward(&inputs, noise).unwrap());

        let errors = case.meta["torch_float32_error"].as_object().unwrap();
        let results: Vec<_> = case.tensors.iter().filter(|(name, _)| !INPUTS.contains(&name.as_str())).collect();
        assert!(["image", "image_with_noise"].iter().all(|name| case.tensors.contains_key(*name)), "{}", case.name);
        for (name, expected) in results {
            let error = errors.get(name).and_then(|e| e.as_f64()).unwrap_or(f64::NAN);
            assert!(error > 0.0 && error < 1e-3, "{}: PyTorch's error of {name} is {error}", case.name);
            let got = got.get(name).unwrap_or_else(|| panic!("{}: nothing computes {name}", case.name));
            assert_eq!(*got.shape(), *expected.shape, "{}: shape of {name}", case.name);
            let want: Vec<f64> = expected.data.iter().map(|&v| v.into()).collect();
            let ratio = relative_l2(&got.to_vec().unwrap(), &want) / error;
            println!("{} {name} on {device:?}: {ratio:.2} times PyTorch's error", case.name);
            // NaN has to fail.
            if ratio.is_nan() || ratio > BAR {
                failures.push(format!("{} {name} on {device:?}: {ratio:.2} times PyTorch's float32 error", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "past {BAR} times PyTorch's float32 error:\n{}", failures.join("\n"));
}

/// A small case for the tests that need one.
fn small() -> (Golden, Generator, Inputs) {
    let case = golden::own("more_128x192");
    let (generator, inputs) = (generator(&case, &device()), Inputs::new(device(), &sample(&case)).unwrap());
    (case, generator, inputs)
}

#[test]
fn the_same_image_twice_is_bit_equal() {
    let (case, generator, _) = small();
    let sample = sample(&case);
    let draw = || {
        let inputs = Inputs::new(device(), &sample).unwrap();
        generator.forward(&inputs, Noise::Seed(5)).unwrap().to_vec().unwrap()
    };
    let first = draw();
    for _ in 0..3 {
        assert!(draw() == first, "the image changed");
    }
}

#[test]
fn fifty_images_take_the_memory_of_one() {
    own_devices().iter().for_each(fifty_images);
}

fn fifty_images(own: &Device) {
    let narrow = GeneratorConfig { ngf: 1, layers: Layers::More, ..GeneratorConfig::PUBLISHED };
    let checkpoint = fill(&narrow.network().unwrap(), 3);
    let generator = Generator::load(own, &checkpoint).unwrap();
    let small = Sample { height: 64, width: 64, ..blank(64 * 64) };
    let draw = || generator.forward(&Inputs::new(own, &small).unwrap(), Noise::None).unwrap().to_vec().unwrap();
    draw();
    draw();
    let warm = own.counters();
    for _ in 0..50 {
        draw();
    }
    let after = own.counters();
    assert_eq!(
        (after.allocations, after.buffers, after.device_bytes, after.live_bytes),
        (warm.allocations, warm.buffers, warm.device_bytes, warm.live_bytes)
    );
}

/// A gray sample of one class, one row of `pixels` pixels.
fn blank(pixels: usize) -> Sample {
    Sample {
        batch: 1,
        height: 1,
        width: pixels,
        agnostic: vec![0.1; 3 * pixels],
        pose: vec![-0.2; 3 * pixels],
        warped_cloth: vec![0.3; 3 * pixels],
        warped_mask: vec![0.0; pixels],
        labels: vec![2; pixels],
    }
}

/// The gradient with respect to the inputs, through every operation of the network, predicts how a step along it
/// changes the loss.
#[test]
fn the_gradient_predicts_a_step() {
    let (_, generator, inputs) = small();
    let x = inputs.x().requires_grad();
    let noise = Noise::Seed(3);
    let image = generator.forward(&inputs.with_x(x.clone()), noise).unwrap();
    let cotangent: Vec<f32> = {
        let mut random = Random::new(9);
        random.array(&image.shape()).to_f32()
    };
    let cotangent_tensor = Tensor::new(device(), &image.shape(), &cotangent).unwrap();
    let gradient = image.backward(&cotangent_tensor).unwrap().get(&x).unwrap().to_vec().unwrap();
    let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();

    // A short step along the gradient: the loss grows by the step's length times the gradient's norm.
    let x = x.to_vec().unwrap();
    let loss = |step: f64| -> f64 {
        let moved: Vec<_> =
            x.iter().zip(&gradient).map(|(&x, &g)| (f64::from(x) + step * f64::from(g) / norm) as f32).collect();
        let x = Tensor::new(device(), &inputs.x().shape(), &moved).unwrap();
        let image = generator.forward(&inputs.with_x(x), noise).unwrap().to_vec().unwrap();
        image.iter().zip(&cotangent).map(|(&y, &c)| f64::from(y) * f64::from(c)).sum()
    };
    let step = 1e-2;
    let slope = (loss(step) - loss(-step)) / (2.0 * step);
    assert!((slope / norm - 1.0).abs() < 1e-2, "slope {slope}, gradient {norm}");
}

/// By one method of modulation: the image, its gradients with respect to some weights and the inputs, and the
/// operations of the forward pass.
fn with_modulation(sample: &Sample, config: GeneratorConfig, modulation: SpadeMethod) -> (Vec<Vec<f32>>, u64) {
    let own = own_devices().pop().expect("there is a device");
    let checkpoint = fill(&config.network().unwrap(), 4);
    let mut leaves = Vec::new();
    let generator = Generator::from_state(config, |key, shape| {
        let tensor = Tensor::new(&own, shape, &checkpoint.get(key).unwrap().to_f32()?)?;
        // The convolutions that compute scale and shift of one norm near each end of the network.
        let watched = key.starts_with("up_0.norm_0.conv_") || key.starts_with("up_3.norm_1.conv_");
        let tensor = if watched { tensor.requires_grad() } else { tensor };
        leaves.extend(watched.then(|| tensor.clone()));
        Ok(tensor)
    });
    let inputs = Inputs::new(&own, sample).unwrap();
    leaves.push(inputs.x().requires_grad());
    let before = own.counters().flops;
    let inputs = inputs.with_x(leaves[leaves.len() - 1].clone());
    let image = generator.unwrap().forward_with(&inputs, Noise::Seed(2), modulation, |_, _| {}).unwrap();
    let flops = own.counters().flops - before;
    let cotangent = Random::new(8).array(&image.shape()).to_f32();
    let gradients = image.clone().backward(&Tensor::new(&own, &image.shape(), &cotangent).unwrap()).unwrap();
    let mut results = vec![image.to_vec().unwrap()];
    results.extend(leaves.iter().map(|leaf| gradients.get(leaf).unwrap().to_vec().unwrap()));
    (results, flops)
}

/// Modulation by table gives the image and the gradients of dense modulation, up to rounding, with less than half the
/// operations.
#[test]
fn modulation_by_table_is_the_dense_one() {
    let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(2) };
    let sample = sample(&golden::own("more_128x192"));
    let (table, table_flops) = with_modulation(&sample, config, SpadeMethod::Table);
    let (dense, dense_flops) = with_modulation(&sample, config, SpadeMethod::Dense);
    assert!(2 * table_flops < dense_flops, "{table_flops} operations by table, {dense_flops} dense");
    assert_eq!(table.len(), 14);
    for (k, (table, dense)) in table.iter().zip(&dense).enumerate() {
        let dense: Vec<f64> = dense.iter().map(|&v| v.into()).collect();
        let distance = relative_l2(table, &dense);
        assert!(distance <= 2e-5 && distance > 0.0, "result {k}: {distance:.1e}");
    }
}

/// Where hardly two windows are alike a table saves nothing, so none is used: the results are equal bit for bit.
#[test]
fn a_map_of_noise_falls_back_to_dense() {
    let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(1) };
    let mut random = Random::new(6);
    let labels = (0..64 * 64).map(|_| (random.bits() % 7) as u8).collect();
    let sample = Sample { height: 64, width: 64, labels, ..blank(64 * 64) };
    assert!(
        with_modulation(&sample, config, SpadeMethod::Table) == with_modulation(&sample, config, SpadeMethod::Dense)
    );
}

#[test]
fn weights_that_are_tracked_get_gradients() {
    let case = golden::own("more_128x192");
    let config = config(&case);
    let checkpoint = fill(&config.network().unwrap(), 1);
    let mut leaves = BTreeMap::new();
    let generator = Generator::from_state(config, |key, shape| {
        let tensor = Tensor::new(device(), shape, &checkpoint.get(key).unwrap().to_f32()?)?;
        let buffer = [".weight_u", ".weight_v"].iter().any(|suffix| key.ends_with(suffix));
        let tensor = if buffer { tensor } else { tensor.requires_grad() };
        leaves.insert(key.to_owned(), (tensor.clone(), buffer));
        Ok(tensor)
    })
    .unwrap();
    let inputs = Inputs::new(device(), &sample(&case)).unwrap();
    let image = generator.forward(&inputs, Noise::Seed(1)).unwrap();
    let cotangent = Random::new(2).array(&image.shape()).to_f32();
    let gradients = image.clone().backward(&Tensor::new(device(), &image.shape(), &cotangent).unwrap()).unwrap();
    for (key, (tensor, buffer)) in leaves {
        let gradient = gradients.get(&tensor).map(|g| g.to_vec().unwrap());
        assert_eq!(gradient.is_none(), buffer, "{key}");
        let finite = gradient.iter().flatten().all(|g| g.is_finite());
        assert!(finite && gradient.iter().all(|g| g.iter().any(|&g| g != 0.0)), "{key}");
    }
}

/// Why SPADE modulates (Park et al. 2019, section 3): normalization washes a uniform label map out of an activation,
/// but not out of a scale and shift.
#[test]
fn a_uniform_label_map_survives_spade_and_is_lost_by_normalization() {
    use alias_kernels::{conv2d, instance_norm, modulate};
    let tensor = |shape: &[usize], values: &[f32]| Tensor::new(device(), shape, values).unwrap();
    let mut random = Random::new(4);
    let weights = random.array(&[4, 2, 1, 1]).to_f32();
    let x = random.array(&[1, 4, 6, 5]).to_f32();
    let uniform = |class: usize| {
        let mut labels = vec![0.0; 2 * 30];
        labels[class * 30..][..30].fill(1.0);
        tensor(&[1, 2, 6, 5], &labels)
    };
    let weight = tensor(&[4, 2, 1, 1], &weights);
    let lost = |class| {
        let y = conv2d(&uniform(class), &weight, None, 1, 0).unwrap();
        instance_norm(&y, 1e-5).unwrap().to_vec().unwrap()
    };
    assert!(lost(0).iter().chain(&lost(1)).all(|y| y.abs() < 1e-3), "either label is normalized to nothing");
    let kept = |class| {
        let gamma = conv2d(&uniform(class), &weight, None, 1, 0).unwrap();
        let x = instance_norm(&tensor(&[1, 4, 6, 5], &x), 1e-5).unwrap();
        modulate(&x, &gamma, &gamma, 1.0).unwrap().to_vec().unwrap()
    };
    let distance: f32 = kept(0).iter().zip(&kept(1)).map(|(a, b)| (a - b).abs()).sum();
    assert!(distance > 1.0, "{distance}");
}

#[test]
fn inputs_that_do_not_fit_are_errors_that_name_them() {
    let (_, generator, _) = small();
    let refused = |sample: Sample| Inputs::new(device(), &sample).unwrap_err().to_string();
    let pixels = 64 * 64;
    let good = || Sample { height: 64, width: 64, ..blank(pixels) };
    assert!(refused(Sample { labels: vec![7; pixels], ..good() }).contains("labels holds 7 at element 0"));
    assert!(refused(Sample { pose: vec![f32::NAN; 3 * pixels], ..good() }).contains("pose holds NaN"));
    assert!(refused(Sample { warped_mask: vec![255.0; pixels], ..good() }).contains("warped_mask holds 255"));
    assert!(refused(Sample { agnostic: vec![0.0; 5], ..good() }).contains("agnostic has 5 elements, not the 12288"));
    let odd = Sample { height: 100, width: 64, ..blank(6400) };
    let error = generator.forward(&Inputs::new(device(), &odd).unwrap(), Noise::None).unwrap_err().to_string();
    assert!(error.contains("the image is 100x64") && error.contains("multiples of 64"), "{error}");
}

#[test]
fn configurations_that_do_not_exist_are_refused_with_the_reason() {
    let error = "normal".parse::<Layers>().unwrap_err().to_string();
    assert!(error.contains("does not run in the authors' code"), "{error}");
    let error = GeneratorConfig::PUBLISHED.with_ngf(1).network().unwrap_err().to_string();
    assert_eq!(error, "ngf is 1; with layers 'most' it must be 2 to 4096");
}
