// Labels of enlarged scores.   y = argmax over channels of wy s wx^T:   wy, wx resize bilinearly, then blur
// Both factors have few weights in a row. The rows are resized first: their result has few columns.
override WG: u32 = 256;

struct Params { batch: u32, channels: u32, h: u32, w: u32, oh: u32, ow: u32, row_taps: u32, column_taps: u32 }

@group(0) @binding(0) var<uniform> p: Params;

// rows: one invocation per element
@group(0) @binding(1) var<storage, read> score: array<f32>;          // (batch, channels, h, w)
@group(0) @binding(2) var<storage, read> row_start: array<u32>;      // (oh) first of the rows that are summed
@group(0) @binding(3) var<storage, read> row_weight: array<f32>;     // (oh, row_taps)
@group(0) @binding(4) var<storage, read_write> tall_out: array<f32>; // (batch, channels, oh, w)

@compute @workgroup_size(WG)
fn rows(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.channels * p.oh * p.w { return; }
    let oy = i / p.w % p.oh;
    let first = (i / (p.w * p.oh) * p.h + row_start[oy]) * p.w + i % p.w;
    var sum = 0.0;
    for (var t = 0u; t < p.row_taps; t++) { sum += row_weight[oy * p.row_taps + t] * score[first + t * p.w]; }
    tall_out[i] = sum;
}

// columns: one invocation per pixel, which compares the channels
@group(0) @binding(1) var<storage, read> tall: array<f32>;           // (batch, channels, oh, w)
@group(0) @binding(2) var<storage, read> column_start: array<u32>;   // (ow) first of the columns that are summed
@group(0) @binding(3) var<storage, read> column_weight: array<f32>;  // (ow, column_taps)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;        // (batch, oh, ow)

fn smooth_at(first: u32, ox: u32) -> f32 {
    var sum = 0.0;
    for (var t = 0u; t < p.column_taps; t++) { sum += column_weight[ox * p.column_taps + t] * tall[first + t]; }
    return sum;
}

@compute @workgroup_size(WG)
fn columns(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.oh * p.ow { return; }
    let ox = i % p.ow;
    let oy = i / p.ow % p.oh;
    let n = i / (p.ow * p.oh);
    let first = (n * p.channels * p.oh + oy) * p.w + column_start[ox];
    let channel = p.oh * p.w;
    var best = 0u;
    var largest = smooth_at(first, ox);
    for (var c = 1u; c < p.channels; c++) {
        let v = smooth_at(first + c * channel, ox);
        if v > largest || (is_nan(v) && !is_nan(largest)) {
            best = c;
            largest = v;
        }
    }
    y[i] = f32(best);
}
