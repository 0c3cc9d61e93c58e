//! Operations refuse wrong shapes with an error that names the operation, the argument, its shape and the expected one.

use alias_kernels::plan::{DeviceBuffers, StepWeights, staged_elements};
use alias_kernels::*;
use alias_oracle::{device, gpu};
use alias_plan::{
    Activation, Buffer, BufferId, Convolution, Input, Method, Modulation, Normalization, Operand, Plan, Precision,
    Role, Step,
};
use alias_tensor::Recording;
use alias_tensor::{Result, Tensor};

fn t(shape: &[usize]) -> Tensor {
    Tensor::new(device(), shape, &vec![0.5; shape.iter().product()]).unwrap()
}

#[track_caller]
fn refused<T>(result: Result<T>, complaint: &str) {
    match result {
        Ok(_) => panic!("accepted, instead of: {complaint}"),
        Err(error) => assert_eq!(error.to_string(), complaint),
    }
}

#[test]
fn elementwise() {
    let (a, b) = (t(&[2, 3]), t(&[3, 2]));
    refused(add(&a, &b), "add: b has shape [3, 2], expected [2, 3]");
    refused(mul(&a, &b), "mul: b has shape [3, 2], expected [2, 3]");
    refused(l1(&a, &b), "l1: b has shape [3, 2], expected [2, 3]");
    refused(modulate(&a, &b, &a, 1.0), "modulate: gamma has shape [3, 2], expected [2, 3]");
    refused(modulate(&a, &a, &b, 1.0), "modulate: beta has shape [3, 2], expected [2, 3]");
}

#[test]
fn normalizations() {
    let (x, flat) = (t(&[2, 3, 4, 5]), t(&[24]));
    refused(instance_norm(&flat, 1e-5), "instance_norm: x has shape [24], expected (N, C, H, W)");
    refused(affine(&x, &t(&[2]), &t(&[3])), "affine: weight has shape [2], expected [3]");
    refused(affine(&x, &t(&[3]), &t(&[4])), "affine: bias has shape [4], expected [3]");
    refused(affine(&flat, &t(&[3]), &t(&[3])), "affine: x has shape [24], expected (N, C, H, W)");
    refused(mask_norm(&x, &t(&[2, 3, 4, 5]), 1e-5), "mask_norm: mask has shape [2, 3, 4, 5], expected [2, 1, 4, 5]");
    refused(mask_norm(&x, &t(&[1, 1, 4, 5]), 1e-5), "mask_norm: mask has shape [1, 1, 4, 5], expected [2, 1, 4, 5]");
    let running = |mean, variance| RunningStatistics { mean: t(&[mean]), variance: t(&[variance]) };
    refused(batch_norm(&x, &running(2, 3), 1e-5), "batch_norm: running.mean has shape [2], expected [3]");
    refused(batch_norm(&x, &running(3, 4), 1e-5), "batch_norm: running.variance has shape [4], expected [3]");
    refused(
        batch_norm_train(&t(&[1, 3, 1, 1]), &running(3, 3), 0.1, 1e-5),
        "batch_norm_train: x has shape [1, 3, 1, 1], expected more than one element per channel",
    );
    refused(spectral_norm(&t(&[4, 3, 3, 3]), &t(&[3]), &t(&[27])), "spectral_norm: u has shape [3], expected [4]");
    refused(power_iteration(&t(&[4, 3, 3, 3]), &t(&[4]), &t(&[9])), "power_iteration: v has shape [9], expected [27]");
    refused(batch_norm_train(&x, &running(2, 3), 0.1, 1e-5), "batch_norm: running.mean has shape [2], expected [3]");
    refused(spectral_norm(&t(&[4, 3, 3, 3]), &t(&[4]), &t(&[26])), "spectral_norm: v has shape [26], expected [27]");
    refused(add_noise(&x, &t(&[2]), 1, 0), "add_noise: scale has shape [2], expected [3]");
}

#[test]
fn channels_and_sizes() {
    let x = t(&[2, 3, 4, 5]);
    refused(concat(&[]), "concat: parts is none, expected at least one tensor");
    refused(concat(&[&x, &t(&[2, 1, 4, 6])]), "concat: parts has shape [2, 1, 4, 6], expected [2, any, 4, 5]");
    refused(slice(&x, 2..4), "slice: channels is 2..4, expected a range within 0..3");
    refused(slice(&x, 1..1), "slice: channels is 1..1, expected a range within 0..3");
    refused(resize(&x, 0, 5), "resize: height, width is 0, 5, expected sides of 1 to 65535");
    refused(resize(&x, 3, 65_536), "resize: height, width is 3, 65536, expected sides of 1 to 65535");
    refused(max_pool(&t(&[1, 1, 4, 1])), "max_pool: x has shape [1, 1, 4, 1], expected sides of at least 2");
    refused(concat(&[&x, &t(&[1, 3, 4, 5])]), "concat: parts has shape [1, 3, 4, 5], expected [2, any, 4, 5]");
    refused(resize(&t(&[4]), 1, 1), "resize: x has shape [4], expected (N, C, H, W)");
    refused(avg_pool(&t(&[4, 4])), "avg_pool: x has shape [4, 4], expected (N, C, H, W)");
    refused(max_pool(&t(&[1, 1, 1, 4])), "max_pool: x has shape [1, 1, 1, 4], expected sides of at least 2");
}

