//! The autograd tape: which tensors get gradients, their values, and the memory that they take.

use alias_kernels::{add, concat, conv2d, leaky_relu, mul, scale, slice, sum};
use alias_oracle::{device, own_devices};
use alias_tensor::{Pass, Tensor, no_grad};
use std::sync::{Arc, Mutex};

fn leaf(values: &[f32]) -> Tensor {
    Tensor::new(device(), &[values.len()], values).unwrap().requires_grad()
}

fn constant(shape: &[usize], value: f32) -> Tensor {
    Tensor::new(device(), shape, &vec![value; shape.iter().product()]).unwrap()
}

/// The gradient of `<y, cotangent>` by `x`.
fn gradient(y: &Tensor, cotangent: &[f32], x: &Tensor) -> Option<Vec<f32>> {
    let cotangent = Tensor::new(device(), &y.shape(), cotangent).unwrap();
    y.clone().backward(&cotangent).unwrap().get(x).map(|g| g.to_vec().unwrap())
}

#[test]
fn a_tensor_used_twice_gets_both_gradients() {
    let x = leaf(&[2.0, -3.0]);
    assert_eq!(gradient(&mul(&x, &x).unwrap(), &[1.0, 0.5], &x).unwrap(), [4.0, -3.0]);
    assert_eq!(gradient(&add(&x, &x).unwrap(), &[1.0, 0.5], &x).unwrap(), [2.0, 1.0]);
}

#[test]
fn branches_add_up_and_each_node_runs_once() {
    let device = own_devices().pop().expect("there is a device");
    let x = Tensor::new(&device, &[2], &[1.0, -2.0]).unwrap().requires_grad();
    let shared = scale(&x, 3.0).unwrap();
    // `shared` reaches the result by three paths of different lengths
    let y = add(&add(&shared, &scale(&shared, 2.0).unwrap()).unwrap(), &leaky_relu(&shared, 0.5).unwrap()).unwrap();
    let cotangent = Tensor::new(&device, &[2], &[1.0, 10.0]).unwrap();
    let before = device.counters().launches;
    let gradient = y.backward(&cotangent).unwrap().get(&x).unwrap().to_vec().unwrap();
    assert_eq!(gradient, [12.0, 105.0]);
    assert_eq!(
        device.counters().launches,
        before + 5,
        "a leaky ReLU, two scalings, two accumulations, and nothing twice"
    );
}

#[test]
fn a_gradient_shared_by_two_parents_is_not_overwritten() {
    let (a, b) = (leaf(&[1.0]), leaf(&[2.0]));
    // `add` gives both parents the same gradient tensor; `a` then accumulates a second one.
    let y = add(&add(&a, &b).unwrap(), &a).unwrap();
    let gradients = y.backward(&constant(&[1], 1.0)).unwrap();
    assert_eq!(gradients.get(&a).unwrap().to_vec().unwrap(), [2.0]);
    assert_eq!(gradients.get(&b).unwrap().to_vec().unwrap(), [1.0]);
}

#[test]
fn a_bias_gets_the_sum_over_images_and_pixels() {
    let x = constant(&[2, 3, 4, 5], 0.5);
    let weight = constant(&[2, 3, 1, 1], 0.25);
    let bias = leaf(&[1.0, -1.0]);
    let y = conv2d(&x, &weight, Some(&bias), 1, 0).unwrap();
    let mut cotangent = vec![1.0; 2 * 2 * 20];
    cotangent[20..40].fill(3.0);
    assert_eq!(gradient(&y, &cotangent, &bias).unwrap(), [40.0, 80.0]);
}

#[test]
fn slices_of_a_concatenation_find_their_way_back() {
    let (a, b) = (constant(&[1, 2, 1, 1], 1.0).requires_grad(), constant(&[1, 1, 1, 1], 2.0).requires_grad());
    let y = slice(&concat(&[&a, &b]).unwrap(), 1..3).unwrap();
    let gradients = y.backward(&Tensor::new(device(), &[1, 2, 1, 1], &[5.0, 7.0]).unwrap()).unwrap();
    assert_eq!(gradients.get(&a).unwrap().to_vec().unwrap(), [0.0, 5.0]);
    assert_eq!(gradients.get(&b).unwrap().to_vec().unwrap(), [7.0]);
}

#[test]
fn what_is_not_tracked_gets_nothing() {
    let (x, other) = (leaf(&[1.0]), leaf(&[1.0]));
    let y = mul(&x, &constant(&[1], 4.0)).unwrap();
    assert!(gradient(&y, &[1.0], &other).is_none());
    assert!(!no_grad(|| scale(&x, 2.0).unwrap()).is_tracked());
    assert!(scale(&x, 2.0).unwrap().is_tracked(), "recording goes on after no_grad");
    assert!(!y.detach().is_tracked());
    assert!(!scale(&y.detach(), 2.0).unwrap().is_tracked());
}

#[test]
fn no_grad_ends_where_it_panics() {
    let result = std::panic::catch_unwind(|| no_grad(|| panic!("on purpose")));
    assert!(result.is_err());
    assert!(scale(&leaf(&[1.0]), 2.0).unwrap().is_tracked());
}

