// Absolute difference; its mean is the L1 loss.   y = |a - b|
override WG: u32 = 256;

struct Params { n: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;              // (n)
@group(0) @binding(2) var<storage, read> b: array<f32>;              // (n)

// forward
@group(0) @binding(3) var<storage, read_write> y: array<f32>;        // (n)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    y[i] = abs(a[i] - b[i]);
}

// backward.   da = sign(a - b) dy,   db = -da
@group(0) @binding(3) var<storage, read> dy: array<f32>;             // (n)
@group(0) @binding(4) var<storage, read_write> da: array<f32>;       // (n)
@group(0) @binding(5) var<storage, read_write> db: array<f32>;       // (n)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    let gradient = sign(a[i] - b[i]) * dy[i];
    da[i] = gradient;
    db[i] = -gradient;
}
