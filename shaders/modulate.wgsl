// SPADE modulation and leaky ReLU.   y = leaky(x (1 + gamma) + beta),   leaky(v) = v > 0 ? v : slope v
override WG: u32 = 256;

struct Params { n: u32, slope: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (n)
@group(0) @binding(2) var<storage, read> gamma: array<f32>;          // (n)

// forward
@group(0) @binding(3) var<storage, read> beta: array<f32>;           // (n)
@group(0) @binding(4) var<storage, read_write> y_out: array<f32>;    // (n)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    let v = x[i] * (1.0 + gamma[i]) + beta[i];
    y_out[i] = select(p.slope * v, v, v > 0.0);
}

// backward
@group(0) @binding(3) var<storage, read> y: array<f32>;              // (n), which has the sign of what leaky is applied to
@group(0) @binding(4) var<storage, read> dy: array<f32>;             // (n)
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;       // (n)
@group(0) @binding(6) var<storage, read_write> dgamma: array<f32>;   // (n)
@group(0) @binding(7) var<storage, read_write> dbeta: array<f32>;    // (n)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    let dv = select(p.slope * dy[i], dy[i], y[i] > 0.0);
    dx[i] = dv * (1.0 + gamma[i]);
    dgamma[i] = dv * x[i];
    dbeta[i] = dv;
}
