// One scale and one shift per channel.   y[n, c, i] = x[n, c, i] w[c] + b[c]
override WG: u32 = 256;

struct Params { batch: u32, channels: u32, plane: u32 } // plane: H W

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;              // (channels)

// forward
@group(0) @binding(2) var<storage, read> x: array<f32>;              // (batch, channels, plane)
@group(0) @binding(3) var<storage, read> b: array<f32>;              // (channels)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;        // (batch, channels, plane)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.channels * p.plane { return; }
    let c = i / p.plane % p.channels;
    y[i] = x[i] * w[c] + b[c];
}

// backward by x: one invocation per element.   dx = dy w[c]
@group(0) @binding(2) var<storage, read> dy: array<f32>;             // (batch, channels, plane)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;       // (batch, channels, plane)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.channels * p.plane { return; }
    dx[i] = dy[i] * w[i / p.plane % p.channels];
}

// backward by w and b: one workgroup per channel.   dw[c] = sum dy x,   db[c] = sum dy
@group(0) @binding(1) var<storage, read> saved_x: array<f32>;        // (batch, channels, plane)
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;       // (channels)
@group(0) @binding(4) var<storage, read_write> db: array<f32>;       // (channels)

@compute @workgroup_size(WG)
fn backward_weight(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let c = group_index(wg, nwg);
    if c >= p.channels { return; }
    var sum = vec4f();
    for (var n = 0u; n < p.batch; n++) {
        let start = (n * p.channels + c) * p.plane;
        for (var i = lane; i < p.plane; i += WG) {
            sum += vec4f(dy[start + i] * saved_x[start + i], dy[start + i], 0.0, 0.0);
        }
    }
    sum = workgroup_sum(sum, lane);
    if lane == 0u {
        dw[c] = sum.x;
        db[c] = sum.y;
    }
}