#[test]
fn geometric_matching() {
    let x = t(&[2, 3, 4, 5]);
    refused(l2_normalize(&t(&[4])), "l2_normalize: x has shape [4], expected (N, C, H, W)");
    refused(correlation(&x, &t(&[2, 3, 5, 4])), "correlation: b has shape [2, 3, 5, 4], expected [2, 3, 4, 5]");
    refused(linear(&x, &t(&[7, 59]), &t(&[7])), "linear: weight has shape [7, 59], expected [7, 60]");
    refused(linear(&x, &t(&[7, 60]), &t(&[7, 1])), "linear: bias has shape [7, 1], expected [7]");
    let theta = t(&[2, 50, 1, 1]);
    refused(tps_grid(&t(&[2, 48, 1, 1]), 4, 4), "tps_grid: theta has shape [2, 48, 1, 1], expected [2, 50, 1, 1]");
    refused(tps_grid(&theta, 4, 0), "tps_grid: height, width is 4, 0, expected sides of at least 1");
    refused(grid_sample(&x, &t(&[1, 6, 7, 2])), "grid_sample: grid has shape [1, 6, 7, 2], expected [2, 6, 7, 2]");
    refused(grid_sample(&x, &t(&[2, 6, 7, 3])), "grid_sample: grid has shape [2, 6, 7, 3], expected [2, 6, 7, 2]");
    refused(
        thin_plate_warp(&x, &t(&[1, 50, 1, 1]), 6, 7),
        "thin_plate_warp: theta has shape [1, 50, 1, 1], expected [2, 50, 1, 1]",
    );
    refused(
        second_order_constraint(&t(&[2, 49, 1, 1])),
        "second_order_constraint: theta has shape [2, 49, 1, 1], expected (N, 2 n n, 1, 1) with n of at least 3",
    );
}

#[test]
fn labels() {
    let x = t(&[2, 3, 4, 5]);
    refused(argmax(&t(&[4])), "argmax: x has shape [4], expected (N, C, H, W)");
    refused(bilinear_resize(&x, 0, 5), "bilinear_resize: height, width is 0, 5, expected sides of 1 to 32767");
    refused(
        bilinear_resize(&t(&[1, 1, 1, 32_768]), 1, 1),
        "bilinear_resize: x has shape [1, 1, 1, 32768], expected sides of 1 to 32767",
    );
    refused(smooth_labels(&x, 3, 32_768), "smooth_labels: height, width is 3, 32768, expected sides of 1 to 32767");
    refused(gaussian_blur(&x, 4, 1.0), "gaussian_blur: size is 4, expected an odd number up to 255");
    refused(gaussian_blur(&x, 5, 0.0), "gaussian_blur: sigma is 0, expected a number above 0");
    let classes = PixelClasses::new(device(), [2, 5, 4], &[0; 40], 3).unwrap();
    refused(cross_entropy(&x, &classes), "cross_entropy: classes has shape [2, 5, 4], expected [2, 4, 5]");
}

#[test]
fn convolution() {
    let (x, w) = (t(&[2, 3, 5, 7]), t(&[4, 3, 3, 3]));
    refused(conv2d(&t(&[3, 5, 7]), &w, None, 1, 1), "conv2d: x has shape [3, 5, 7], expected (N, C, H, W)");
    refused(conv2d(&x, &t(&[4, 2, 3, 3]), None, 1, 1), "conv2d: weight has shape [4, 2, 3, 3], expected [4, 3, 3, 3]");
    refused(
        conv2d(&x, &t(&[4, 3, 5, 5]), None, 1, 1),
        "conv2d: weight has shape [4, 3, 5, 5], expected a kernel of 1x1, 3x3 or 4x4",
    );
    refused(conv2d(&x, &w, Some(&t(&[3])), 1, 1), "conv2d: bias has shape [3], expected [4]");
    refused(
        conv2d(&t(&[1, 3, 7, 2]), &w, None, 1, 0),
        "conv2d: x has shape [1, 3, 7, 2], expected sides of at least 3, with the padding of 0",
    );
    refused(conv2d(&x, &w, None, 3, 1), "conv2d: stride is 3, expected 1 or 2");
    refused(
        conv2d(&t(&[1, 3, 2, 7]), &w, None, 1, 0),
        "conv2d: x has shape [1, 3, 2, 7], expected sides of at least 3, with the padding of 0",
    );
}

/// A plan of one step, its buffers of so many elements each.
fn plan(step: Step, elements: &[usize]) -> Plan {
    let buffer = |&elements: &usize| Buffer { name: "a buffer".into(), elements, activations: false, role: Role::Kept };
    Plan { precision: Precision::F32, block: 1, buffers: elements.iter().map(buffer).collect(), steps: vec![step] }
}

fn tensor(elements: usize) -> Tensor {
    Tensor::empty(gpu(), &[elements]).unwrap()
}