#[test]
fn gradients_of_several_passes_accumulate() {
    let x = leaf(&[1.0, 2.0]);
    let y = mul(&x, &x).unwrap();
    let one = constant(&[2], 1.0);
    let mut gradients = y.clone().backward(&one).unwrap();
    // The clone kept the graph alive, so a second pass gives the same gradients.
    gradients.accumulate(y.backward(&one).unwrap()).unwrap();
    assert_eq!(gradients.get(&x).unwrap().to_vec().unwrap(), [4.0, 8.0]);
}

/// A chain of ten layers. The gradient of each needs its input.
fn chain(x: &Tensor) -> alias_tensor::Result<Tensor> {
    (0..10).try_fold(x.clone(), |y, _| mul(&y, &scale(&y, 0.5)?))
}

/// Activations are freed as the backward pass goes, so that gradients reuse their memory.
#[test]
fn backward_gives_back_what_it_has_passed() {
    let growth = |keeps: bool| {
        let device = own_devices().pop().expect("there is a device");
        let tensor = |value: f32| Tensor::new(&device, &[1 << 10], &[value; 1 << 10]).unwrap();
        let weights: Vec<_> = (0..10).map(|_| tensor(0.5).requires_grad()).collect();
        let y = weights.iter().fold(tensor(1.0), |y, weight| mul(&y, weight).unwrap());
        let cotangent = tensor(1.0);
        let before = device.counters().live_bytes;
        let kept = keeps.then(|| y.clone());
        let gradients = y.backward(&cotangent).unwrap();
        assert!(weights.iter().all(|weight| gradients.get(weight).is_some()));
        drop(kept);
        (device.counters().peak_live_bytes - before) / (4 << 10)
    };
    assert!((10..13).contains(&growth(true)), "a gradient for each weight");
    assert!(growth(false) < 4, "{} tensors more than before", growth(false));
}

#[test]
fn a_checkpoint_keeps_only_its_input_and_gives_the_same_gradients() {
    let run = |checkpointed: bool| {
        let device = own_devices().pop().expect("there is a device");
        let tensor = |value: f32| Tensor::new(&device, &[1 << 10], &[value; 1 << 10]).unwrap();
        // Both parts capture the weight, which is a parent of neither.
        let (x, weight) = (tensor(1.25).requires_grad(), tensor(0.75).requires_grad());
        let passes = Arc::new(Mutex::new(Vec::new()));
        let mut y = x.clone();
        for _ in 0..2 {
            let (weight, passes) = (weight.clone(), passes.clone());
            let part = move |x: &Tensor, pass| {
                passes.lock().unwrap().push(pass);
                chain(&mul(x, &weight)?)
            };
            y = if checkpointed { y.checkpoint(part).unwrap() } else { part(&y, Pass::First).unwrap() };
        }
        let held = device.counters().live_bytes;
        let gradients = y.backward(&tensor(1.0)).unwrap();
        let of = |leaf: &Tensor| gradients.get(leaf).unwrap().to_vec().unwrap();
        let passes = passes.lock().unwrap().clone();
        ([of(&x), of(&weight)], held / (4 << 10), passes)
    };
    let (expected, held, _) = run(false);
    assert_eq!(held, 2 + 2 * 21);
    let (got, held, passes) = run(true);
    assert_eq!(got, expected);
    assert_eq!(held, 2 + 2, "two leaves, and what each part gave");
    assert_eq!(passes, [Pass::First, Pass::First, Pass::Again, Pass::Again]);
}

#[test]
fn reshape_carries_the_gradient() {
    let x = leaf(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let y = x.reshape(&[1, 2, 3, 1]).unwrap();
    assert_eq!(gradient(&y, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &x).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let error = x.reshape(&[4]).unwrap_err().to_string();
    assert_eq!(error, "reshape: x has shape [6], expected as many elements as [4]");
}

#[test]
fn a_cotangent_of_another_shape_is_refused() {
    let y = sum(&leaf(&[1.0, 2.0])).unwrap();
    let error = y.backward(&constant(&[2], 1.0)).unwrap_err().to_string();
    assert_eq!(error, "backward: cotangent has shape [2], expected []");
}

/// Without a tracked leaf nothing would be trained, so a forgotten `requires_grad` is an error.
#[test]
fn what_depends_on_no_leaf_has_no_backward() {
    let x = constant(&[1], 1.0);
    let error = scale(&x, 2.0).unwrap().backward(&x).unwrap_err().to_string();
    assert_eq!(error, "backward: self is untracked, expected computed from a tensor that requires_grad");
}

/// Dropping or walking chains this long by recursion would overflow the stack. Some operations save their input.
#[test]
fn long_chains_need_no_stack() {
    let x = leaf(&[1.0]);
    let views = (0..20_000).fold(x.clone(), |y, _| y.reshape(&[1]).unwrap());
    assert_eq!(gradient(&views, &[3.0], &x).unwrap(), [3.0]);
    drop(views);
    drop((0..20_000).fold(x.clone(), |y, _| leaky_relu(&y, 0.5).unwrap()));
    drop((0..10_000).fold(x, |y, _| mul(&y, &y).unwrap()));
}
