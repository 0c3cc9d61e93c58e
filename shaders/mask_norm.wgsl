// Mask normalization (VITON-HD, section 3.4).   y = region(x, m) + region(x, 1 - m), each standardized separately
//   region(x, m) = m (x - mu) k,   mu = sum(m x) / S,   k = sqrt(S / HW) / sqrt(V + eps),   V = sum(m^2 (x - mu)^2) / HW,
//   S = sum(m), or 1 where that is 0
// Everything is computed on x minus the plane's first pixel: for a few nearly equal pixels far from zero, the rounding
// error of the mean would exceed their variation. The paper fills the plane outside a region with the region's mean, m
// x + (1 - m) mu, and normalizes that. Its mean is mu again, so sums over the region suffice and nothing is filled.
override WG: u32 = 256;

struct Params { planes: u32, channels: u32, plane: u32, eps: f32 } // planes: N C, plane: H W

struct Region {
    mean: f32,             // mu minus the plane's first pixel
    scale: f32,            // k
    inverse_variance: f32, // 1 / (V + eps)
    residual: f32,             // sum(m^2 (x - mu)): 0 unless the mask is fractional
    count: f32,            // S
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;                      // (planes, plane)
@group(0) @binding(2) var<storage, read> mask: array<f32>;                   // (planes / channels, plane)

// forward: one workgroup per plane
@group(0) @binding(3) var<storage, read_write> regions_out: array<Region>;   // (planes, 2) masked, rest
@group(0) @binding(4) var<storage, read_write> y: array<f32>;                // (planes, plane)

fn region(mean: f32, squares: f32, residual: f32, count: f32) -> Region {
    let inverse_variance = 1.0 / (squares / f32(p.plane) + p.eps);
    return Region(mean, sqrt(count / f32(p.plane)) * sqrt(inverse_variance), inverse_variance, residual, count);
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = group_index(wg, nwg);
    if plane >= p.planes { return; }
    let start = plane * p.plane;
    let mask_start = plane / p.channels * p.plane;
    var sum = vec4f();
    for (var i = lane; i < p.plane; i += WG) {
        let m = mask[mask_start + i];
        let v = x[start + i] - x[start];
        sum += vec4f(m, 1.0 - m, m * v, (1.0 - m) * v);
    }
    sum = workgroup_sum(sum, lane);
    let count = select(sum.xy, vec2f(1.0), sum.xy == vec2f());
    let mean = sum.zw / count;
    sum = vec4f();
    for (var i = lane; i < p.plane; i += WG) {
        let m = mask[mask_start + i];
        let w = vec2f(m, 1.0 - m);
        let d = w * (x[start + i] - x[start] - mean);
        sum += vec4f(d * d, w * d);
    }
    sum = workgroup_sum(sum, lane);
    let inside = region(mean.x, sum.x, sum.z, count.x);
    let rest = region(mean.y, sum.y, sum.w, count.y);
    if lane == 0u {
        regions_out[2u * plane] = inside;
        regions_out[2u * plane + 1u] = rest;
    }
    for (var i = lane; i < p.plane; i += WG) {
        let m = mask[mask_start + i];
        let v = x[start + i] - x[start];
        y[start + i] = m * (v - inside.mean) * inside.scale + (1.0 - m) * (v - rest.mean) * rest.scale;
    }
}

// backward: one workgroup per plane. For each region, with g = m dy and d = x - mu:
//   dV = -k / (2 (V + eps)) sum(g d),   dmu = -k sum(g) - 2 dV sum(m^2 d) / HW,   dx = m (k dy + 2 dV m d / HW + dmu / S)
@group(0) @binding(3) var<storage, read> regions: array<Region>;             // (planes, 2)
@group(0) @binding(4) var<storage, read> dy: array<f32>;                     // (planes, plane)
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;               // (planes, plane)

// (2 dV / HW, dmu / S)
fn pulled_back(r: Region, sum_g: f32, sum_gd: f32) -> vec2f {
    let by_square = -r.scale * r.inverse_variance * sum_gd / f32(p.plane);
    return vec2f(by_square, (-r.scale * sum_g - by_square * r.residual) / r.count);
}

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = group_index(wg, nwg);
    if plane >= p.planes { return; }
    let start = plane * p.plane;
    let mask_start = plane / p.channels * p.plane;
    let inside = regions[2u * plane];
    let rest = regions[2u * plane + 1u];
    var sum = vec4f();
    for (var i = lane; i < p.plane; i += WG) {
        let m = mask[mask_start + i];
        let v = x[start + i] - x[start];
        let g = dy[start + i] * vec2f(m, 1.0 - m);
        sum += vec4f(g, g * vec2f(v - inside.mean, v - rest.mean));
    }
    sum = workgroup_sum(sum, lane);
    let a = pulled_back(inside, sum.x, sum.z);
    let b = pulled_back(rest, sum.y, sum.w);
    for (var i = lane; i < p.plane; i += WG) {
        let m = mask[mask_start + i];
        let v = x[start + i] - x[start];
        let g = dy[start + i];
        dx[start + i] = m * (inside.scale * g + a.x * m * (v - inside.mean) + a.y)
            + (1.0 - m) * (rest.scale * g + b.x * (1.0 - m) * (v - rest.mean) + b.y);
    }
}
