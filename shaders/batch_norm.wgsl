// Batch norm.   y = (x - mean) rstd,   rstd = 1 / sqrt(var + eps): mean and biased var over all planes of a channel
override WG: u32 = 256;

struct Params { batch: u32, channels: u32, plane: u32, eps: f32, momentum: f32 } // plane: H W

@group(0) @binding(0) var<uniform> p: Params;

// statistics: one workgroup per channel. The running variance averages unbiased variances, as in PyTorch.
@group(0) @binding(1) var<storage, read> x: array<f32>;                      // (batch, channels, plane)
@group(0) @binding(2) var<storage, read> running_mean: array<f32>;           // (channels)
@group(0) @binding(3) var<storage, read> running_variance: array<f32>;       // (channels)
@group(0) @binding(4) var<storage, read_write> statistics_out: array<vec2f>; // (channels) mean, rstd
@group(0) @binding(5) var<storage, read_write> new_mean: array<f32>;         // (channels)
@group(0) @binding(6) var<storage, read_write> new_variance: array<f32>;     // (channels)

@compute @workgroup_size(WG)
fn statistics(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let c = group_index(wg, nwg);
    if c >= p.channels { return; }
    let count = f32(p.batch * p.plane);
    var sum = vec4f();
    for (var n = 0u; n < p.batch; n++) {
        let start = (n * p.channels + c) * p.plane;
        for (var i = lane; i < p.plane; i += WG) { sum.x += x[start + i]; }
    }
    let mean = workgroup_sum(sum, lane).x / count;
    sum = vec4f();
    for (var n = 0u; n < p.batch; n++) {
        let start = (n * p.channels + c) * p.plane;
        for (var i = lane; i < p.plane; i += WG) {
            let d = x[start + i] - mean;
            sum.x += d * d;
        }
    }
    let squares = workgroup_sum(sum, lane).x;
    if lane == 0u {
        statistics_out[c] = vec2f(mean, 1.0 / sqrt(squares / count + p.eps));
        new_mean[c] = mix(running_mean[c], mean, p.momentum);
        new_variance[c] = mix(running_variance[c], squares / (count - 1.0), p.momentum);
    }
}

// evaluation_statistics: one invocation per channel, from the running statistics
@group(0) @binding(1) var<storage, read> evaluation_mean: array<f32>;        // (channels)
@group(0) @binding(2) var<storage, read> evaluation_variance: array<f32>;    // (channels)
@group(0) @binding(3) var<storage, read_write> moments_out: array<vec2f>;    // (channels) mean, rstd

@compute @workgroup_size(WG)
fn evaluation_statistics(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let c = thread_index(wg, nwg, lane);
    if c >= p.channels { return; }
    moments_out[c] = vec2f(evaluation_mean[c], 1.0 / sqrt(evaluation_variance[c] + p.eps));
}

// forward
@group(0) @binding(2) var<storage, read> moments: array<vec2f>;              // (channels) mean, rstd
@group(0) @binding(3) var<storage, read_write> y: array<f32>;                // (batch, channels, plane)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.channels * p.plane { return; }
    let m = moments[i / p.plane % p.channels];
    y[i] = (x[i] - m.x) * m.y;
}

// backward: one workgroup per channel.   dx = rstd (dy - mean(dy) - y mean(dy y))
@group(0) @binding(3) var<storage, read> dy: array<f32>;                     // (batch, channels, plane)
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;               // (batch, channels, plane)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let c = group_index(wg, nwg);
    if c >= p.channels { return; }
    let m = moments[c];
    var sum = vec4f();
    for (var n = 0u; n < p.batch; n++) {
        let start = (n * p.channels + c) * p.plane;
        for (var i = lane; i < p.plane; i += WG) {
            let g = dy[start + i];
            sum += vec4f(g, g * (x[start + i] - m.x) * m.y, 0.0, 0.0);
        }
    }
    let mean = workgroup_sum(sum, lane) / f32(p.batch * p.plane);
    for (var n = 0u; n < p.batch; n++) {
        let start = (n * p.channels + c) * p.plane;
        for (var i = lane; i < p.plane; i += WG) {
            dx[start + i] = m.y * (dy[start + i] - mean.x - (x[start + i] - m.x) * m.y * mean.y);
        }
    }
}

// backward_evaluation: the statistics are constants.   dx = rstd dy
@group(0) @binding(1) var<storage, read> evaluation_moments: array<vec2f>;   // (channels) mean, rstd
@group(0) @binding(2) var<storage, read> evaluation_dy: array<f32>;          // (batch, channels, plane)
@group(0) @binding(3) var<storage, read_write> evaluation_dx: array<f32>;    // (batch, channels, plane)

@compute @workgroup_size(WG)
fn backward_evaluation(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.channels * p.plane { return; }
    evaluation_dx[i] = evaluation_dy[i] * evaluation_moments[i / p.plane % p.channels].y;
}
