// Concatenation along channels, one launch per part.   y[n, offset + r] = x[n, r]
// A part of C channels takes C H W consecutive elements of each image n.
override WG: u32 = 256;

struct Params { batch: u32, part: u32, whole: u32, offset: u32 } // elements per image: in the part, in y, in y before the part

@group(0) @binding(0) var<uniform> p: Params;

// forward
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (batch, part)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;        // (batch, whole)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.part { return; }
    y[i / p.part * p.whole + p.offset + i % p.part] = x[i];
}

// backward
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // (batch, whole)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;       // (batch, part)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.part { return; }
    dx[i] = dy[i / p.part * p.whole + p.offset + i % p.part];
}
