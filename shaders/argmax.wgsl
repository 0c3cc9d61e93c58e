// Argmax over channels.   y[i] = the first c with the largest x[c, i];   NaN is larger than every number
override WG: u32 = 256;

struct Params { batch: u32, channels: u32, plane: u32 } // plane: H W

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (batch, channels, plane)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;        // (batch, plane)

// forward: one invocation per pixel
@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.plane { return; }
    let start = i / p.plane * p.channels * p.plane + i % p.plane;
    var best = 0u;
    var largest = x[start];
    for (var c = 1u; c < p.channels; c++) {
        let v = x[start + c * p.plane];
        if v > largest || (is_nan(v) && !is_nan(largest)) {
            best = c;
            largest = v;
        }
    }
    y[i] = f32(best);
}
