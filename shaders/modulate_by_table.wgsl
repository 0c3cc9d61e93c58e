// SPADE modulation by table and leaky ReLU.   y[n, c, i] = leaky(x[n, c, i] (1 + gamma[c, e]) + beta[c, e]),
// e = entry[n, i] - 1,   leaky(v) = v > 0 ? v : slope v
// The table holds gamma of all channels, then beta.
override WG: u32 = 256;

struct Params { batch: u32, channels: u32, plane: u32, entries: u32, parts: u32, slope: f32 } // plane: H W

@group(0) @binding(0) var<uniform> p: Params;

// forward
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (batch, channels, plane)
@group(0) @binding(2) var<storage, read> table: array<f32>;          // (2, channels, entries)
@group(0) @binding(3) var<storage, read> entry: array<u32>;          // (batch, plane) of the table, from 1
@group(0) @binding(4) var<storage, read_write> y_out: array<f32>;    // (batch, channels, plane)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.channels * p.plane { return; }
    let n = i / (p.channels * p.plane);
    let at = i / p.plane % p.channels * p.entries + entry[n * p.plane + i % p.plane] - 1u;
    let v = x[i] * (1.0 + table[at]) + table[p.channels * p.entries + at];
    y_out[i] = select(p.slope * v, v, v > 0.0);
}

// backward by x.   dx = dv (1 + gamma),   dv = dy where y > 0, else slope dy, since y has the sign of v
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // (batch, channels, plane)
@group(0) @binding(4) var<storage, read> y: array<f32>;              // (batch, channels, plane)
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;       // (batch, channels, plane)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.channels * p.plane { return; }
    let n = i / (p.channels * p.plane);
    dx[i] = select(p.slope, 1.0, y[i] > 0.0) * dy[i] * (1.0 + table[i / p.plane % p.channels * p.entries + entry[n * p.plane + i % p.plane] - 1u]);
}

// backward_parts: one invocation per channel and part of the inverse of entry (sum_segments.rs).
//   partial = (sum dv x, sum dv) over the part's pixels
@group(0) @binding(2) var<storage, read> saved_x: array<f32>;        // (batch, channels, plane)
@group(0) @binding(3) var<storage, read> part: array<vec2u>;         // (parts) first place, one past the last
@group(0) @binding(5) var<storage, read> place: array<u32>;          // (batch plane) pixels, by table entry
@group(0) @binding(6) var<storage, read_write> partial: array<f32>;  // (2, channels, parts): by gamma, by beta

@compute @workgroup_size(WG)
fn backward_parts(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.channels * p.parts { return; }
    let c = i / p.parts;
    let range = part[i % p.parts];
    var sum = vec2f();
    for (var k = range.x; k < range.y; k++) {
        let pixel = place[k];
        let at = (pixel / p.plane * p.channels + c) * p.plane + pixel % p.plane;
        sum += select(p.slope, 1.0, y[at] > 0.0) * dy[at] * vec2f(saved_x[at], 1.0);
    }
    partial[i] = sum.x;
    partial[p.channels * p.parts + i] = sum.y;
}
