//! Tests each function of shaders/shared/math.wgsl: tests of operations would miss a wrong digit in a constant.

use alias_oracle::{Random, gpu};
use alias_shaders::shared::{GRID, MATH};
use alias_tensor::{Kernel, Tensor, Work};

/// One entry point for each function.
const SOURCE: &[&str] = &[
    "override WG: u32 = 256;
    struct Params { n: u32 }
    @group(0) @binding(0) var<uniform> p: Params;
    @group(0) @binding(1) var<storage, read> x: array<f32>;
    @group(0) @binding(2) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(WG)
    fn hyperbolic(
        @builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32
    ) {
        let i = thread_index(wg, nwg, lane);
        if i < p.n { y[i] = precise_tanh(x[i]); }
    }
    @compute @workgroup_size(WG)
    fn exponential(
        @builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32
    ) {
        let i = thread_index(wg, nwg, lane);
        if i < p.n { y[i] = precise_exp(x[i]); }
    }
    @compute @workgroup_size(WG)
    fn logistic(
        @builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32
    ) {
        let i = thread_index(wg, nwg, lane);
        if i < p.n { y[i] = precise_sigmoid(x[i]); }
    }
    @compute @workgroup_size(WG)
    fn natural_logarithm(
        @builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32
    ) {
        let i = thread_index(wg, nwg, lane);
        if i < p.n { y[i] = precise_ln(x[i]); }
    }
    @compute @workgroup_size(WG)
    fn logarithm(
        @builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32
    ) {
        let i = thread_index(wg, nwg, lane);
        if i < p.n { y[i] = log_of_uniform(u32(x[i]) * 2u + 1u); }
    }
    @compute @workgroup_size(WG)
    fn cosine(
        @builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32
    ) {
        let i = thread_index(wg, nwg, lane);
        if i < p.n { y[i] = cos_sin_of_turn(u32(x[i]) * 2u + 1u).x; }
    }
    @compute @workgroup_size(WG)
    fn sine(
        @builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32
    ) {
        let i = thread_index(wg, nwg, lane);
        if i < p.n { y[i] = cos_sin_of_turn(u32(x[i]) * 2u + 1u).y; }
    }
    ",
    GRID,
    MATH,
];

/// Largest error in units in the last place (float32) of the exact value, or of `floor` where that is larger.
fn worst(entry: &'static Kernel, x: &[f32], floor: f64, exact: impl Fn(f64) -> f64) -> f64 {
    let n = x.len();
    let (tx, ty) = (Tensor::new(gpu(), &[n], x).unwrap(), Tensor::empty(gpu(), &[n]).unwrap());
    gpu().launch(entry, &(n as u32), &[&tx], &[&ty], Work::threads(n)).unwrap();
    let y = ty.to_vec().unwrap();
    let ulps = |(&x, &y): (&f32, &f32)| {
        let want = exact(x.into());
        // 2^(e - 23) for 2^e <= |want| < 2^(e + 1)
        let ulp = 2f64.powi(want.abs().max(floor).log2().floor() as i32 - 23);
        let error = (f64::from(y) - want).abs() / ulp;
        if error.is_nan() { f64::INFINITY } else { error }
    };
    x.iter().zip(&y).map(ulps).fold(0.0, f64::max)
}

/// q of odd k = 2 q + 1 below 2^25: both ends, where the functions change branches, and many between.
fn uniforms() -> Vec<f32> {
    let mut random = Random::new(1);
    let corners = [
        0u32, 11_863_282, 8_388_607, 2_097_152, 4_194_304, 6_291_456, 8_388_608, 10_485_760, 12_582_912, 14_680_064,
        16_777_215,
    ];
    let near = corners.iter().flat_map(|&q| q.saturating_sub(8)..=(q + 8).min(16_777_215));
    let small = (0..24).map(|e| 1u32 << e);
    let many = (0..200_000).map(|_| (random.bits() >> 40) as u32);
    near.chain(small).chain(many).map(|q| q as f32).collect()
}

fn u(q: f64) -> f64 {
    (2.0 * q + 1.0) * 2f64.powi(-25)
}

#[test]
fn elementary_functions_are_exact_to_some_ulps() {
    static TANH: Kernel = Kernel::new("math", SOURCE, "hyperbolic");
    static EXP: Kernel = Kernel::new("math", SOURCE, "exponential");
    static SIGMOID: Kernel = Kernel::new("math", SOURCE, "logistic");
    static LN: Kernel = Kernel::new("math", SOURCE, "natural_logarithm");
    static LOG: Kernel = Kernel::new("math", SOURCE, "logarithm");
    static COS: Kernel = Kernel::new("math", SOURCE, "cosine");
    static SIN: Kernel = Kernel::new("math", SOURCE, "sine");
    let mut random = Random::new(1);
    let mut range = |scale: f64| -> Vec<f32> { (0..200_000).map(|_| (random.number() * scale) as f32).collect() };
    let mut tanh: Vec<f32> = range(1.0);
    tanh.extend(range(12.0));
    tanh.extend([0.625, -0.625, 0.62499994, 9.0, 10.0, 10.1, 1e-20]);
    // Around 1, where the result is close to 0, and over many powers of two.
    let mut ln: Vec<f32> = range(0.3).iter().map(|x| 1.0 + x).collect();
    ln.extend(range(85.0).iter().map(|x| x.exp()));
    ln.extend([1.0, 0.99999994, 1.0000001, std::f32::consts::FRAC_1_SQRT_2, std::f32::consts::SQRT_2, 1e-37]);
    let errors = [
        ("tanh", worst(&TANH, &tanh, 1e-30, f64::tanh), 2.0),
        ("exp", worst(&EXP, &range(87.0), 1e-30, f64::exp), 2.0),
        ("exp around 0", worst(&EXP, &range(0.35), 1e-30, f64::exp), 2.0),
        ("sigmoid", worst(&SIGMOID, &range(87.0), 1e-37, |x| 1.0 / (1.0 + (-x).exp())), 2.5),
        ("sigmoid around 0", worst(&SIGMOID, &range(2.0), 1e-30, |x| 1.0 / (1.0 + (-x).exp())), 2.5),
        ("ln", worst(&LN, &ln, 1e-30, f64::ln), 4.0),
        ("log", worst(&LOG, &uniforms(), 1e-30, |q| u(q).ln()), 4.0),
        // The floor makes the bound absolute near a zero, where the rounding of the angle dominates.
        ("cos", worst(&COS, &uniforms(), 0.25, |q| (std::f64::consts::TAU * u(q)).cos()), 4.0),
        ("sin", worst(&SIN, &uniforms(), 0.25, |q| (std::f64::consts::TAU * u(q)).sin()), 4.0),
    ];
    for (name, error, bar) in errors {
        assert!(error <= bar, "{name}: {error:.2} ulps, not {bar}; all: {errors:.2?}");
    }
}
