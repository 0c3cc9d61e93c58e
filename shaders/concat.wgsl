// Concatenation along channels, one launch per two parts.   y[n, offset + r] = a[n, r],   y[n, offset + a + r] = b[n, r]
// A part of C channels takes C H W consecutive elements of each image n.
override WG: u32 = 256;

struct Params { batch: u32, a: u32, b: u32, whole: u32, offset: u32 } // elements per image: in a, in b, in y, in y before a

@group(0) @binding(0) var<uniform> p: Params;

// forward
@group(0) @binding(1) var<storage, read> a: array<f32>;              // (batch, a)
@group(0) @binding(2) var<storage, read> b: array<f32>;              // (batch, b)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;        // (batch, whole)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * (p.a + p.b) { return; }
    let n = i / (p.a + p.b);
    let r = i % (p.a + p.b);
    let at = n * p.whole + p.offset + r;
    if r < p.a { y[at] = a[n * p.a + r]; } else { y[at] = b[n * p.b + r - p.a]; }
}

// backward
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // (batch, whole)
@group(0) @binding(2) var<storage, read_write> da: array<f32>;       // (batch, a)
@group(0) @binding(3) var<storage, read_write> db: array<f32>;       // (batch, b)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * (p.a + p.b) { return; }
    let n = i / (p.a + p.b);
    let r = i % (p.a + p.b);
    let value = dy[n * p.whole + p.offset + r];
    if r < p.a { da[n * p.a + r] = value; } else { db[n * p.b + r - p.a] = value; }
}
