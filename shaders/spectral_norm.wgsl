// Spectral norm (Miyato et al. 2018).   y = w / sigma,   sigma = u^T W v,   W the weight as a (rows, columns) matrix
// pack.wgsl divides w by sigma; this file computes sigma, the vectors of power iteration and the gradient.
override WG: u32 = 256;

struct Params { rows: u32, columns: u32, eps: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;              // (rows, columns)

const RUN = 4u; // sums per invocation, which share the loads of u or v

// transposed_product: RUN columns per invocation, spaced so that neighbours read adjacent columns.   t = W^T u
@group(0) @binding(2) var<storage, read> u: array<f32>;              // (rows)
@group(0) @binding(3) var<storage, read_write> t: array<f32>;        // (columns)

@compute @workgroup_size(WG)
fn transposed_product(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let apart = (p.columns + RUN - 1u) / RUN;
    let first = thread_index(wg, nwg, lane);
    if first >= apart { return; }
    let column = first + apart * vec4u(0u, 1u, 2u, 3u);
    let at = min(column, vec4u(p.columns - 1u));
    var sum = vec4f();
    for (var i = 0u; i < p.rows; i++) {
        let row = i * p.columns;
        sum += vec4f(w[row + at.x], w[row + at.y], w[row + at.z], w[row + at.w]) * u[i];
    }
    for (var r = 0u; r < RUN; r++) {
        if column[r] < p.columns { t[column[r]] = sum[r]; }
    }
}

// product: one workgroup per RUN rows.   s = W v
@group(0) @binding(2) var<storage, read> v: array<f32>;              // (columns)
@group(0) @binding(3) var<storage, read_write> s: array<f32>;        // (rows)

@compute @workgroup_size(WG)
fn product(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let row = group_index(wg, nwg) * RUN + vec4u(0u, 1u, 2u, 3u);
    if row.x >= p.rows { return; }
    let start = min(row, vec4u(p.rows - 1u)) * p.columns;
    var sum = vec4f();
    for (var j = lane; j < p.columns; j += WG) {
        sum += vec4f(w[start.x + j], w[start.y + j], w[start.z + j], w[start.w + j]) * v[j];
    }
    sum = workgroup_sum(sum, lane);
    if lane < RUN && row[lane] < p.rows { s[row[lane]] = sum[lane]; }
}

// finish: one workgroup.   v = t / |t|,   u = s / |s|,   sigma = u^T W v = |s| / |t|,   where t = W^T u, s = W t
@group(0) @binding(1) var<storage, read> t_in: array<f32>;           // (columns)
@group(0) @binding(2) var<storage, read> s_in: array<f32>;           // (rows)
@group(0) @binding(3) var<storage, read_write> next_u: array<f32>;   // (rows)
@group(0) @binding(4) var<storage, read_write> next_v: array<f32>;   // (columns)
@group(0) @binding(5) var<storage, read_write> sigma: array<f32>;    // (1)

@compute @workgroup_size(WG)
fn finish(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    if group_index(wg, nwg) > 0u { return; }
    var sum = vec4f();
    for (var j = lane; j < p.columns; j += WG) { sum.x += t_in[j] * t_in[j]; }
    for (var i = lane; i < p.rows; i += WG) { sum.y += s_in[i] * s_in[i]; }
    let length = sqrt(workgroup_sum(sum, lane).xy);
    let of_t = max(length.x, p.eps);
    let of_s = max(length.y / of_t, p.eps); // the length of W v
    for (var j = lane; j < p.columns; j += WG) { next_v[j] = t_in[j] / of_t; }
    for (var i = lane; i < p.rows; i += WG) { next_u[i] = s_in[i] / of_t / of_s; }
    if lane == 0u { sigma[0] = length.y / of_t * (length.y / of_t / of_s); }
}

// dot_product: one workgroup, over `rows` elements.   sum a b
@group(0) @binding(1) var<storage, read> a: array<f32>;              // (rows)
@group(0) @binding(2) var<storage, read> b: array<f32>;              // (rows)
@group(0) @binding(3) var<storage, read_write> ab: array<f32>;       // (1)

@compute @workgroup_size(WG)
fn dot_product(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    if group_index(wg, nwg) > 0u { return; }
    var sum = vec4f();
    for (var i = lane; i < p.rows; i += WG) { sum.x += a[i] * b[i]; }
    sum = workgroup_sum(sum, lane);
    if lane == 0u { ab[0] = sum.x; }
}

// backward.   dw = dy / sigma - u v^T <dy, w> / sigma^2
// row_dots: one workgroup per row, which sums its part of <dy, w>
@group(0) @binding(2) var<storage, read> dy: array<f32>;             // (rows, columns)
@group(0) @binding(3) var<storage, read_write> row_dots_out: array<f32>; // (rows)

@compute @workgroup_size(WG)
fn row_dots(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg, nwg);
    if i >= p.rows { return; }
    var sum = vec4f();
    for (var j = lane; j < p.columns; j += WG) { sum.x += dy[i * p.columns + j] * w[i * p.columns + j]; }
    sum = workgroup_sum(sum, lane);
    if lane == 0u { row_dots_out[i] = sum.x; }
}

// backward: one workgroup per row; each adds up the parts of <dy, w> itself, all in the same order
@group(0) @binding(1) var<storage, read> row_parts: array<f32>;      // (rows)
@group(0) @binding(3) var<storage, read> saved_sigma: array<f32>;    // (1)
@group(0) @binding(4) var<storage, read> saved_u: array<f32>;        // (rows)
@group(0) @binding(5) var<storage, read> saved_v: array<f32>;        // (columns)
@group(0) @binding(6) var<storage, read_write> dw: array<f32>;       // (rows, columns)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg, nwg);
    if i >= p.rows { return; }
    var sum = vec4f();
    for (var k = lane; k < p.rows; k += WG) { sum.x += row_parts[k]; }
    let inner = workgroup_sum(sum, lane).x;
    let s = saved_sigma[0];
    let outer = saved_u[i] * inner / (s * s);
    for (var j = lane; j < p.columns; j += WG) {
        dw[i * p.columns + j] = dy[i * p.columns + j] / s - outer * saved_v[j];
    }
}
