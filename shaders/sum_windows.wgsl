// Sum of the nine tap products of each 5x5 window r.   y[c, r] = bias[c] + sum over k of x[9 c + k, index[k, r] - 1]
// index[k, r] is the 3x3 window at tap k; taps with index 0 lie outside the image and add nothing.
override WG: u32 = 256;

struct Params { channels: u32, columns: u32, rows: u32, parts: u32 } // columns: 3x3 windows; rows: 5x5 windows

@group(0) @binding(0) var<uniform> p: Params;

// forward: one invocation per element of y
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (channels, 9, columns)
@group(0) @binding(2) var<storage, read> index: array<u32>;          // (9, rows)
@group(0) @binding(3) var<storage, read> bias: array<f32>;           // (channels)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;        // (channels, rows)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.channels * p.rows { return; }
    let r = i % p.rows;
    let c = i / p.rows;
    var sum = 0.0;
    for (var k = 0u; k < 9u; k++) {
        let column = index[k * p.rows + r];
        if column != 0u { sum += x[(9u * c + k) * p.columns + column - 1u]; }
    }
    y[i] = sum + bias[c];
}

// backward_parts: one invocation per channel and part of the inverse of index (sum_segments.rs).
//   partial[c, part] = sum of dy over the part's entries
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // (channels, rows)
@group(0) @binding(2) var<storage, read> part: array<vec2u>;         // (parts) first entry, one past the last
@group(0) @binding(3) var<storage, read> entry: array<u32>;          // (9 rows) k rows + r, by target
@group(0) @binding(4) var<storage, read_write> partial_out: array<f32>; // (channels, parts)

@compute @workgroup_size(WG)
fn backward_parts(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.channels * p.parts { return; }
    let range = part[i % p.parts];
    var sum = 0.0;
    for (var e = range.x; e < range.y; e++) { sum += dy[i / p.parts * p.rows + entry[e] % p.rows]; }
    partial_out[i] = sum;
}

// backward_bias: one workgroup per channel.   dbias[c] = sum over r of dy[c, r]
@group(0) @binding(2) var<storage, read_write> dbias: array<f32>;    // (channels)

@compute @workgroup_size(WG)
fn backward_bias(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let c = group_index(wg, nwg);
    if c >= p.channels { return; }
    var sum = vec4f();
    for (var r = lane; r < p.rows; r += WG) { sum.x += dy[c * p.rows + r]; }
    sum = workgroup_sum(sum, lane);
    if lane == 0u { dbias[c] = sum.x; }
}
