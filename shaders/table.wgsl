// SPADE's scale and shift (Park et al. 2019) for each distinct window of a label map.
override WG: u32 = 64;
override RECTIFIED: u32 = 0;

struct Params { rows: u32, inner: u32, columns: u32, channels: u32, stride: u32 } // columns: in quads; stride: of a row of taps, in pairs

@group(0) @binding(0) var<uniform> p: Params;

// linear: y = x w, or relu(x w + bias). table.rs appends ROWS and QUADS: rows and quads of columns that an invocation keeps.
// Sums stay short, for their rounding: those of four quads, those of all.
@group(0) @binding(1) var<storage, read> x: array<vec4f>;            // (rows, inner / 4)
@group(0) @binding(2) var<storage, read> weight: array<vec4<Stored>>; // (inner, columns); then the bias, if it is rectified
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;      // (rows, columns)

@compute @workgroup_size(WG)
fn linear(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let thread = thread_index(wg, nwg, lane);
    let blocks = (p.columns + QUADS - 1u) / QUADS;
    let row0 = thread / blocks * ROWS;
    if row0 >= p.rows { return; }
    let quad0 = thread % blocks * QUADS;
    let fours = p.inner / 4u;

    var total: array<array<vec4f, QUADS>, ROWS>;
    for (var start = 0u; start < fours; start += 4u) {
        var sum: array<array<vec4f, QUADS>, ROWS>;
        for (var four = start; four < min(start + 4u, fours); four++) {
            var w: array<array<vec4f, QUADS>, 4>;
            for (var m = 0u; m < 4u; m++) {
                for (var q = 0u; q < QUADS; q++) {
                    w[m][q] = vec4f(weight[(4u * four + m) * p.columns + min(quad0 + q, p.columns - 1u)]);
                }
            }
            for (var r = 0u; r < ROWS; r++) {
                let v = x[min(row0 + r, p.rows - 1u) * fours + four];
                for (var q = 0u; q < QUADS; q++) {
                    sum[r][q] += v.x * w[0][q] + v.y * w[1][q] + v.z * w[2][q] + v.w * w[3][q];
                }
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            for (var q = 0u; q < QUADS; q++) { total[r][q] += sum[r][q]; }
        }
    }

    for (var q = 0u; q < QUADS; q++) {
        if quad0 + q >= p.columns { break; }
        var shift = vec4f();
        if RECTIFIED != 0u { shift = vec4f(weight[p.inner * p.columns + quad0 + q]); }
        for (var r = 0u; r < ROWS; r++) {
            if row0 + r >= p.rows { break; }
            var value = total[r][q] + shift;
            if RECTIFIED != 0u { value = select(value, vec4f(), value < vec4f()); }
            y[(row0 + r) * p.columns + quad0 + q] = value;
        }
    }
}

// rows: one invocation per row and channel.   y[r, c] = (1 + gamma, beta) = bias[c] + sum over k of taps[index[r, k] - 1, k, c]
@group(0) @binding(1) var<storage, read> taps: array<vec2f>;         // (windows, stride), of which 9 channels
@group(0) @binding(2) var<storage, read> index: array<u32>;          // (rows, 9), from 1; 0 where there is none
@group(0) @binding(3) var<storage, read> bias: array<vec2f>;         // (channels): 1 + that of gamma, that of beta
@group(0) @binding(4) var<storage, read_write> table: array<vec2f>;  // (rows, channels)

@compute @workgroup_size(WG)
fn rows(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let thread = thread_index(wg, nwg, lane);
    if thread >= p.rows * p.channels { return; }
    let r = thread / p.channels;
    let c = thread % p.channels;
    var sum = vec2f();
    for (var k = 0u; k < 9u; k++) {
        let window = index[9u * r + k];
        if window != 0u { sum += taps[(window - 1u) * p.stride + k * p.channels + c]; }
    }
    table[thread] = bias[c] + sum;
}
