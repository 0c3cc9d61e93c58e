// Dropout of one half.   y[e] = 2 x[e] where u[e] >= 1/2, else 0 x[e]:   u uniform numbers of a Philox stream
// The gradient by x is the same map of dy.
override WG: u32 = 256;

struct Params { n: u32, stream: u32, seed_low: u32, seed_high: u32 }

@group(0) @binding(0) var<uniform> p: Params;

// forward: one invocation per four elements, which one Philox block decides
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (n)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;        // (n)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let block = thread_index(wg, nwg, lane);
    if 4u * block >= p.n { return; }
    // Integers are compared, so that every device drops the same elements.
    let keep = philox_uniform(vec2u(p.seed_low, p.seed_high), p.stream, block) >= vec4u(16777216u);
    for (var k = 0u; k < min(4u, p.n - 4u * block); k++) {
        y[4u * block + k] = x[4u * block + k] * select(0.0, 2.0, keep[k]);
    }
}
