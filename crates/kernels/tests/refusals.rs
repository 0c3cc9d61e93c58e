//! Operations refuse wrong shapes with an error that names the operation, the argument, its shape and the expected one.

use alias_kernels::*;
use alias_oracle::gpu;
use alias_tensor::{Result, Tensor};

fn t(shape: &[usize]) -> Tensor {
    Tensor::new(gpu(), shape, &vec![0.5; shape.iter().product()]).unwrap()
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
    refused(modulate(&a, &b, &a), "modulate: gamma has shape [3, 2], expected [2, 3]");
    refused(modulate(&a, &a, &b), "modulate: beta has shape [3, 2], expected [2, 3]");
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

/// Steps of a plan are plain data that a caller can get wrong, and kernels run without bounds checks.
#[test]
fn steps_that_do_not_fit_their_buffers_are_refused() {
    use alias_kernels::{Buffers, record_fused_conv2d, record_staged_conv2d, record_winograd_conv2d};
    use alias_plan::{BufferId, Convolution, Input, Method, Precision, Source};
    use alias_tensor::Recording;
    let source = Source { buffer: BufferId(0), channels: 5, height: 4, width: 6 };
    let good = Convolution {
        name: String::new(),
        kernel: 3,
        input: Input { batch: 1, height: 8, width: 12, sources: vec![source.clone()], noise: None },
        norm: None,
        slope: 1.0,
        cout: 3,
        rows: 0..8,
        accumulate: false,
        tanh: false,
        output: BufferId(1),
        method: Method::Staged(8),
        scratch: Some(BufferId(2)),
    };
    let tensor = |elements: usize| Tensor::empty(gpu(), &[elements]).unwrap();
    let room = [tensor(5 * 4 * 6), tensor(3 * 8 * 12), tensor(good.scratch_elements())];
    let (direct, transformed) = (tensor((5 * 9 + 1) * 4), tensor((5 * 16 + 1) * 4));
    let record = |step: &Convolution, tensors: &[Tensor], weight: &Tensor, what: &str| {
        let (mut recording, buffers) = (Recording::new(gpu()), Buffers(tensors));
        let error = match what {
            "fused" => record_fused_conv2d(&mut recording, step, Precision::F32, buffers, weight),
            "winograd" => record_winograd_conv2d(&mut recording, step, Precision::F32, buffers, weight),
            _ => record_staged_conv2d(&mut recording, step, Precision::F32, buffers, weight),
        };
        error.err().map(|e| e.to_string())
    };
    for (what, weight) in [("fused", &direct), ("winograd", &transformed), ("staged", &direct)] {
        assert_eq!(record(&good, &room, weight, what), None);
        let refused = |step: &Convolution, tensors: &[Tensor], weight: &Tensor, named: &str| {
            let error = record(step, tensors, weight, what).unwrap_or_default();
            assert!(error.contains(what) && error.contains(named), "{what}, {named}: '{error}'");
        };
        refused(&Convolution { rows: 0..9, ..good.clone() }, &room, weight, "rows");
        refused(&Convolution { kernel: 5, ..good.clone() }, &room, weight, "kernel");
        refused(&Convolution { cout: 4, ..good.clone() }, &room, weight, "the output");
        refused(&good, &room, &tensor(10), "the weight");
        refused(&good, &[tensor(100), room[1].clone(), room[2].clone()], weight, "a source");
        let odd = Input { sources: vec![Source { width: 4, ..source.clone() }], ..good.input.clone() };
        refused(&Convolution { input: odd, ..good.clone() }, &room, weight, "power of two");
    }
    let error = record(&good, &[room[0].clone(), room[1].clone(), tensor(100)], &direct, "staged").unwrap();
    assert!(error.contains("the scratch"), "{error}");
}
