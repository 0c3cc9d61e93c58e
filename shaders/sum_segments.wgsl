// Sums the parts of each segment.   y[c, s] = sum of x[c, first[s] .. first[s + 1]]
override WG: u32 = 256;

struct Params { channels: u32, parts: u32, segments: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (channels, parts)
@group(0) @binding(2) var<storage, read> first: array<u32>;          // (segments + 1)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;        // (channels, segments)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.channels * p.segments { return; }
    let c = i / p.segments;
    let s = i % p.segments;
    var sum = 0.0;
    for (var k = first[s]; k < first[s + 1u]; k++) { sum += x[c * p.parts + k]; }
    y[i] = sum;
}
