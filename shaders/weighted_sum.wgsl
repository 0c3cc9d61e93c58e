// The weighted sum of up to six scalars.   y = sum over k < terms of weights[k] x_k
override WG: u32 = 1;

struct Params { terms: u32, w0: f32, w1: f32, w2: f32, w3: f32, w4: f32, w5: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x0: array<f32>;             // (1)
@group(0) @binding(2) var<storage, read> x1: array<f32>;             // (1)
@group(0) @binding(3) var<storage, read> x2: array<f32>;             // (1)
@group(0) @binding(4) var<storage, read> x3: array<f32>;             // (1)
@group(0) @binding(5) var<storage, read> x4: array<f32>;             // (1)
@group(0) @binding(6) var<storage, read> x5: array<f32>;             // (1)
@group(0) @binding(7) var<storage, read_write> y: array<f32>;        // (1)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    if thread_index(wg, nwg, lane) > 0u { return; }
    let x = array(x0[0], x1[0], x2[0], x3[0], x4[0], x5[0]);
    let w = array(p.w0, p.w1, p.w2, p.w3, p.w4, p.w5);
    var sum = 0.0;
    for (var k = 0u; k < p.terms; k++) { sum += w[k] * x[k]; }
    y[0] = sum;
}
