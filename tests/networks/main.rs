//! Every network by plan on a GPU and on processor cores, and on the tape: one description, three ways to run it.

use alias_model::network::{Builder, Conv, Network, Reading};
use alias_model::{
    Checkpoint, Conditioning, CpuOptions, Device, Feed, Module, Noise, PlanOptions, Precision, Session, Target, Tuning,
    fill, initialize,
};
use alias_oracle::{Random, device, gpu_if_any, relative_l2};
use alias_plan::Method;
use alias_tensor::{Gpu, Tensor};

/// The networks to test: for each name a file beside this one, with a function `networks`. Their inputs are tensors.
macro_rules! networks {
    ($($file:ident)*) => {
        $(mod $file;)*

        fn networks() -> Vec<Network> {
            [$($file::networks()),*].concat()
        }
    };
}

networks! {
    builtin
    unet
}

mod conditioned;

/// Random inputs (N, C, H, W) of a network.
fn inputs(network: &Network, batch: usize, [h, w]: [usize; 2]) -> Vec<Vec<f32>> {
    let mut random = Random::new(5);
    network.inputs().iter().map(|input| random.array(&[batch, input.channels, h, w]).to_f32()).collect()
}

/// Outputs by a plan for `target`.
fn planned(
    network: &Network,
    checkpoint: &Checkpoint,
    (device, target): (Device, Target),
    batch: usize,
    size @ [h, w]: [usize; 2],
) -> Vec<Vec<f32>> {
    let session = Session::load_with(device, network, checkpoint, target).unwrap();
    let prepared = session.plan_and_prepare(&Conditioning::size(batch, h, w), PlanOptions::default()).unwrap();
    let inputs = inputs(network, batch, size);
    let named: Vec<_> =
        network.inputs().iter().zip(&inputs).map(|(input, x)| (input.name.as_str(), x.as_slice())).collect();
    let first = prepared.run(&named, Noise::None).unwrap();
    assert!(prepared.run(&named, Noise::None).unwrap() == first, "{}: another result", network.name());
    let shapes: Vec<_> = prepared.outputs().map(|(_, shape)| shape.iter().product::<usize>()).collect();
    assert_eq!(shapes, first.iter().map(Vec::len).collect::<Vec<_>>());
    first
}

/// Outputs on the tape.
fn on_tape(network: &Network, checkpoint: &Checkpoint, batch: usize, size @ [h, w]: [usize; 2]) -> Vec<Tensor> {
    let module = Module::load(device(), network, checkpoint).unwrap();
    let feed = |(input, x): (&alias_model::network::Input, Vec<f32>)| {
        Feed::Tensor(Tensor::new(device(), &[batch, input.channels, h, w], &x).unwrap())
    };
    let feeds: Vec<Feed> = network.inputs().iter().zip(inputs(network, batch, size)).map(feed).collect();
    module.forward(&feeds, Noise::None).unwrap()
}

#[test]
fn plans_compute_what_the_tape_computes() {
    for network in networks() {
        let checkpoint = fill(&network, 3);
        for (batch, size) in [(1, [48, 32]), (2, [32, 80])] {
            let expected: Vec<Vec<f64>> = on_tape(&network, &checkpoint, batch, size)
                .iter()
                .map(|output| output.to_vec().unwrap().into_iter().map(f64::from).collect())
                .collect();
            let on_gpu = |method| {
                let by =
                    |gpu: &'static Gpu| Target { tuning: Tuning::Always(method), ..Target::of(gpu, Precision::F32) };
                gpu_if_any().map(|gpu| (Device::from(gpu), by(gpu)))
            };
            let cores = || Device::cores(CpuOptions::default()).unwrap();
            let by_method = |method| (cores(), Target { tuning: Tuning::Always(method), ..Target::CORES });
            let executors = [
                on_gpu(Method::Fused),
                on_gpu(Method::Winograd(2)),
                on_gpu(Method::Staged(0)),
                Some((cores(), Target::CORES)),
                Some(by_method(Method::Winograd(2))),
            ];
            for executor in executors.into_iter().flatten() {
                let name = format!("{} {size:?}, {:?}", network.name(), executor.1);
                let got = planned(&network, &checkpoint, executor, batch, size);
                assert_eq!(got.len(), expected.len(), "{name}");
                for (k, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    let distance = relative_l2(got, expected);
                    assert!(distance <= 1e-5, "{name}, output {k}: {distance:.1e}");
                    assert!(expected.iter().any(|v| *v != 0.0), "{name}, output {k}: nothing but zeros");
                }
            }
        }
    }
}

