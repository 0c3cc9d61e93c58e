// Instance norm.   y = (x - mean) rstd,   rstd = 1 / sqrt(var + eps): mean and biased var of each plane
// Everything is computed on x minus the plane's first pixel: for a few nearly equal pixels far from zero, the rounding
// error of the mean would exceed their variation.
override WG: u32 = 256;

struct Params { planes: u32, plane: u32, eps: f32 } // planes: N C, plane: H W

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;                      // (planes, plane)

// statistics: one workgroup per plane. Two passes: E[x^2] - E[x]^2 would cancel.
@group(0) @binding(2) var<storage, read_write> statistics_out: array<vec2f>; // (planes) mean minus the first pixel, rstd

@compute @workgroup_size(WG)
fn statistics(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = group_index(wg, nwg);
    if plane >= p.planes { return; }
    let start = plane * p.plane;
    var sum = vec4f();
    for (var i = lane; i < p.plane; i += WG) { sum.x += x[start + i] - x[start]; }
    let mean = workgroup_sum(sum, lane).x / f32(p.plane);
    sum = vec4f();
    for (var i = lane; i < p.plane; i += WG) {
        let d = x[start + i] - x[start] - mean;
        sum.x += d * d;
    }
    let variance = workgroup_sum(sum, lane).x / f32(p.plane);
    if lane == 0u { statistics_out[plane] = vec2f(mean, 1.0 / sqrt(variance + p.eps)); }
}

// forward
@group(0) @binding(2) var<storage, read> moments: array<vec2f>;              // (planes) mean minus the first pixel, rstd
@group(0) @binding(3) var<storage, read_write> y: array<f32>;                // (planes, plane)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.planes * p.plane { return; }
    let plane = i / p.plane;
    let m = moments[plane];
    y[i] = (x[i] - x[plane * p.plane] - m.x) * m.y;
}

// backward: one workgroup per plane.   dx = rstd (dy - mean(dy) - y mean(dy y))
@group(0) @binding(1) var<storage, read> saved_y: array<f32>;                // (planes, plane)
@group(0) @binding(3) var<storage, read> dy: array<f32>;                     // (planes, plane)
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;               // (planes, plane)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = group_index(wg, nwg);
    if plane >= p.planes { return; }
    let start = plane * p.plane;
    let rstd = moments[plane].y;
    var sum = vec4f();
    for (var i = lane; i < p.plane; i += WG) {
        let g = dy[start + i];
        sum += vec4f(g, g * saved_y[start + i], 0.0, 0.0);
    }
    let mean = workgroup_sum(sum, lane) / f32(p.plane);
    for (var i = lane; i < p.plane; i += WG) {
        dx[start + i] = rstd * (dy[start + i] - mean.x - saved_y[start + i] * mean.y);
    }
}
