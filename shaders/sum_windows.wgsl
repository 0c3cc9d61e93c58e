// Sum of the nine tap products of each 5x5 window e.   y[c, e] = bias[c] + sum over k of x[9 c + k, index[k, e] - 1]
// The channels are those of one convolution, then as many of a second one; each has a bias of its own.
// index[k, e] is the 3x3 window at tap k; taps with index 0 lie outside the image and add nothing.
override WG: u32 = 256;

struct Params { channels: u32, columns: u32, entries: u32, parts: u32 } // columns: 3x3 windows; entries: 5x5 windows

@group(0) @binding(0) var<uniform> p: Params;

// forward: one invocation per element of y
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (channels, 9, columns)
@group(0) @binding(2) var<storage, read> index: array<u32>;          // (9, entries)
@group(0) @binding(3) var<storage, read> first: array<f32>;          // (channels / 2): the bias of the first
@group(0) @binding(4) var<storage, read> second: array<f32>;         // (channels / 2)
@group(0) @binding(5) var<storage, read_write> y: array<f32>;        // (channels, entries)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.channels * p.entries { return; }
    let e = i % p.entries;
    let c = i / p.entries;
    var sum = 0.0;
    for (var k = 0u; k < 9u; k++) {
        let column = index[k * p.entries + e];
        if column != 0u { sum += x[(9u * c + k) * p.columns + column - 1u]; }
    }
    let half = p.channels / 2u;
    if c < half { y[i] = sum + first[c]; } else { y[i] = sum + second[c - half]; }
}

// backward_parts: one invocation per channel and part of the inverse of index (sum_segments.rs).
//   partial[c, part] = sum of dy over the part's places
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // (channels, entries)
@group(0) @binding(2) var<storage, read> part: array<vec2u>;         // (parts) first place, one past the last
@group(0) @binding(3) var<storage, read> place: array<u32>;          // (9 entries) k entries + e, by target
@group(0) @binding(4) var<storage, read_write> partial_out: array<f32>; // (channels, parts)

@compute @workgroup_size(WG)
fn backward_parts(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.channels * p.parts { return; }
    let range = part[i % p.parts];
    var sum = 0.0;
    for (var k = range.x; k < range.y; k++) { sum += dy[i / p.parts * p.entries + place[k] % p.entries]; }
    partial_out[i] = sum;
}

// backward_bias: one workgroup per channel.   dbias[c] = sum over e of dy[c, e]
@group(0) @binding(2) var<storage, read_write> dfirst: array<f32>;   // (channels / 2)
@group(0) @binding(3) var<storage, read_write> dsecond: array<f32>;  // (channels / 2)

@compute @workgroup_size(WG)
fn backward_bias(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let c = group_index(wg, nwg);
    if c >= p.channels { return; }
    var sum = vec4f();
    for (var e = lane; e < p.entries; e += WG) { sum.x += dy[c * p.entries + e]; }
    sum = workgroup_sum(sum, lane);
    if lane != 0u { return; }
    let half = p.channels / 2u;
    if c < half { dfirst[c] = sum.x; } else { dsecond[c - half] = sum.x; }
}
