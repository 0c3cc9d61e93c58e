// Instance norm and leaky ReLU.   y = leaky(v),   v = (x - mean) rstd,   rstd = 1 / sqrt(var + eps): mean and biased var of
// each plane;   leaky(v) = v > 0 ? v : slope v
// Everything is computed on x minus the plane's first pixel: for a few nearly equal pixels far from zero, the rounding
// error of the mean would exceed their variation.
override WG: u32 = 256;

struct Params { planes: u32, plane: u32, eps: f32, slope: f32, parts: u32, part: u32 } // planes: N C, plane: H W; parts: of a plane

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;                      // (planes, plane)

// forward: one workgroup per plane. Two passes for the statistics: E[x^2] - E[x]^2 would cancel.
@group(0) @binding(2) var<storage, read_write> statistics_out: array<vec2f>; // (planes) mean minus the first pixel, rstd
@group(0) @binding(3) var<storage, read_write> y: array<f32>;                // (planes, plane)

fn leaky(v: f32) -> f32 {
    return select(p.slope * v, v, v > 0.0);
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = group_index(wg, nwg);
    if plane >= p.planes { return; }
    let start = plane * p.plane;
    let origin = x[start];
    var sum = vec4f();
    for (var i = lane; i < p.plane; i += WG) { sum.x += x[start + i] - origin; }
    let mean = workgroup_sum(sum, lane).x / f32(p.plane);
    sum = vec4f();
    for (var i = lane; i < p.plane; i += WG) {
        let d = x[start + i] - origin - mean;
        sum.x += d * d;
    }
    let variance = workgroup_sum(sum, lane).x / f32(p.plane);
    let rstd = 1.0 / sqrt(variance + p.eps);
    if lane == 0u { statistics_out[plane] = vec2f(mean, rstd); }
    for (var i = lane; i < p.plane; i += WG) { y[start + i] = leaky((x[start + i] - origin - mean) * rstd); }
}

// partial_statistics: one workgroup per part of `part` pixels, where planes are too few to fill a device
@group(0) @binding(2) var<storage, read_write> partial_out: array<vec2f>;    // (planes, parts) mean, sum of squared deviations

@compute @workgroup_size(WG)
fn partial_statistics(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let group = group_index(wg, nwg);
    if group >= p.planes * p.parts { return; }
    let start = group / p.parts * p.plane;
    let begin = start + group % p.parts * p.part;
    let end = min(begin + p.part, start + p.plane);
    var sum = vec4f();
    for (var i = begin + lane; i < end; i += WG) { sum.x += x[i] - x[start]; }
    let mean = workgroup_sum(sum, lane).x / f32(end - begin);
    sum = vec4f();
    for (var i = begin + lane; i < end; i += WG) {
        let d = x[i] - x[start] - mean;
        sum.x += d * d;
    }
    sum = workgroup_sum(sum, lane);
    if lane == 0u { partial_out[group] = vec2f(mean, sum.x); }
}

// merge_statistics: one invocation per plane, which merges its parts (Chan et al. 1979)
@group(0) @binding(1) var<storage, read> statistics_of_parts: array<vec2f>;  // (planes, parts)

@compute @workgroup_size(WG)
fn merge_statistics(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = thread_index(wg, nwg, lane);
    if plane >= p.planes { return; }
    var count = 0.0;
    var mean = 0.0;
    var spread = 0.0;
    for (var k = 0u; k < p.parts; k++) {
        let part = statistics_of_parts[plane * p.parts + k];
        let own = f32(min(p.part, p.plane - k * p.part));
        let apart = part.x - mean;
        let share = own / (count + own);
        mean += apart * share;
        spread += part.y + apart * apart * count * share;
        count += own;
    }
    statistics_out[plane] = vec2f(mean, 1.0 / sqrt(spread / count + p.eps));
}

// apply: one invocation per pixel, with the statistics of parts merged
@group(0) @binding(2) var<storage, read> moments: array<vec2f>;              // (planes) mean minus the first pixel, rstd

@compute @workgroup_size(WG)
fn apply(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.planes * p.plane { return; }
    let plane = i / p.plane;
    let m = moments[plane];
    y[i] = leaky((x[i] - x[plane * p.plane] - m.x) * m.y);
}

// backward: one workgroup per plane.   dx = rstd (dv - mean(dv) - v mean(dv v)),   where y tells v, as the slope is not 0
@group(0) @binding(1) var<storage, read> saved_y: array<f32>;                // (planes, plane)
@group(0) @binding(3) var<storage, read> dy: array<f32>;                     // (planes, plane)
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;               // (planes, plane)

// (dv, v)
fn before_leaky(i: u32) -> vec2f {
    let pair = vec2f(dy[i], saved_y[i]);
    return select(pair * vec2f(p.slope, 1.0 / p.slope), pair, pair.y > 0.0);
}

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = group_index(wg, nwg);
    if plane >= p.planes { return; }
    let start = plane * p.plane;
    let rstd = moments[plane].y;
    var sum = vec4f();
    for (var i = lane; i < p.plane; i += WG) {
        let g = before_leaky(start + i);
        sum += vec4f(g.x, g.x * g.y, 0.0, 0.0);
    }
    let mean = workgroup_sum(sum, lane) / f32(p.plane);
    for (var i = lane; i < p.plane; i += WG) {
        let g = before_leaky(start + i);
        dx[start + i] = rstd * (g.x - mean.x - g.y * mean.y);
    }
}

// partial_backward: one workgroup per part, as in partial_statistics
@group(0) @binding(4) var<storage, read_write> sums_out: array<vec2f>;       // (planes, parts) rstd times sum dv, sum dv v

@compute @workgroup_size(WG)
fn partial_backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let group = group_index(wg, nwg);
    if group >= p.planes * p.parts { return; }
    let plane = group / p.parts;
    let start = plane * p.plane;
    let begin = start + group % p.parts * p.part;
    var sum = vec4f();
    for (var i = begin + lane; i < min(begin + p.part, start + p.plane); i += WG) {
        let g = before_leaky(i);
        sum += vec4f(g.x, g.x * g.y, 0.0, 0.0);
    }
    sum = workgroup_sum(sum, lane);
    if lane == 0u { sums_out[group] = moments[plane].y * sum.xy; }
}

// merge_backward: one invocation per pixel, which adds up the sums of its plane's parts
@group(0) @binding(4) var<storage, read> sums: array<vec2f>;                 // (planes, parts)
@group(0) @binding(5) var<storage, read_write> merged_dx: array<f32>;        // (planes, plane)

@compute @workgroup_size(WG)
fn merge_backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.planes * p.plane { return; }
    let plane = i / p.plane;
    var mean = vec2f();
    for (var k = 0u; k < p.parts; k++) { mean += sums[plane * p.parts + k]; }
    mean /= f32(p.plane);
    let g = before_leaky(i);
    merged_dx[i] = moments[plane].y * g.x - mean.x - g.y * mean.y;
}
