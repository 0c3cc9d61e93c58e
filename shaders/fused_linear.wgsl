// Linear layer of a plan.   y = act(W a(x) + b),   where a normalizes and activates as load_store.wgsl says
override WG: u32 = 256;
override NORM: u32 = 0;
override TABLE: u32 = 0;
override MASKED: u32 = 0;
override NOISE: u32 = 0;

@group(0) @binding(7) var<storage, read> weight: array<Stored>;      // (outputs, inputs), then the bias (outputs)
@group(0) @binding(8) var<storage, read_write> y: array<Stored>;     // (batch, outputs)

// One workgroup per output.
@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let group = group_index(wg, nwg);
    if group >= p.input.batch * p.cout { return; }
    let n = group / p.cout;
    let o = group % p.cout;
    let plane = p.input.h * p.input.w;
    let inputs = p.input.channels * plane;
    var sum = 0.0;
    for (var k = lane; k < inputs; k += WG) {
        let c = k / plane;
        let i = k % plane / p.input.w;
        let j = k % p.input.w;
        let pixel = pixel_at(n, i, j);
        let x = activation(input_at(n, c, i, j), channel_at(n, c), pixel, modulation_at(pixel, c));
        sum += f32(weight[o * inputs + k]) * x;
    }
    let total = workgroup_sum(vec4f(sum, 0.0, 0.0, 0.0), lane).x;
    if lane == 0u { store(n, o, 0u, total + f32(weight[p.cout * inputs + o])); }
}
