// Nearest resize by any factor.   y[oy, ox] = x[floor(oy h / oh), floor(ox w / ow)]
override WG: u32 = 256;

struct Params { planes: u32, h: u32, w: u32, oh: u32, ow: u32 }

@group(0) @binding(0) var<uniform> p: Params;

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
    y[i] = x[(plane * p.h + oy * p.h / p.oh) * p.w + ox * p.w / p.ow];
}

// backward: one invocation per element of dx, which sums dy over the copies of its pixel
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // (planes, oh, ow)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;       // (planes, h, w)

// The first of `outputs` pixels that copies pixel `source` of `inputs`, or a later one.
fn first_copy(source: u32, inputs: u32, outputs: u32) -> u32 {
    return (source * outputs + inputs - 1u) / inputs;
}

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.planes * p.h * p.w { return; }
    let ix = i % p.w;
    let iy = i / p.w % p.h;
    let plane = i / (p.w * p.h);
    var sum = 0.0;
    for (var oy = first_copy(iy, p.h, p.oh); oy < first_copy(iy + 1u, p.h, p.oh); oy++) {
        for (var ox = first_copy(ix, p.w, p.ow); ox < first_copy(ix + 1u, p.w, p.ow); ox++) {
            sum += dy[(plane * p.oh + oy) * p.ow + ox];
        }
    }
    dx[i] = sum;
}
