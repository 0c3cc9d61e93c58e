// Cross entropy.   y[i] = ln(sum over c of e^(s[c, i] - m)) + m - s[class, i],   ds = dy (softmax(s) - one_hot(class)),   m: maximum
override WG: u32 = 256;

struct Params { batch: u32, channels: u32, plane: u32 } // plane: H W

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> score: array<f32>;          // (batch, channels, plane)
@group(0) @binding(2) var<storage, read> class_of: array<u32>;       // (batch, plane), less than channels

struct Softmax { start: u32, largest: f32, sum: f32 }

// e^(s - m), from -87 on. A selection, not max(), so that NaN passes through.
fn share(score: f32, largest: f32) -> f32 {
    let d = score - largest;
    return precise_exp(select(d, -87.0, d < -87.0));
}

fn softmax(i: u32) -> Softmax {
    let start = i / p.plane * p.channels * p.plane + i % p.plane;
    var largest = score[start];
    for (var c = 1u; c < p.channels; c++) {
        let v = score[start + c * p.plane];
        if v > largest { largest = v; }
    }
    var sum = 0.0;
    for (var c = 0u; c < p.channels; c++) { sum += share(score[start + c * p.plane], largest); }
    return Softmax(start, largest, sum);
}

// forward: one invocation per pixel
@group(0) @binding(3) var<storage, read_write> y: array<f32>;        // (batch, plane)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.plane { return; }
    let s = softmax(i);
    // NaN has no logarithm by precise_ln, which takes the number apart.
    let log_sum = select(precise_ln(s.sum), s.sum, is_nan(s.sum));
    y[i] = log_sum + (s.largest - score[s.start + class_of[i] * p.plane]);
}

// backward: one invocation per pixel, for all channels
@group(0) @binding(3) var<storage, read> dy: array<f32>;             // (batch, plane)
@group(0) @binding(4) var<storage, read_write> dscore: array<f32>;   // (batch, channels, plane)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.plane { return; }
    let s = softmax(i);
    // Its own gradient is minus the sum of the others: 1 - e^(s - m) / sum would cancel where the class is likely.
    let own = class_of[i];
    var others = 0.0;
    for (var c = 0u; c < p.channels; c++) {
        if c == own { continue; }
        let g = dy[i] * (share(score[s.start + c * p.plane], s.largest) / s.sum);
        dscore[s.start + c * p.plane] = g;
        others += g;
    }
    dscore[s.start + own * p.plane] = -others;
}
