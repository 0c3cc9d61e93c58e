// 3x3 average pooling, stride 2, padding 1 excluded from the mean.   y[oy, ox] = mean of x[2 oy - 1 .. 2 oy + 1, 2 ox - 1 .. 2 ox + 1]
override WG: u32 = 256;

struct Params { planes: u32, h: u32, w: u32, oh: u32, ow: u32 }

@group(0) @binding(0) var<uniform> p: Params;

// Number of input pixels, along a side of `length`, that output pixel `o` averages.
fn covered(o: u32, length: u32) -> u32 {
    return min(2u * o + 2u, length) - (max(2u * o, 1u) - 1u);
}

// forward: one invocation per element of y
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (planes, h, w)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;        // (planes, oh, ow)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.planes * p.oh * p.ow { return; }
    let ox = i % p.ow;
    let oy = i / p.ow % p.oh;
    let plane = i / (p.ow * p.oh);
    var sum = 0.0;
    for (var iy = max(2u * oy, 1u) - 1u; iy < min(2u * oy + 2u, p.h); iy++) {
        for (var ix = max(2u * ox, 1u) - 1u; ix < min(2u * ox + 2u, p.w); ix++) {
            sum += x[(plane * p.h + iy) * p.w + ix];
        }
    }
    y[i] = sum / f32(covered(oy, p.h) * covered(ox, p.w));
}

// backward: one invocation per element of dx, which gathers from the one or two output pixels a side that average it
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // (planes, oh, ow)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;       // (planes, h, w)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.planes * p.h * p.w { return; }
    let ix = i % p.w;
    let iy = i / p.w % p.h;
    let plane = i / (p.w * p.h);
    var sum = 0.0;
    for (var oy = iy / 2u; oy < min((iy + 1u) / 2u + 1u, p.oh); oy++) {
        for (var ox = ix / 2u; ox < min((ix + 1u) / 2u + 1u, p.ow); ox++) {
            sum += dy[(plane * p.oh + oy) * p.ow + ox] / f32(covered(oy, p.h) * covered(ox, p.w));
        }
    }
    dx[i] = sum;
}
