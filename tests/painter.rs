//! The generator by plan against PyTorch, and against the generator on the tape.

mod support;

use alias_model::{
    Checkpoint, Conditioning, Cost, Cpu, CpuOptions, Device, Generator, GeneratorConfig, Inputs, Layers, LoadOptions,
    Noise, Painter, PlanOptions, Precision, Sample, SpadeMethod, Target, Tuning, fill,
};
use alias_oracle::golden::{self, Golden};
use alias_oracle::{device, gpu, gpu_if_any, gpu_with_bounds_checks, relative_l2};
use alias_plan::Method;
use alias_tensor::wgpu::{Features, Limits};
use alias_tensor::{Gpu, GpuOptions};
use support::{BAR, config, pair, sample};

/// The largest relative L2 error of an image in half precision.
const HALF_BAR: f64 = 5e-3;

fn painter(case: &Golden, (device, target): &(Device, Target)) -> Painter {
    let config = config(case);
    let checkpoint = fill(&config.network().unwrap(), case.integer("weights_seed"));
    Painter::load_with(device, &checkpoint, LoadOptions { plain: config.plain, strict: true }, target.clone()).unwrap()
}

/// Plans for a software rasterizer, and for GPUs with and without Winograd's algorithm, whatever runs the test.
fn targets(gpu: &Gpu) -> [Target; 3] {
    let by = |tuning| Target { tuning, ..Target::of(gpu, Precision::F32) };
    [Method::Staged(0), Method::Fused, Method::Winograd(2)].map(|method| by(Tuning::Always(method)))
}

/// Everything that executes plans: the adapter at hand by the plans for each kind of GPU; processor cores with each
/// instruction set that they have, and by each method.
fn executors() -> Vec<(Device, Target)> {
    let on_gpu = gpu_if_any().into_iter().flat_map(|gpu| targets(gpu).map(|target| (gpu.into(), target)));
    let cores = |instructions, tuning| {
        let options = CpuOptions { instructions, ..Default::default() };
        (Device::cores(options).unwrap(), Target { tuning, ..Target::CORES })
    };
    let every_instruction = Cpu::available().into_iter().map(|which| cores(Some(which), Tuning::Default));
    let methods = [Method::Fused, Method::Winograd(2)].map(|method| cores(None, Tuning::Always(method)));
    let on_cores = every_instruction.chain(methods).filter(|_| matches!(device(), Device::Cores(_)));
    on_gpu.chain(on_cores).collect()
}

/// An executor's name, for messages.
fn name((device, target): &(Device, Target)) -> String {
    match device {
        Device::Gpu(_) => format!("GPU, {:?}", target.tuning),
        Device::Cores(cores) => format!("cores, {:?}, {:?}", cores.cpu().instructions(), target.tuning),
    }
}

