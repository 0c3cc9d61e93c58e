// Thin-plate spline.   grid = point + a0 + a1 x + a2 y + sum over k of w_k U(|point - p_k|^2),   (w, a) = inverse theta
override WG: u32 = 256;

struct Params { batch: u32, h: u32, w: u32, run: u32, parts: u32 } // parts: runs of pixels of an image

@group(0) @binding(0) var<uniform> p: Params;

// coefficients: one invocation per image and term
@group(0) @binding(1) var<storage, read> theta: array<f32>;          // (batch, 2, POINTS)
@group(0) @binding(2) var<storage, read> inverse_of: array<f32>;     // (TERMS, POINTS)
@group(0) @binding(3) var<storage, read_write> coefficient_out: array<vec2f>; // (batch, TERMS)

@compute @workgroup_size(WG)
fn coefficients(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * TERMS { return; }
    let at = i / TERMS * 2u * POINTS;
    var sum = vec2f();
    for (var k = 0u; k < POINTS; k++) {
        sum += inverse_of[i % TERMS * POINTS + k] * vec2f(theta[at + k], theta[at + POINTS + k]);
    }
    coefficient_out[i] = sum;
}

// forward: one invocation per pixel
@group(0) @binding(1) var<storage, read> coefficient: array<vec2f>;  // (batch, TERMS)
@group(0) @binding(2) var<storage, read> line: array<f32>;           // (SIDE)
@group(0) @binding(3) var<storage, read> column_x: array<f32>;       // (w)
@group(0) @binding(4) var<storage, read> row_y: array<f32>;          // (h)
@group(0) @binding(5) var<storage, read_write> grid: array<vec2f>;   // (batch, h, w)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.h * p.w { return; }
    grid[i] = look_up_at(i / (p.w * p.h), i / p.w % p.h, i % p.w);
}

// backward_parts: one workgroup per image, two terms and run of pixels.   partial = sum of dgrid times the term
@group(0) @binding(1) var<storage, read> dgrid: array<vec2f>;        // (batch, h, w)
@group(0) @binding(5) var<storage, read_write> partial_out: array<vec2f>; // (batch, TERMS, parts)

fn term(m: u32, point: vec2f) -> f32 {
    if m < POINTS { return bend(m, point); }
    return vec3f(1.0, point)[m - POINTS];
}

@compute @workgroup_size(WG)
fn backward_parts(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let group = group_index(wg, nwg);
    if group >= p.batch * TERMS / 2u * p.parts { return; }
    let part = group % p.parts;
    let m = group / p.parts % (TERMS / 2u) * 2u;
    let n = group / p.parts / (TERMS / 2u);
    let pixels = p.h * p.w;
    var sum = vec4f();
    for (var i = part * p.run + lane; i < min((part + 1u) * p.run, pixels); i += WG) {
        let point = vec2f(column_x[i % p.w], row_y[i / p.w]);
        let g = dgrid[n * pixels + i];
        sum += vec4f(g * term(m, point), g * term(m + 1u, point));
    }
    sum = workgroup_sum(sum, lane);
    if lane == 0u {
        partial_out[(n * TERMS + m) * p.parts + part] = sum.xy;
        partial_out[(n * TERMS + m + 1u) * p.parts + part] = sum.zw;
    }
}

// backward_terms: one workgroup per image and term, which adds up the parts
@group(0) @binding(1) var<storage, read> partial_of: array<vec2f>;   // (batch, TERMS, parts)
@group(0) @binding(2) var<storage, read_write> dterm_out: array<vec2f>; // (batch, TERMS)

@compute @workgroup_size(WG)
fn backward_terms(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let group = group_index(wg, nwg);
    if group >= p.batch * TERMS { return; }
    var sum = vec4f();
    for (var k = lane; k < p.parts; k += WG) { sum += vec4f(partial_of[group * p.parts + k], 0.0, 0.0); }
    sum = workgroup_sum(sum, lane);
    if lane == 0u { dterm_out[group] = sum.xy; }
}

// backward: one invocation per image and control point.   dtheta = inverse^T dterm
@group(0) @binding(1) var<storage, read> dterm: array<vec2f>;        // (batch, TERMS)
@group(0) @binding(3) var<storage, read_write> dtheta: array<f32>;   // (batch, 2, POINTS)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * POINTS { return; }
    let n = i / POINTS;
    let k = i % POINTS;
    var sum = vec2f();
    for (var m = 0u; m < TERMS; m++) { sum += inverse_of[m * POINTS + k] * dterm[n * TERMS + m]; }
    dtheta[n * 2u * POINTS + k] = sum.x;
    dtheta[(n * 2u + 1u) * POINTS + k] = sum.y;
}
