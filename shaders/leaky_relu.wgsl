// Leaky ReLU.   y = x > 0 ? x : slope * x
override WG: u32 = 256;

struct Params { n: u32, slope: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (n)

// forward
@group(0) @binding(2) var<storage, read_write> y: array<f32>;        // (n)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    y[i] = select(p.slope * x[i], x[i], x[i] > 0.0);
}

// backward: x holds the input or, if the slope is positive, the output, which has the same sign
@group(0) @binding(2) var<storage, read> dy: array<f32>;             // (n)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;       // (n)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    dx[i] = select(p.slope * dy[i], dy[i], x[i] > 0.0);
}
