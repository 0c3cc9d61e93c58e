// L2 normalization over channels.   y = x / max(|x|, eps),   |x| = sqrt(sum over channels of x^2)
// Sums are taken in runs of RUN channels, which are then added: the rounding errors of one long sum would be too large.
override WG: u32 = 256;

struct Params { batch: u32, channels: u32, plane: u32, eps: f32 } // plane: H W

const RUN = 32u;

@group(0) @binding(0) var<uniform> p: Params;

// lengths: one invocation per place
@group(0) @binding(1) var<storage, read> x: array<Stored>;           // (batch, channels, plane)
@group(0) @binding(2) var<storage, read_write> length_out: array<f32>; // (batch, plane)

@compute @workgroup_size(WG)
fn lengths(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.plane { return; }
    let start = i / p.plane * p.channels * p.plane + i % p.plane;
    var total = 0.0;
    for (var first = 0u; first < p.channels; first += RUN) {
        var run = 0.0;
        for (var c = first; c < min(first + RUN, p.channels); c++) {
            let v = f32(x[start + c * p.plane]);
            run += v * v;
        }
        total += run;
    }
    length_out[i] = sqrt(total);
}

// What a place is divided by. A selection, not max(), so that NaN passes through.
fn divisor(length: f32) -> f32 {
    return select(length, p.eps, length < p.eps);
}

// Index of element i's place.
fn place_of(i: u32) -> u32 {
    return i / (p.plane * p.channels) * p.plane + i % p.plane;
}

// forward: one invocation per element
@group(0) @binding(2) var<storage, read> length: array<f32>;         // (batch, plane)
@group(0) @binding(3) var<storage, read_write> y: array<Stored>;     // (batch, channels, plane)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.channels * p.plane { return; }
    y[i] = Stored(f32(x[i]) / divisor(length[place_of(i)]));
}

// dots: one invocation per place.   dot = sum over channels of dy y
@group(0) @binding(1) var<storage, read> saved_y: array<f32>;        // (batch, channels, plane)
@group(0) @binding(2) var<storage, read> dy: array<f32>;             // (batch, channels, plane)
@group(0) @binding(3) var<storage, read_write> dot_out: array<f32>;  // (batch, plane)

@compute @workgroup_size(WG)
fn dots(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.plane { return; }
    let start = i / p.plane * p.channels * p.plane + i % p.plane;
    var total = 0.0;
    for (var first = 0u; first < p.channels; first += RUN) {
        var run = 0.0;
        for (var c = first; c < min(first + RUN, p.channels); c++) {
            run += dy[start + c * p.plane] * saved_y[start + c * p.plane];
        }
        total += run;
    }
    dot_out[i] = total;
}

// backward: one invocation per element.   dx = (dy - y dot) / |x|; dy / eps where |x| < eps, since eps is a constant
@group(0) @binding(3) var<storage, read> saved_length: array<f32>;   // (batch, plane)
@group(0) @binding(4) var<storage, read> dots_of: array<f32>;        // (batch, plane)
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;       // (batch, channels, plane)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.channels * p.plane { return; }
    let place = place_of(i);
    let along = select(saved_y[i] * dots_of[place], 0.0, saved_length[place] < p.eps);
    dx[i] = (dy[i] - along) / divisor(saved_length[place]);
}