/// A block that ends the network is recomputed as any other.
#[test]
fn recomputed_blocks_compute_the_same() {
    let mut net = Builder::new("EndsInABlock");
    let image = net.input("image", 3);
    let x = net.convolution(Reading::of(image), Conv::same("first", 3, 8, 3));
    let y = net.block("block", |net| {
        let y = net.convolution(Reading::of(x).instance_norm("norm_0").relu(), Conv::same("conv_0", 8, 8, 3));
        net.convolution(Reading::of(y).instance_norm("norm_1").relu(), Conv::same("conv_1", 8, 8, 3))
    });
    net.output("result", y);
    let network = net.finish();
    let checkpoint = fill(&network, 1);
    let result = |recomputes: bool| {
        let module = Module::load(device(), &network, &checkpoint).unwrap().in_training(recomputes);
        let x = Tensor::new(device(), &[1, 3, 5, 6], &inputs(&network, 1, [5, 6])[0]).unwrap().requires_grad();
        let y = module.forward(&[Feed::Tensor(x.clone())], Noise::None).unwrap().remove(0);
        let cotangent = Tensor::new(device(), &[1, 8, 5, 6], &Random::new(7).array(&[1, 8, 5, 6]).to_f32()).unwrap();
        let values = y.to_vec().unwrap();
        let gradients = y.backward(&cotangent).unwrap();
        (values, gradients.get(&x).unwrap().to_vec().unwrap())
    };
    assert!(result(true) == result(false));
}

/// Every learned parameter has a gradient from some output.
#[test]
fn gradients_reach_every_parameter() {
    for network in networks() {
        let checkpoint = initialize(&network, 1.0, 3);
        let learned = |key: &str| network.parameters().iter().any(|p| p.key == key && p.kind.is_learned());
        let mut leaves = Vec::new();
        let module = Module::from_state(network.clone(), |key, shape| {
            let tensor = Tensor::new(device(), shape, &checkpoint.get(key).unwrap().to_f32()?)?;
            let tensor = if learned(key) { tensor.requires_grad() } else { tensor };
            leaves.extend(learned(key).then(|| (key.to_owned(), tensor.clone())));
            Ok(tensor)
        });
        let module = module.unwrap();
        let size @ [h, w] = [32, 48];
        let feed = |(input, x): (&alias_model::network::Input, Vec<f32>)| {
            Feed::Tensor(Tensor::new(device(), &[1, input.channels, h, w], &x).unwrap())
        };
        let feeds: Vec<Feed> = network.inputs().iter().zip(inputs(&network, 1, size)).map(feed).collect();
        let outputs = module.forward(&feeds, Noise::None).unwrap();
        let mut reached = vec![false; leaves.len()];
        for (seed, output) in outputs.into_iter().enumerate() {
            let cotangent = Random::new(seed as u64).array(&output.shape()).to_f32();
            let cotangent = Tensor::new(device(), &output.shape(), &cotangent).unwrap();
            let gradients = output.backward(&cotangent).unwrap();
            for ((_, leaf), reached) in leaves.iter().zip(&mut reached) {
                let gradient = gradients.get(leaf).map(|g| g.to_vec().unwrap()).unwrap_or_default();
                assert!(gradient.iter().all(|g| g.is_finite()));
                *reached |= gradient.iter().any(|g| *g != 0.0);
            }
        }
        let missed: Vec<_> =
            leaves.iter().zip(reached).filter(|(_, reached)| !reached).map(|((key, _), _)| key).collect();
        assert!(missed.is_empty(), "{}: no gradient of {missed:?}", network.name());
    }
}

