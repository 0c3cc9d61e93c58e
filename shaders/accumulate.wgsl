// Gradient accumulation, which the tape launches itself.   sum = a + b
override WG: u32 = 256;

struct Params { n: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;              // (n)
@group(0) @binding(2) var<storage, read> b: array<f32>;              // (n)
@group(0) @binding(3) var<storage, read_write> sum: array<f32>;      // (n)

@compute @workgroup_size(WG)
fn accumulate(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    sum[i] = a[i] + b[i];
}
