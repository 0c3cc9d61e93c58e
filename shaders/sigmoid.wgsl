// Logistic sigmoid.   y = 1 / (1 + e^-x),   dx = dy y (1 - y)
override WG: u32 = 256;

struct Params { n: u32 }

@group(0) @binding(0) var<uniform> p: Params;

// forward
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (n)
@group(0) @binding(2) var<storage, read_write> y_out: array<f32>;    // (n)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    y_out[i] = precise_sigmoid(x[i]);
}

// backward
@group(0) @binding(1) var<storage, read> y: array<f32>;              // (n)
@group(0) @binding(2) var<storage, read> dy: array<f32>;             // (n)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;       // (n)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    dx[i] = dy[i] * y[i] * (1.0 - y[i]);
}