/// Layers that plans or the tape do not support are refused by name, and so are sizes that a layer cannot read.
#[test]
fn what_cannot_be_run_is_refused_by_name() {
    use alias_model::network::{Builder, Conv, Linear, Reading};
    let of = |layer: &dyn Fn(&mut Builder, alias_model::network::Value) -> alias_model::network::Value| {
        let mut net = Builder::new("Test");
        let image = net.input("image", 4);
        let first = net.convolution(Reading::of(image), Conv::same("first", 4, 4, 3));
        let last = layer(&mut net, first);
        net.output("last", last);
        net.finish()
    };
    let prepare = |network: &Network, [h, w]: [usize; 2]| {
        let cores = Device::cores(CpuOptions::default()).unwrap();
        let session = Session::load(cores, network, &fill(network, 1))?;
        session.plan_and_prepare(&Conditioning::size(1, h, w), PlanOptions::default())
    };
    let refused = |network: &Network, size| prepare(network, size).unwrap_err().to_string();

    let early = of(&|net, x| net.convolution(Reading::of(x).relu().instance_norm("norm"), Conv::same("last", 4, 4, 3)));
    let error = refused(&early, [8, 8]);
    assert!(error.contains("Test, layer last") && error.contains("activation before a norm"), "{error}");
    assert!(Module::load(device(), &early, &fill(&early, 1)).is_ok(), "the tape has it");

    let large = of(&|net, x| net.convolution(Reading::of(x), Conv::same("last", 4, 4, 5)));
    let error = refused(&large, [8, 8]);
    assert!(error.contains("layer last: a kernel of 5x5"), "{error}");
    let error = Module::load(device(), &large, &fill(&large, 1)).unwrap_err().to_string();
    assert!(error.contains("Test, layer last: 5x5 of stride 1"), "{error}");

    let halved = of(&|net, x| net.convolution(Reading::of(x.resized(-2)), Conv::same("last", 4, 4, 3)));
    let error = refused(&halved, [8, 10]);
    assert!(error.contains("layer last: it divides 8x10 by 4"), "{error}");

    let kept = of(&|net, x| {
        let y = net.convolution(Reading::of(x), Conv::same("y", 4, 4, 3));
        let y = net.add(y, x);
        let z = net.convolution(Reading::of(y), Conv::same("z", 4, 4, 3));
        net.add(z, x)
    });
    let error = refused(&kept, [8, 8]);
    assert!(error.contains("layer y") && error.contains("needed again"), "{error}");

    let linear = |inputs| of(&|net, x| net.linear(Reading::of(x), Linear::new("last", inputs, 5)));
    assert!(prepare(&linear(4 * 8 * 8), [8, 8]).is_ok());
    let error = refused(&linear(7), [8, 8]);
    assert!(error.contains("layer last: it reads 256 elements, not 7"), "{error}");

    let normalized = of(&|net, x| net.l2_normalize("last", Reading::of(x).relu()));
    let error = refused(&normalized, [8, 8]);
    assert!(error.contains("layer last") && error.contains("anything but tensors as they are"), "{error}");
    assert!(Module::load(device(), &normalized, &fill(&normalized, 1)).is_ok(), "the tape has it");

    let pixels = of(&|net, x| net.correlation("last", x, x, 64));
    assert!(prepare(&pixels, [8, 8]).is_ok());
    let error = refused(&pixels, [8, 16]);
    assert!(error.contains("layer last: it reads 8x16 pixels, not 64"), "{error}");

    let sum = of(&|net, x| {
        let y = net.convolution(Reading::of(x), Conv::same("last", 4, 4, 3));
        net.add(y, alias_model::network::Value::Input(0))
    });
    let error = refused(&sum, [8, 8]);
    assert!(error.contains("layer last") && error.contains("a skip connection from an input"), "{error}");

    let activated = of(&|net, x| {
        let reading = Reading { before: alias_model::network::Activation::LeakyRelu { slope: 0.5 }, ..Reading::of(x) };
        net.convolution(reading, Conv::same("last", 4, 4, 3))
    });
    let error = refused(&activated, [8, 8]);
    assert!(error.contains("layer last") && error.contains("activation before a norm"), "{error}");

    let fits = of(&|net, x| net.convolution(Reading::of(x), Conv::same("last", 4, 4, 3)));
    assert!(refused(&fits, [0, 8]).contains("at least 1 pixel"));
    let session = || Session::load(Device::cores(CpuOptions::default()).unwrap(), &fits, &fill(&fits, 1)).unwrap();
    let planned = session().plan(&Conditioning::size(1, 8, 8), PlanOptions::default()).unwrap();
    let error = session().prepare(planned).unwrap_err().to_string();
    assert!(error.contains("made by another session"), "{error}");
    let prepared = prepare(&fits, [8, 8]).unwrap();
    let run = |inputs: &[(&str, &[f32])], noise| prepared.run(inputs, noise).unwrap_err().to_string();
    assert!(run(&[("picture", &[0.0; 256])], Noise::None).contains("no input 'picture'; the inputs are [\"image\"]"));
    assert!(run(&[("image", &[0.0; 255])], Noise::None).contains("image has 255 elements, not the 256"));
    assert!(run(&[], Noise::None).contains("'image'"));
    assert!(run(&[("image", &[0.0; 256]), ("image", &[1.0; 256])], Noise::None).contains("'image' is given twice"));
    let stray = Conditioning::size(1, 8, 8).with_labels(9, 3, &[0; 64]).unwrap();
    let error = session().plan(&stray, PlanOptions::default()).unwrap_err().to_string();
    assert!(error.contains("no input 'number 9'; the inputs are [\"image (Activations)\"]"), "{error}");
    assert!(run(&[("image", &[0.0; 256])], Noise::Seed(1)).contains("made without noise"));
}

