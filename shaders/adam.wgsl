// Adam with beta_1 = 0.   v' = beta v + (1 - beta) g^2,   x' = x - rate g / (sqrt(v') / correction + eps)
override WG: u32 = 256;

struct Params { n: u32, beta: f32, correction: f32, rate: f32, eps: f32 } // correction: sqrt(1 - beta^t) at step t

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (n): the parameter
@group(0) @binding(2) var<storage, read> g: array<f32>;              // (n): its gradient
@group(0) @binding(3) var<storage, read> v: array<f32>;              // (n): the second moment
@group(0) @binding(4) var<storage, read_write> next_x: array<f32>;   // (n)
@group(0) @binding(5) var<storage, read_write> next_v: array<f32>;   // (n)

@compute @workgroup_size(WG)
fn update(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    let second = p.beta * v[i] + (1.0 - p.beta) * g[i] * g[i];
    next_v[i] = second;
    next_x[i] = x[i] - p.rate * g[i] / (sqrt(second) / p.correction + p.eps);
}
