// Columns of a table, nine at a time.   y[9 c + k, r] = x[c, index[r, k] - 1], or 0 where index[r, k] is 0
override WG: u32 = 256;

struct Params { channels: u32, columns: u32, rows: u32, parts: u32 } // columns of x, rows of index, parts of its inverse

@group(0) @binding(0) var<uniform> p: Params;

// forward: one invocation per element of y
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (channels, columns)
@group(0) @binding(2) var<storage, read> index: array<u32>;          // (rows, 9)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;        // (channels, 9, rows)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.channels * 9u * p.rows { return; }
    let r = i % p.rows;
    let k = i / p.rows % 9u;
    let c = i / (9u * p.rows);
    let column = index[9u * r + k];
    var value = 0.0;
    if column != 0u { value = x[c * p.columns + column - 1u]; }
    y[i] = value;
}

// backward_parts: one invocation per channel and part of the inverse.   partial[c, part] = sum of dy over the part's places
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // (channels, 9, rows)
@group(0) @binding(2) var<storage, read> part: array<vec2u>;         // (parts) first entry, one past the last
@group(0) @binding(3) var<storage, read> entry: array<u32>;          // (entries) 9 r + k
@group(0) @binding(4) var<storage, read_write> partial_out: array<f32>; // (channels, parts)

@compute @workgroup_size(WG)
fn backward_parts(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.channels * p.parts { return; }
    let c = i / p.parts;
    let range = part[i % p.parts];
    var sum = 0.0;
    for (var e = range.x; e < range.y; e++) {
        let place = entry[e];
        sum += dy[(c * 9u + place % 9u) * p.rows + place / 9u];
    }
    partial_out[i] = sum;
}