/// On the tape, a linear layer multiplies all elements of (C, H, W), in this order.
#[test]
fn a_linear_layer_is_a_product_with_all_elements() {
    use alias_model::network::{Builder, Linear, Reading};
    let mut net = Builder::new("Linear");
    let image = net.input("image", 2);
    let linear = Linear::new("linear", 2 * 3 * 4, 5);
    let result = net.linear(Reading::of(image), linear);
    net.output("result", result);
    let network = net.finish();
    let checkpoint = fill(&network, 1);
    let (batch, size) = (3, [3, 4]);
    let got = on_tape(&network, &checkpoint, batch, size)[0].to_vec().unwrap();
    let [weight, bias] = ["linear.weight", "linear.bias"].map(|key| checkpoint.get(key).unwrap().to_f64().unwrap());
    let x = inputs(&network, batch, size).remove(0);
    let product = |n: usize, k: usize| -> f64 {
        let terms = x[n * 24..][..24].iter().zip(&weight[k * 24..]).map(|(&x, w)| f64::from(x) * w);
        terms.sum::<f64>() + bias[k]
    };
    let want: Vec<f64> = (0..batch * 5).map(|at| product(at / 5, at % 5)).collect();
    assert!(relative_l2(&got, &want) < 3e-7);
}

/// What a description cannot mean is refused where it is made, by the name of the layer.
#[test]
fn a_description_that_means_nothing_is_refused() {
    use alias_model::network::{Activation, Builder, Conv, Reading, Value};
    let refused = |expected: &str, describe: &dyn Fn(&mut Builder, Value)| {
        let building = std::panic::AssertUnwindSafe(|| {
            let mut net = Builder::new("Test");
            let image = net.input("image", 4);
            describe(&mut net, image);
            net.finish()
        });
        let panic = std::panic::catch_unwind(building).expect_err(expected);
        let said =
            panic.downcast::<String>().map_or_else(|panic| panic.downcast::<&str>().unwrap().to_string(), |s| *s);
        assert!(said.contains(expected), "{said}");
    };
    let same = |key: &str| Conv::same(key, 4, 4, 3);
    refused("has no output", &|net, x| {
        net.convolution(Reading::of(x), same("a"));
    });
    for stride in [0, 17, usize::MAX] {
        refused("a: its stride is", &|net, x| {
            net.convolution(Reading::of(x), Conv { stride, ..same("a") });
        });
    }
    refused("a kernel no larger than its padding", &|net, x| {
        net.convolution(Reading::of(x), Conv { padding: usize::MAX / 2, ..same("a") });
    });
    refused("a: it reads nothing", &|net, x| {
        net.convolution(Reading { sources: Vec::new(), ..Reading::of(x) }, same("a"));
    });
    refused("a: it zooms", &|net, x| {
        net.convolution(Reading::of(x.resized(40)), same("a"));
    });
    refused("slope of its leaky ReLU is 2", &|net, x| {
        net.convolution(Reading::of(x).leaky_relu(2.0), same("a"));
    });
    refused("slope of its leaky ReLU is -1", &|net, x| {
        let a = net.convolution(Reading::of(x), same("a"));
        net.activate(a, Activation::LeakyRelu { slope: -1.0 });
    });
    refused("already has a norm", &|_, x| drop(Reading::of(x).instance_norm("a").relu().instance_norm("b")));
    refused("already has an activation", &|_, x| drop(Reading::of(x).relu().leaky_relu(0.2)));
    refused("tanh and sigmoid can only", &|net, x| {
        net.convolution(Reading::of(x).activation(Activation::Tanh), same("a"));
    });
    refused("comes from a later layer", &|net, x| {
        let a = net.convolution(Reading::of(x), same("a"));
        net.add(a, a);
    });
    refused("two parameters are called", &|net, x| {
        for _ in 0..2 {
            let a = net.convolution(Reading::of(x), same("a"));
            net.output(format!("{a:?}"), a);
        }
    });
    refused("two norms are called", &|net, x| {
        let a = net.convolution(Reading::of(x).instance_norm("norm"), same("a"));
        let b = net.convolution(Reading::of(a).instance_norm("norm"), same("b"));
        net.output("b", b);
    });
    refused("two outputs are called", &|net, x| {
        let a = net.convolution(Reading::of(x), same("a"));
        net.output("a", a);
        net.output("a", a);
    });
    refused("last: it reads a tensor inside block block", &|net, x| {
        let mut inside = x;
        let end = net.block("block", |net| {
            inside = net.convolution(Reading::of(x), same("a"));
            net.convolution(Reading::of(inside), same("b"))
        });
        let last = net.convolution(Reading::of(end).and(inside), Conv::same("last", 8, 4, 3));
        net.output("last", last);
    });
}
