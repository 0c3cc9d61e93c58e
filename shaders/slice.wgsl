// A range of channels.   y[n, r] = x[n, offset + r]
// The range takes consecutive elements of each image n.
override WG: u32 = 256;

struct Params { batch: u32, part: u32, whole: u32, offset: u32 } // elements per image: in y, in x, in x before the slice

@group(0) @binding(0) var<uniform> p: Params;

// forward: one invocation per element of y
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (batch, whole)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;        // (batch, part)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.part { return; }
    y[i] = x[i / p.part * p.whole + p.offset + i % p.part];
}

// backward: one invocation per element of dx, zero outside the slice
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // (batch, part)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;       // (batch, whole)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.whole { return; }
    let r = i % p.whole - p.offset; // before the slice it wraps around to a large number
    if r < p.part {
        dx[i] = dy[i / p.whole * p.part + r];
    } else {
        dx[i] = 0.0;
    }
}
