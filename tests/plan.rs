//! Pins what an image takes: counts that need neither a device nor a clock, so that every change shows.

use alias_model::{
    Conditioning, Cost, GeneratorConfig, MatchingConfig, PlanOptions, Precision, Processor, Sample, SegmentationConfig,
    Target, Tuning,
};
use alias_plan::Method;

fn cost(height: usize, width: usize, target: &Target) -> Cost {
    cost_of(&alias_scene::draw(1, height, width).sample, target)
}

fn cost_of(sample: &Sample, target: &Target) -> Cost {
    Cost::of_image(GeneratorConfig::PUBLISHED, sample, PlanOptions::default(), target).unwrap()
}

/// MFLOP, launches, and KiB: moved, on the device, in the largest binding.
fn counts(cost: &Cost) -> [u64; 5] {
    let plan = &cost.plan;
    let [moved, device, largest] = [plan.bytes_moved(), cost.device_bytes(), cost.largest_binding].map(|b| b >> 10);
    [plan.flops() / 1_000_000, cost.launches() as u64, moved, device, largest]
}

const SOFTWARE: Target = Target { processor: Processor::Rasterizer, ..Target::GUARANTEED };
const DIRECT: Target = Target { tuning: Tuning::Always(Method::Fused), ..Target::GUARANTEED };
const HALF: Target = Target { precision: Precision::F16, ..Target::GUARANTEED };

#[test]
fn counts_are_pinned() {
    let all = [
        ("GPU", Target::GUARANTEED),
        ("GPU, direct", DIRECT),
        ("GPU, half", HALF),
        ("software", SOFTWARE),
        ("cores", Target::CORES),
    ];
    let pinned = [
        (
            (256, 128),
            [
                [10703, 128, 723961, 496661, 66564],
                [16736, 128, 637065, 409764, 37444],
                [10703, 128, 445527, 253013, 33282],
                [16737, 160, 748604, 418041, 37444],
                [8896, 110, 678048, 590288, 74882],
            ],
        ),
        (
            (1024, 768),
            [
                [169994, 133, 3086307, 803082, 98304],
                [314785, 133, 2999411, 716185, 98304],
                [169994, 133, 1915450, 406367, 49152],
                [314811, 303, 5720523, 728495, 98304],
                [126636, 110, 2668062, 886957, 98304],
            ],
        ),
    ];
    for ((height, width), expected) in pinned {
        for ((name, target), expected) in all.iter().zip(expected) {
            assert_eq!(counts(&cost(height, width, target)), expected, "{height}x{width}, {name}");
        }
    }
}

/// The performance targets that counts can show.
#[test]
fn full_size_keeps_to_its_budgets() {
    let (gflop, mib) = (1_000_000_000, 1 << 20);
    let direct = cost(1024, 768, &DIRECT);
    assert!(direct.plan.flops() <= 330 * gflop, "{} operations", direct.plan.flops());
    let winograd = cost(1024, 768, &Target::GUARANTEED);
    assert!(winograd.plan.flops() <= 170 * gflop, "{} operations", winograd.plan.flops());
    for (target, budget) in [(Target::GUARANTEED, 800), (DIRECT, 800), (SOFTWARE, 800), (HALF, 450)] {
        let cost = cost(1024, 768, &target);
        assert!(cost.device_bytes() <= budget * mib, "{target:?}: {} bytes", cost.device_bytes());
        assert!(cost.largest_binding <= 128 * mib, "{target:?}: {} bytes in a binding", cost.largest_binding);
    }
}

/// Where hardly two windows are alike, tables take about what the dense network takes: there are no more windows than
/// pixels.
#[test]
fn a_map_of_noise_takes_no_more_than_the_dense_network() {
    let person = alias_scene::draw(1, 1024, 768).sample;
    let noise = Sample { labels: alias_scene::random_labels(3, person.labels.len()), ..person };
    let dense = GeneratorConfig::PUBLISHED.network().unwrap().dense_flops(1024, 768).unwrap();
    let direct = cost_of(&noise, &DIRECT);
    assert_eq!(counts(&direct), [1656716, 218, 10912551, 1127730, 98304]);
    assert!(direct.plan.flops() <= dense / 100 * 102, "{} operations of {dense}", direct.plan.flops());
    assert!(direct.device_bytes() <= 1200 << 20 && direct.largest_binding <= 128 << 20);
}

/// Twice the height and width take four times the convolutions and the buffers, and less than that of everything else.
#[test]
fn cost_grows_with_the_pixels() {
    let [small, large] = [(512, 384), (1024, 768)].map(|(h, w)| cost(h, w, &Target::GUARANTEED));
    let growth = large.plan.flops() as f64 / small.plan.flops() as f64;
    assert!((3.0..4.0).contains(&growth), "operations by {growth}");
    let growth = large.memory.total() as f64 / small.memory.total() as f64;
    assert!((3.0..=4.0).contains(&growth), "buffers by {growth}");
    assert!(large.launches() <= small.launches() + 8);
    assert_eq!(large.weight_bytes, small.weight_bytes);
}

/// The networks before the image generator, at the published width and size.
fn first_networks(target: &Target) -> [Cost; 2] {
    let networks = [SegmentationConfig::PUBLISHED.network().unwrap(), MatchingConfig::PUBLISHED.network().unwrap()];
    networks
        .map(|network| Cost::new(&network, &Conditioning::size(1, 256, 192), PlanOptions::default(), target).unwrap())
}

#[test]
fn counts_of_the_first_networks_are_pinned() {
    let dense = [SegmentationConfig::PUBLISHED.network(), MatchingConfig::PUBLISHED.network()]
        .map(|network| network.unwrap().dense_flops(256, 192).unwrap() / 1_000_000);
    assert_eq!(dense, [99_769, 8_955]);
    let pinned = [
        ("GPU", Target::GUARANTEED, [[45292, 74, 661468, 288235, 65540], [6967, 22, 133221, 108742, 16386]]),
        ("GPU, half", HALF, [[45292, 74, 331352, 144147, 32770], [6967, 22, 66673, 54439, 8193]]),
        ("software", SOFTWARE, [[100210, 101, 925920, 199182, 36868], [8976, 28, 110525, 80448, 9218]]),
        ("cores", Target::CORES, [[32026, 74, 707066, 353763, 65540], [6967, 22, 137442, 113054, 16386]]),
    ];
    for (name, target, expected) in pinned {
        let got = first_networks(&target).each_ref().map(counts);
        assert_eq!(got, expected, "{name}");
    }
}

/// All three networks' weights, and the buffers of one at a time, fit into 1,150 MiB of a device with WebGPU's guaranteed
/// limits.
#[test]
fn the_chain_keeps_to_its_memory() {
    let [segmentation, matching] = first_networks(&Target::GUARANTEED);
    let image = cost(1024, 768, &Target::GUARANTEED);
    let all = [&segmentation, &matching, &image];
    let weights: u64 = all.iter().map(|cost| cost.weight_bytes).sum();
    let buffers = all.iter().map(|cost| cost.memory.total()).max().unwrap();
    let mib = 1 << 20;
    assert!(weights + buffers <= 1150 * mib, "{} MiB", (weights + buffers) / mib);
    assert!(all.iter().all(|cost| cost.largest_binding <= 128 * mib));
    println!("{} MiB: {:?}", (weights + buffers) / mib, all.map(|c| (c.weight_bytes >> 20, c.memory.total() >> 20)));
}
