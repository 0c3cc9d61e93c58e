// Gaussian noise: one plane per image, scaled for each channel.   y[n, c, i] = x[n, c, i] + scale[c] z[n, i]
override WG: u32 = 256;

struct Params { batch: u32, channels: u32, plane: u32, stream: u32, seed_low: u32, seed_high: u32, share: u32 } // plane: H W

@group(0) @binding(0) var<uniform> p: Params;

// draw_seeded: one invocation per four elements of z, which one Philox block gives. The seed is in a buffer, so that a
// recorded launch can run with another one.
@group(0) @binding(1) var<storage, read> seed: array<u32>;           // (2): low, high
@group(0) @binding(2) var<storage, read_write> plane_out: array<f32>; // (batch, plane)

@compute @workgroup_size(WG)
fn draw_seeded(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let block = thread_index(wg, nwg, lane);
    let n = p.batch * p.plane;
    if 4u * block >= n { return; }
    let z4 = philox_normal(vec2u(seed[0], seed[1]), p.stream, block);
    for (var k = 0u; k < min(4u, n - 4u * block); k++) { plane_out[4u * block + k] = z4[k]; }
}

// forward: one invocation per four elements of z and `share` channels, which use the same Philox block
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (batch, channels, plane)
@group(0) @binding(2) var<storage, read> scale: array<f32>;          // (channels)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;        // (batch, channels, plane)
@group(0) @binding(4) var<storage, read_write> z_out: array<f32>;    // (batch, plane)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let k = thread_index(wg, nwg, lane);
    let elements = p.batch * p.plane;
    let blocks = (elements + 3u) / 4u;
    let block = k % blocks;
    let first = k / blocks * p.share;
    if first >= p.channels { return; }
    let z4 = philox_normal(vec2u(p.seed_low, p.seed_high), p.stream, block);
    for (var j = 0u; j < min(4u, elements - 4u * block); j++) {
        let at = 4u * block + j;
        if first == 0u { z_out[at] = z4[j]; }
        let start = at / p.plane * p.channels * p.plane + at % p.plane;
        for (var c = first; c < min(first + p.share, p.channels); c++) {
            let i = start + c * p.plane;
            y[i] = x[i] + scale[c] * z4[j];
        }
    }
}

// backward by scale: one workgroup per channel.   dscale[c] = sum dy z. The gradient by x is dy itself.
@group(0) @binding(1) var<storage, read> z: array<f32>;              // (batch, plane)
@group(0) @binding(2) var<storage, read> dy: array<f32>;             // (batch, channels, plane)
@group(0) @binding(3) var<storage, read_write> dscale: array<f32>;   // (channels)

@compute @workgroup_size(WG)
fn backward_scale(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let c = group_index(wg, nwg);
    if c >= p.channels { return; }
    var sum = vec4f();
    for (var n = 0u; n < p.batch; n++) {
        for (var i = lane; i < p.plane; i += WG) {
            sum.x += dy[(n * p.channels + c) * p.plane + i] * z[n * p.plane + i];
        }
    }
    sum = workgroup_sum(sum, lane);
    if lane == 0u { dscale[c] = sum.x; }
}
