// An image as bytes: red in the lowest byte of a word, alpha 255.   rgba[n, k] = pack(x[n, 0, k], x[n, 1, k], x[n, 2, k])
override WG: u32 = 256;

struct Params { batch: u32, plane: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Stored>;           // (batch, 3, plane) in [-1, 1]
@group(0) @binding(2) var<storage, read_write> rgba: array<u32>;     // (batch, plane)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.plane { return; }
    var word = 0xff000000u;
    for (var c = 0u; c < 3u; c++) {
        let v = f32(x[(i / p.plane * 3u + c) * p.plane + i % p.plane]);
        // Rounds half away from zero, as the host does.
        let byte = u32(clamp(floor((v + 1.0) / 2.0 * 255.0 + 0.5), 0.0, 255.0));
        word |= byte << (8u * c);
    }
    rgba[i] = word;
}