/// A 3x3 convolution of buffer 0 to buffer 1, by way of buffer 2.
fn planned_convolution() -> Convolution {
    let operands = vec![Operand { buffer: BufferId(0), channels: 5, height: 4, width: 6 }];
    Convolution {
        name: String::new(),
        kernel: 3,
        stride: 1,
        padding: 1,
        input: Input { batch: 1, height: 8, width: 12, operands, noise: None, norm: None, slope: 1.0 },
        cout: 3,
        rows: 0..8,
        accumulate: false,
        activation: Activation::LeakyRelu(1.0),
        output: BufferId(1),
        method: Method::Staged(8),
        scratch: Some(BufferId(2)),
    }
}

/// A plan's steps are plain data, which anyone can get wrong; kernels run without checks.
#[test]
fn steps_that_do_not_fit_their_buffers_are_refused() {
    let good = planned_convolution();
    let room = [5 * 4 * 6, 3 * 8 * 12, staged_elements(&good, 8)];
    let (direct, transformed) = (tensor((5 * 9 + 1) * 4), tensor((5 * 16 + 1) * 4));
    for (what, method, weight) in [
        ("fused", Method::Fused, &direct),
        ("winograd", Method::Winograd(2), &transformed),
        ("staged", Method::Staged(8), &direct),
    ] {
        let record = |step: &Convolution, elements: &[usize], weight: &Tensor| {
            let step = Step::Convolution(Convolution { method, ..step.clone() });
            let buffers = DeviceBuffers::new(gpu(), plan(step, elements)).unwrap();
            let weights = StepWeights::Convolution(weight);
            buffers.record(&mut Recording::new(gpu()), 0, weights).err().map(|e| e.to_string())
        };
        assert_eq!(record(&good, &room, weight), None);
        let refused = |step: &Convolution, elements: &[usize], weight: &Tensor, named: &str| {
            let error = record(step, elements, weight).unwrap_or_default();
            assert!(error.contains(what) && error.contains(named), "{what}, {named}: '{error}'");
        };
        refused(&Convolution { rows: 0..9, ..good.clone() }, &room, weight, "rows");
        refused(&Convolution { kernel: 11, ..good.clone() }, &room, weight, "the kernel");
        refused(&Convolution { stride: 0, ..good.clone() }, &room, weight, "the kernel");
        refused(&Convolution { cout: 4, ..good.clone() }, &room, weight, "the output");
        refused(&good, &room, &tensor(10), "the weight");
        refused(&good, &[100, room[1], room[2]], weight, "an operand");
        let narrow = Operand { width: 4, ..good.input.operands[0].clone() };
        let odd = Input { operands: vec![narrow], ..good.input.clone() };
        refused(&Convolution { input: odd, ..good.clone() }, &room, weight, "power of two");
        if what == "staged" {
            refused(&good, &[room[0], room[1], 100], weight, "the scratch");
        }
    }
}

/// Kernels look up by indices without a check, so that none gets to the device unchecked.
#[test]
fn indices_that_reach_past_their_table_are_refused() {
    let modulation = Modulation { table: BufferId(4), entries: 7, pixels: BufferId(5), rows: 0..8, masked: false };
    let norm = Normalization { coefficients: BufferId(3), modulation: Some(modulation) };
    let good = planned_convolution();
    let input = Input { norm: Some(norm), ..good.input.clone() };
    let step = Convolution { input, method: Method::Fused, ..good };
    let (room, weight) = ([5 * 4 * 6, 3 * 8 * 12, 1, 5 * 8, 7 * 12, 8 * 12 * 2], tensor((5 * 9 + 1) * 4));
    let good = plan(Step::Convolution(step.clone()), &room);
    let buffers = DeviceBuffers::new(gpu(), good.clone()).unwrap();
    let record = || {
        let weights = StepWeights::Convolution(&weight);
        buffers.record(&mut Recording::new(gpu()), 0, weights).err().map(|e| e.to_string()).unwrap_or_default()
    };
    let upload = |pixels: &[u32]| {
        let done = buffers.upload(BufferId(5), bytemuck::cast_slice(pixels));
        done.err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(record().contains("uploaded"), "{}", record());
    // Every second element is an index; the others are masks.
    let mut pixels = [0, u32::MAX].repeat(8 * 12);
    pixels[40] = 7;
    assert!(upload(&pixels).contains("less than 7"), "{}", upload(&pixels));
    assert!(record().contains("uploaded"), "{}", record());
    pixels[40] = 6;
    assert!(upload(&pixels[2..]).contains("number of indices"), "{}", upload(&pixels[2..]));
    assert_eq!((upload(&pixels), record()), (String::new(), String::new()));

    // Nor may a step write to them, or memory be shared with what steps write.
    let refused = |plan: Plan| DeviceBuffers::new(gpu(), plan).unwrap_err().to_string();
    let writes = Convolution { output: BufferId(5), ..step };
    assert!(refused(plan(Step::Convolution(writes), &room)).contains("written by a step"));
    let mut shares = good;
    shares.buffers[5].role = Role::Input;
    assert!(refused(shares).contains("shares memory"));
}
