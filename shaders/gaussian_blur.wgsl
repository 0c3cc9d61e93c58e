// Gaussian blur along one axis, zeros outside.   y[i] = sum over k of weight[k] x[i + k - half],   half = (taps - 1) / 2
override WG: u32 = 256;

struct Params { n: u32, taps: u32, length: u32, stride: u32 } // length, stride: of the axis, in elements

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (n)
@group(0) @binding(2) var<storage, read> weight: array<f32>;         // (taps)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;        // (n)

// forward: one invocation per element
@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    let at = i / p.stride % p.length;
    let half = p.taps / 2u;
    let first = select(half - at, 0u, at >= half);
    let end = min(p.taps, p.length + half - at);
    var sum = 0.0;
    for (var k = first; k < end; k++) { sum += weight[k] * x[i + k * p.stride - half * p.stride]; }
    y[i] = sum;
}
