// Softplus.   y = ln(1 + e^x) = max(x, 0) + ln(1 + t),   t = e^-|x|;   dx = dy / (1 + e^-x)
override WG: u32 = 256;

struct Params { n: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (n)

// `precise_exp` is accurate down to -80, where e^x is negligible.
fn exp_of_minus_abs(v: f32) -> f32 {
    return precise_exp(-min(abs(v), 80.0));
}

// forward
@group(0) @binding(2) var<storage, read_write> y: array<f32>;        // (n)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    let t = exp_of_minus_abs(x[i]);
    var log1p: f32;
    if t < 0.41421356 { // sqrt(2) - 1
        log1p = precise_log(t, 0.0);
    } else {
        log1p = precise_log(0.5 * (t - 1.0), 1.0); // 1 + t = 2 (1 + (t - 1) / 2)
    }
    // `x <= 0` instead of `x > 0`, so that NaN, for which both are false, passes through.
    y[i] = select(x[i], 0.0, x[i] <= 0.0) + log1p;
}

// backward
@group(0) @binding(2) var<storage, read> dy: array<f32>;             // (n)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;       // (n)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    let t = exp_of_minus_abs(x[i]);
    dx[i] = dy[i] * select(1.0, t, x[i] < 0.0) / (1.0 + t);
}
