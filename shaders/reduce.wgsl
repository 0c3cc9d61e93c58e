// Sum of all elements.   sums[g] = factor * sum of x[g run .. (g + 1) run], repeated until one sum is left
override WG: u32 = 256;

struct Params { n: u32, run: u32, factor: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (n)

// forward: one workgroup per run of `run` elements
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;     // (ceil(n / run))

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let group = group_index(wg, nwg);
    let start = group * p.run;
    if start >= p.n { return; }
    var sum = vec4f();
    for (var i = start + lane; i < min(start + p.run, p.n); i += WG) { sum.x += x[i]; }
    sum = workgroup_sum(sum, lane);
    if lane == 0u { sums[group] = p.factor * sum.x; }
}

// backward: every element gets factor dy
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // (1)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;       // (n)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    dx[i] = p.factor * dy[0];
}
