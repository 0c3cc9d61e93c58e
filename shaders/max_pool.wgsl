// 2x2 max pooling, stride 2; drops an odd last row or column.   y[oy, ox] = max of x[2 oy .. 2 oy + 1, 2 ox .. 2 ox + 1]
override WG: u32 = 256;

struct Params { planes: u32, h: u32, w: u32, oh: u32, ow: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (planes, h, w)

// Index in x of the maximum for an output pixel, as in PyTorch: a NaN if there is one, else the first in row-major order.
fn argmax(plane: u32, oy: u32, ox: u32) -> u32 {
    let first = (plane * p.h + 2u * oy) * p.w + 2u * ox;
    var best = first;
    for (var k = 1u; k < 4u; k++) {
        let candidate = first + k / 2u * p.w + k % 2u;
        if x[candidate] > x[best] || is_nan(x[candidate]) { best = candidate; }
    }
    return best;
}

// forward: one invocation per element of y
@group(0) @binding(2) var<storage, read_write> y: array<f32>;        // (planes, oh, ow)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.planes * p.oh * p.ow { return; }
    y[i] = x[argmax(i / (p.ow * p.oh), i / p.ow % p.oh, i % p.ow)];
}

// backward: one invocation per element of dx, which gets dy if it was the maximum
@group(0) @binding(2) var<storage, read> dy: array<f32>;             // (planes, oh, ow)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;       // (planes, h, w)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.planes * p.h * p.w { return; }
    let ox = i % p.w / 2u;
    let oy = i / p.w % p.h / 2u;
    let plane = i / (p.w * p.h);
    var gradient = 0.0;
    if oy < p.oh && ox < p.ow {
        if argmax(plane, oy, ox) == i { gradient = dy[(plane * p.oh + oy) * p.ow + ox]; }
    }
    dx[i] = gradient;
}
