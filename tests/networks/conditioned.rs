//! Networks of one's own whose norms depend on a label map and a mask.

use super::{Module, Noise, PlanOptions, Session};
use alias_model::network::{Builder, Conv, Modulation, Network, Norm, NormKind, Reading, Spade};
use alias_model::{Conditioning, CpuOptions, Device, Feed, fill};
use alias_oracle::{Random, device, devices, gpu_if_any, relative_l2};
use alias_tensor::Tensor;

const CLASSES: usize = 5;
const BATCH: usize = 2;
const H: usize = 24;
const W: usize = 40;

/// SPADE on instance norm, and on mask norm, each by way of `hidden` channels.
fn network(hidden: usize) -> (Network, usize, usize) {
    let mut net = Builder::new("Conditioned");
    let image = net.input("image", 3);
    let labels = net.label_map("labels", CLASSES);
    let mask = net.mask("mask");
    let mut x = net.convolution(Reading::of(image), Conv::same("first", 3, 12, 3));
    for (key, kind) in [("by_plane", NormKind::Instance), ("by_region", NormKind::Mask { mask })] {
        let conv = |name: &str, cin, cout| Conv::same(format!("{key}.{name}"), cin, cout, 3);
        let spade = Spade {
            labels,
            shared: conv("shared", CLASSES, hidden),
            gamma: conv("gamma", hidden, 12),
            beta: conv("beta", hidden, 12),
        };
        let norm = Norm { key: key.into(), kind, noise_stream: None, modulation: Modulation::Spade(Box::new(spade)) };
        x = net.convolution(Reading::of(x).norm(norm).leaky_relu(0.2), conv("conv", 12, 12));
    }
    net.output("result", x);
    (net.finish(), labels, mask)
}

/// GPUs load four channels of the hidden layer at once.
#[test]
fn a_hidden_layer_that_gpus_cannot_load_is_refused_by_name() {
    let (network, labels, mask) = network(6);
    let map = [1; 64];
    let conditioning = Conditioning::size(1, 8, 8).with_labels(labels, CLASSES, &map).unwrap();
    let conditioning = conditioning.with_mask(mask, vec![0.0; 64]).unwrap();
    let prepare = |device: Device| {
        let session = Session::load(device, &network, &fill(&network, 3)).unwrap();
        session.plan_and_prepare(&conditioning, PlanOptions::default())
    };
    if let Some(gpu) = gpu_if_any() {
        let error = prepare(gpu.into()).unwrap_err().to_string();
        assert!(error.contains("Conditioned, layer by_plane.conv") && error.contains("multiple of 4"), "{error}");
    }
    assert!(prepare(Device::cores(CpuOptions::default()).unwrap()).is_ok());
}

#[test]
fn plans_and_the_tape_take_label_maps_and_masks() {
    let (network, labels, mask) = network(16);
    let checkpoint = fill(&network, 3);
    let image = Random::new(5).array(&[BATCH, 3, H, W]).to_f32();
    // Stripes on the slant, another in each image; the mask covers a part of them.
    let pixels = || (0..BATCH * H * W).map(|at| (at / (H * W), at / W % H, at % W));
    let map: Vec<u8> = pixels().map(|(n, y, x)| ((x / 7 + y / 5 + n) % CLASSES) as u8).collect();
    let covered: Vec<f32> = pixels().map(|(n, y, x)| f32::from(u8::from(x > 9 + n && y < 17))).collect();

    let module = Module::load(device(), &network, &checkpoint).unwrap();
    let tensor = |c, values: &[f32]| Feed::Tensor(Tensor::new(device(), &[BATCH, c, H, W], values).unwrap());
    let feeds = [tensor(3, &image), Feed::labels(device(), [BATCH, H, W], CLASSES, &map).unwrap(), tensor(1, &covered)];
    let expected = module.forward(&feeds, Noise::None).unwrap()[0].to_vec().unwrap();
    let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
    assert!(expected.iter().any(|v| *v != 0.0));

    let size = || Conditioning::size(BATCH, H, W);
    let conditioning = size().with_labels(labels, CLASSES, &map).unwrap().with_mask(mask, covered.clone()).unwrap();
    for device in devices() {
        let session = Session::load(device, &network, &checkpoint).unwrap();
        let prepared = session.plan_and_prepare(&conditioning, PlanOptions::default()).unwrap();
        let got = prepared.run(&[("image", &image)], Noise::None).unwrap().remove(0);
        assert!(relative_l2(&got, &expected) < 1e-5, "{:.1e}", relative_l2(&got, &expected));

        let refused =
            |conditioning| session.plan_and_prepare(&conditioning, PlanOptions::default()).unwrap_err().to_string();
        let error = refused(size().with_labels(labels, CLASSES, &map).unwrap());
        assert!(error.contains("Conditioned") && error.contains("Mask for input 'mask'"), "{error}");
        let error = refused(size().with_labels(labels, 6, &map).unwrap().with_mask(mask, covered.clone()).unwrap());
        assert!(error.contains("LabelMap for input 'labels'"), "{error}");
    }
    let error = size().with_labels(labels, 4, &map).unwrap_err().to_string();
    assert!(error.contains("labels holds 4") && error.contains("0 to 3"), "{error}");
    for classes in [0, 257, usize::MAX] {
        let error = size().with_labels(labels, classes, &map).unwrap_err().to_string();
        assert!(error.contains("1 to 256"), "{error}");
    }
    let error = size().with_mask(mask, vec![f32::NAN; BATCH * H * W]).unwrap_err().to_string();
    assert!(error.contains("mask holds NaN at element 0"), "{error}");
}
