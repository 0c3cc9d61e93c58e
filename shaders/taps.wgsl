// The weights of two convolutions as that of one 1x1 convolution.   y[s, o, t, i] = w_s[o, i, t]
override WG: u32 = 256;

struct Params { cout: u32, cin: u32, taps: u32 } // of each convolution

@group(0) @binding(0) var<uniform> p: Params;

// forward
@group(0) @binding(1) var<storage, read> first: array<f32>;          // (cout, cin, taps)
@group(0) @binding(2) var<storage, read> second: array<f32>;         // (cout, cin, taps)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;        // (2, cout, taps, cin)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let k = thread_index(wg, nwg, lane);
    let size = p.cout * p.cin * p.taps;
    if k >= 2u * size { return; }
    let i = k % p.cin;
    let t = k / p.cin % p.taps;
    let o = k / (p.cin * p.taps) % p.cout;
    let at = (o * p.cin + i) * p.taps + t;
    if k < size { y[k] = first[at]; } else { y[k] = second[at]; }
}

// backward
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // (2, cout, taps, cin)
@group(0) @binding(2) var<storage, read_write> dfirst: array<f32>;   // (cout, cin, taps)
@group(0) @binding(3) var<storage, read_write> dsecond: array<f32>;  // (cout, cin, taps)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let k = thread_index(wg, nwg, lane);
    let size = p.cout * p.cin * p.taps;
    if k >= 2u * size { return; }
    let t = k % p.taps;
    let i = k / p.taps % p.cin;
    let o = k / (p.taps * p.cin) % p.cout;
    let value = dy[k / size * size + (o * p.taps + t) * p.cin + i];
    if k < size { dfirst[k] = value; } else { dsecond[k - size] = value; }
}