#[test]
fn every_golden_image_is_as_close_to_float64_as_pytorch() {
    let mut failures = Vec::new();
    for case in golden::cases("generator") {
        let sample = sample(&case);
        let seed = Noise::Seed(case.integer("noise_seed"));
        for executor in executors() {
            let painter = painter(&case, &executor);
            for (image, noise) in [("image", Noise::None), ("image_with_noise", seed)] {
                let got = painter.draw(&sample, noise).unwrap();
                let want: Vec<f64> = case.tensor(image).data.iter().map(|&v| v.into()).collect();
                let error = case.meta["torch_float32_error"][image].as_f64().unwrap();
                let ratio = relative_l2(&got, &want) / error;
                let which = format!("{} {image}, {}: {ratio:.2}", case.name, name(&executor));
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

/// The bar for half precision that the README states.
#[test]
fn half_precision_keeps_its_bar() {
    let gpu = match Gpu::open(&GpuOptions { features: Features::SHADER_F16, ..Default::default() }) {
        Ok(gpu) => gpu,
        Err(alias_tensor::Error::MissingFeature { adapter, .. }) => {
            println!("{adapter} has no half precision: nothing to test");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    for case in golden::cases("generator") {
        let config = config(&case);
        let checkpoint = fill(&config.network().unwrap(), case.integer("weights_seed"));
        let sample = sample(&case);
        for target in targets(&gpu) {
            let target = Target { precision: Precision::F16, ..target };
            let options = LoadOptions { plain: config.plain, strict: true };
            let painter = Painter::load_with(&gpu, &checkpoint, options, target.clone()).unwrap();
            let want: Vec<f64> = case.tensor("image").data.iter().map(|&v| v.into()).collect();
            let error = relative_l2(&painter.draw(&sample, Noise::None).unwrap(), &want);
            println!("{}, {:?}: {error:.1e} in half precision", case.name, target.tuning);
            // Half precision has 11 significant bits; a smaller error would mean that float32 was used.
            assert!(error <= HALF_BAR && error > 1e-5, "{}: {error:.1e}", case.name);
        }
    }
}

#[test]
fn half_precision_without_the_feature_is_an_error_that_names_it() {
    let target = Target { precision: Precision::F16, ..Target::of(gpu(), Precision::F32) };
    let error = Painter::load_with(gpu(), &narrow(), LoadOptions::default(), target).unwrap_err().to_string();
    assert!(error.contains("SHADER_F16"), "{error}");
}

/// The narrowest generator with every kind of block.
fn narrow() -> Checkpoint {
    fill(&GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(3) }.network().unwrap(), 5)
}

/// The sample with a label map in which hardly two windows are alike.
fn noisy(sample: Sample) -> Sample {
    Sample { labels: alias_scene::random_labels(3, sample.labels.len()), ..sample }
}

/// Every plan draws what the generator on the tape draws with dense modulation: for a batch, for label maps with few
/// distinct windows and with many, with tables for the whole image and for bands of it.
#[test]
fn plans_draw_what_the_generator_draws() {
    let checkpoint = narrow();
    let generator = Generator::load(device(), &checkpoint).unwrap();
    let flat = Sample { labels: vec![4; 2 * 128 * 64], ..pair(128, 64) };
    let noise = noisy(pair(128, 64));
    // Few 3x3 windows, but hardly two 5x5 ones alike.
    let two = Sample { labels: noise.labels.iter().map(|label| label % 2).collect(), ..noise.clone() };
    // The smaller limit leaves so little room for a table that the image is computed in many bands.
    let narrower = |(device, target): (Device, Target)| {
        [target.max_binding, 1 << 16].map(|max_binding| (device.clone(), Target { max_binding, ..target.clone() }))
    };
    let painters = executors().into_iter().flat_map(narrower).map(|(device, target)| {
        let painter = Painter::load_with(&device, &checkpoint, LoadOptions::default(), target.clone()).unwrap();
        (painter, target)
    });
    let painters: Vec<_> = painters.collect();
    for (map, sample) in [("persons", pair(128, 64)), ("flat", flat), ("noise", noise), ("two classes", two)] {
        let inputs = Inputs::new(device(), &sample).unwrap();
        for noise in [Noise::None, Noise::Seed(9)] {
            let dense = generator.forward_with(&inputs, noise, SpadeMethod::Dense, |_, _| {}).unwrap();
            let dense: Vec<f64> = dense.to_vec().unwrap().iter().map(|&v| v.into()).collect();
            for (painter, target) in &painters {
                let distance = relative_l2(&painter.draw(&sample, noise).unwrap(), &dense);
                assert!(distance <= 2e-5, "{map}, {noise:?}, {target:?}: {distance:.1e}");
            }
        }
    }
}

/// Kernels run without wgpu's checks on indices and loops; with them they give the same bits.
#[test]
fn checks_change_nothing() {
    let checkpoint = narrow();
    let sample = noisy(alias_scene::draw(1, 64, 64).sample);
    let narrow_bands = targets(gpu()).map(|target| Target { max_binding: 1 << 16, ..target });
    for target in targets(gpu()).into_iter().chain(narrow_bands) {
        let draw = |gpu: &Gpu| {
            let painter = Painter::load_with(gpu, &checkpoint, LoadOptions::default(), target.clone()).unwrap();
            painter.draw(&sample, Noise::Seed(3)).unwrap()
        };
        assert!(draw(gpu()) == draw(gpu_with_bounds_checks()), "{target:?}");
    }
}

#[test]
fn the_same_image_twice_is_bit_equal() {
    let checkpoint = narrow();
    let sample = pair(64, 128);
    for (device, target) in executors() {
        let painter = Painter::load_with(device, &checkpoint, LoadOptions::default(), target).unwrap();
        let first = painter.draw(&sample, Noise::Seed(1)).unwrap();
        for keeps_tables in [false, true] {
            let person = painter.person(&sample, PlanOptions { noise: true, keeps_tables }).unwrap();
            assert!(person.draw(&sample, Noise::Seed(1)).unwrap() == first);
            assert!(person.draw(&sample, Noise::Seed(2)).unwrap() != first);
            assert!(person.draw(&sample, Noise::Seed(1)).unwrap() == first);
        }
    }
}

#[test]
fn a_person_wears_another_garment() {
    let painter = Painter::load(device(), &narrow()).unwrap();
    let sample = pair(64, 64);
    let other = Sample { warped_cloth: sample.warped_cloth.iter().map(|v| -v).collect(), ..sample.clone() };
    let person = painter.person(&sample, PlanOptions { keeps_tables: true, ..Default::default() }).unwrap();
    let [first, second] = [&sample, &other].map(|sample| person.draw(sample, Noise::None).unwrap());
    assert!(first != second && second == painter.draw(&other, Noise::None).unwrap());
}

#[test]
fn samples_that_are_not_the_persons_are_refused() {
    let painter = Painter::load(device(), &narrow()).unwrap();
    let sample = alias_scene::draw(1, 64, 64).sample;
    let person = painter.person(&sample, PlanOptions::default()).unwrap();
    let refused = |sample: &Sample, noise| person.draw(sample, noise).unwrap_err().to_string();
    let larger = refused(&alias_scene::draw(1, 128, 64).sample, Noise::None);
    assert_eq!(larger, "1 pictures of 128x64; the person was made for 1 of 64x64");
    assert!(refused(&noisy(sample.clone()), Noise::None).contains("labels"));
    let other_mask = Sample { warped_mask: vec![0.25; 64 * 64], ..sample.clone() };
    assert!(refused(&other_mask, Noise::None).contains("warped_mask differs from the person's at element"));
    assert!(refused(&sample, Noise::Seed(1)).contains("without noise"));
    assert!(refused(&Sample { pose: vec![2.0; 3 * 64 * 64], ..sample.clone() }, Noise::None).contains("pose holds 2"));
    let odd = painter.person(&alias_scene::draw(1, 96, 64).sample, PlanOptions::default()).unwrap_err().to_string();
    assert!(odd.contains("96x64") && odd.contains("multiples of 64"), "{odd}");
}

/// The device does what the plan says, and after a hundred images it holds as much memory as after one.
#[test]
fn a_hundred_images_take_the_memory_of_one() {
    let gpu = Gpu::open(&GpuOptions::default()).unwrap();
    let painter = Painter::load(&gpu, &narrow()).unwrap();
    let sample = alias_scene::draw(1, 64, 64).sample;
    let person = painter.person(&sample, PlanOptions::default()).unwrap();
    let image = person.draw(&sample, Noise::None).unwrap();
    let after_one = gpu.counters();
    for _ in 0..99 {
        assert!(person.draw(&sample, Noise::None).unwrap() == image);
    }
    let after_all = gpu.counters();
    let held = |c: &alias_tensor::Counters| (c.device_bytes, c.peak_device_bytes, c.buffers, c.allocations);
    assert_eq!(held(&after_all), held(&after_one));
    let cost = person.cost();
    assert_eq!(after_all.launches - after_one.launches, 99 * cost.launches() as u64);
    assert_eq!(after_all.flops - after_one.flops, 99 * cost.plan.flops());
    // One submission for the image, one to read it. On a busy machine an image may take more than one.
    assert!((99 * 2..99 * 10).contains(&(after_all.submits - after_one.submits)), "{after_all:?}");
    // Buffers are rounded up to 256 bytes.
    let slack = 256 * after_all.buffers;
    assert!((cost.device_bytes()..=cost.device_bytes() + slack).contains(&after_one.device_bytes), "{after_one:?}");
}

/// Buffers of a person who was dropped hold whatever was there: the next person must not see it.
#[test]
fn memory_that_others_left_changes_no_bit() {
    let checkpoint = narrow();
    let painter = || Painter::load(Device::cores(CpuOptions::default()).unwrap(), &checkpoint).unwrap();
    let samples = [pair(64, 128), alias_scene::draw(1, 64, 64).sample, noisy(pair(128, 64)), pair(64, 128)];
    let reused = painter();
    for sample in samples {
        for noise in [Noise::None, Noise::Seed(4)] {
            let fresh = painter().draw(&sample, noise).unwrap();
            assert!(reused.draw(&sample, noise).unwrap() == fresh, "{}x{}", sample.height, sample.width);
        }
    }
}

/// The bytes left on the GPU are those that the host makes of the floats.
#[test]
fn a_picture_left_on_the_gpu_is_the_one_on_the_host() {
    let sample = pair(128, 64);
    for precision in [Precision::F32, Precision::F16] {
        let features = if precision == Precision::F16 { Features::SHADER_F16 } else { Features::empty() };
        let gpu = match Gpu::open(&GpuOptions { features, ..Default::default() }) {
            Err(alias_tensor::Error::MissingFeature { .. }) => {
                println!("no half precision: nothing to test");
                continue;
            }
            gpu => gpu.unwrap(),
        };
        let target = Target::of(&gpu, precision);
        let painter = Painter::load_with(&gpu, &narrow(), LoadOptions::default(), target).unwrap();
        let person = painter.person(&sample, PlanOptions::default()).unwrap();
        let rgba = person.draw_to_rgba8(&sample, Noise::None).unwrap();
        assert_eq!(*rgba.shape(), [2, 128, 64]);
        let rgba: Vec<[u8; 4]> = rgba.to_vec().unwrap().iter().map(|word| word.to_bits().to_le_bytes()).collect();
        let image = person.draw(&sample, Noise::None).unwrap();
        let expected: Vec<u8> = image.chunks(3 * 128 * 64).flat_map(alias_model::planes_to_rgb8).collect();
        assert!(rgba.iter().all(|pixel| pixel[3] == 255));
        let rgb: Vec<u8> = rgba.iter().flat_map(|pixel| pixel[..3].to_vec()).collect();
        assert!(rgb == expected && rgb.iter().any(|&v| v != rgb[0]), "{precision:?}");
    }
    let cores = Painter::load(Device::cores(CpuOptions::default()).unwrap(), &narrow()).unwrap();
    let person = cores.person(&sample, PlanOptions::default()).unwrap();
    let refused = person.draw_to_rgba8(&sample, Noise::None).unwrap_err().to_string();
    assert!(refused.contains("on processor cores"), "{refused}");
}

/// The published generator at full size, on a device with only the limits that WebGPU guarantees.
#[test]
fn full_size_fits_the_guaranteed_limits() {
    let gpu = Gpu::open(&GpuOptions { limits: Some(Limits::default()), ..Default::default() }).unwrap();
    assert_eq!(gpu.limits().max_storage_buffer_binding_size, 128 << 20);
    let checkpoint = fill(&GeneratorConfig::PUBLISHED.network().unwrap(), 1);
    let painter = Painter::load(&gpu, &checkpoint).unwrap();
    drop(checkpoint);
    let image = painter.draw(&alias_scene::draw(1, 1024, 768).sample, Noise::None).unwrap();
    assert!(image.iter().all(|v| v.abs() <= 1.0));
    let mean = image.iter().sum::<f32>() / image.len() as f32;
    let deviation = (image.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / image.len() as f32).sqrt();
    assert!(deviation > 0.1, "a picture, not a flat plane: {deviation}");
}

/// Tuning finds a method for every convolution, and the tuned plan draws the same image.
#[test]
fn a_tuned_painter_draws_the_same() {
    let (checkpoint, sample) = (narrow(), alias_scene::draw(1, 64, 64).sample);
    let here = Target::of(gpu(), Precision::F32);
    let tuning = Tuning::measure(gpu(), &checkpoint, LoadOptions::default(), &sample, &here).unwrap();
    let Tuning::Measured(methods) = &tuning else { panic!("{tuning:?}") };
    let network = GeneratorConfig::infer(&checkpoint).unwrap().network().unwrap();
    assert_eq!(methods.len(), network.convolutions().count());
    let [plain, tuned] = [here.clone(), Target { tuning, ..here }].map(|target| {
        let painter = Painter::load_with(gpu(), &checkpoint, LoadOptions::default(), target).unwrap();
        painter.draw(&sample, Noise::None).unwrap()
    });
    let plain: Vec<f64> = plain.iter().map(|&v| v.into()).collect();
    assert!(relative_l2(&tuned, &plain) <= 2e-5);
}

/// Also for a map of two random classes, which has few distinct 3x3 windows but many 5x5 ones.
#[test]
fn no_binding_is_larger_than_the_target_allows() {
    let sample = alias_scene::draw(1, 1024, 768).sample;
    let noise = alias_scene::random_labels(1, sample.labels.len());
    let two = Sample { labels: noise.iter().map(|label| label % 2).collect(), ..sample.clone() };
    for sample in [sample.clone(), two, Sample { labels: noise, ..sample }] {
        let cost =
            Cost::of_image(GeneratorConfig::PUBLISHED, &sample, PlanOptions::default(), &Target::GUARANTEED).unwrap();
        assert!(cost.largest_binding <= 128 << 20, "{} bytes", cost.largest_binding);
    }
}

/// Threads that share a person each get their own image.
#[test]
fn threads_take_turns_with_a_person() {
    let painter = Painter::load(device(), &narrow()).unwrap();
    let sample = alias_scene::draw(1, 64, 64).sample;
    let person = painter.person(&sample, PlanOptions::default()).unwrap();
    let garments: Vec<_> =
        (0..4).map(|k| Sample { warped_cloth: vec![k as f32 / 4.0; 3 * 64 * 64], ..sample.clone() }).collect();
    let alone: Vec<_> = garments.iter().map(|garment| person.draw(garment, Noise::None).unwrap()).collect();
    std::thread::scope(|scope| {
        for (garment, expected) in garments.iter().zip(&alone) {
            let person = &person;
            scope.spawn(move || (0..5).for_each(|_| assert!(person.draw(garment, Noise::None).unwrap() == *expected)));
        }
    });
}

/// While a rayon worker of the application waits for an image, rayon may give it the next task, which draws as well: no
/// deadlock.
#[test]
fn an_application_may_draw_in_rayons_tasks() {
    use rayon::prelude::*;
    let painter = Painter::load(Device::cores(CpuOptions::default()).unwrap(), &narrow()).unwrap();
    let sample = alias_scene::draw(1, 64, 64).sample;
    let person = painter.person(&sample, PlanOptions::default()).unwrap();
    let expected = person.draw(&sample, Noise::None).unwrap();
    let draw = |k: usize| {
        if k.is_multiple_of(2) { person.draw(&sample, Noise::None) } else { painter.draw(&sample, Noise::None) }
    };
    (0..40).into_par_iter().for_each(|k| assert!(draw(k).unwrap() == expected));
}

/// Neither the number of threads nor images drawn at the same time change the result.
#[test]
fn threads_and_other_images_change_no_bit() {
    let checkpoint = narrow();
    let sample = noisy(pair(128, 64));
    let draw = |threads| {
        let device = Device::cores(CpuOptions { threads: Some(threads), ..Default::default() }).unwrap();
        let painter = Painter::load(device, &checkpoint).unwrap();
        let alone = painter.draw(&sample, Noise::Seed(2)).unwrap();
        std::thread::scope(|scope| {
            let together = || assert!(painter.draw(&sample, Noise::Seed(2)).unwrap() == alone);
            (0..3).for_each(|_| drop(scope.spawn(together)));
        });
        alone
    };
    let one = draw(1);
    assert!([2, 5].into_iter().all(|threads| draw(threads) == one));
}

#[test]
fn a_target_of_another_kind_of_device_is_refused() {
    let cores = Device::cores(CpuOptions::default()).unwrap();
    for (device, target) in [(cores, Target::GUARANTEED), (gpu().into(), Target::CORES)] {
        let refused = Painter::load_with(device, &narrow(), LoadOptions::default(), target).unwrap_err().to_string();
        assert!(refused.contains("another kind of device"), "{refused}");
    }
}

#[test]
fn a_target_that_asks_for_what_its_device_does_not_have_is_refused() {
    let cores: Device = Device::cores(CpuOptions::default()).unwrap();
    let by = |target, method| Target { tuning: Tuning::Always(method), ..target };
    let half = Target { precision: Precision::F16, ..Target::CORES };
    let gpu: Device = gpu().into();
    for (device, target, named) in [
        (&cores, half, "float32"),
        (&cores, by(Target::CORES, Method::Staged(8)), "Staged"),
        (&gpu, by(Target::GUARANTEED, Method::Winograd(4)), "Winograd(4)"),
    ] {
        let network = GeneratorConfig::infer(&narrow()).unwrap().network().unwrap();
        let (size, options) = (Conditioning::size(1, 128, 64), PlanOptions::default());
        let no_cost = Cost::new(&network, &size, options, &target).unwrap_err().to_string();
        assert!(no_cost.contains(named), "{no_cost}");
        let refused = Painter::load_with(device, &narrow(), LoadOptions::default(), target).unwrap_err().to_string();
        assert!(refused.contains(named), "{refused}");
    }
}
