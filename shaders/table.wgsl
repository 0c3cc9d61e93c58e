// SPADE's scale and shift (Park et al. 2019) for each distinct window of a label map.
override WG: u32 = 64;
override RECTIFIED: u32 = 0;

const RUN = 4u; // quads of the inner dimension whose sum is short enough

struct Params { rows: u32, inner: u32, columns: u32, channels: u32, stride: u32 } // columns: in quads; stride: of a row of taps, in pairs

@group(0) @binding(0) var<uniform> p: Params;

// linear: y = x w, or relu(x w + bias). table.rs appends ROWS and QUADS: rows and quads of columns that an invocation keeps.
// Sums stay short, for their rounding: those of a run, those of all.
@group(0) @binding(1) var<storage, read> x: array<vec4f>;            // (rows, inner / 4)
@group(0) @binding(2) var<storage, read> weight: array<vec4<Stored>>; // (inner, columns); then the bias, if it is rectified
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;      // (rows, columns)

@compute @workgroup_size(WG)
fn linear(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    // Workgroups on the same columns come one after the other, so that the weight is still in a cache.
    let group = group_index(wg, nwg);
    let row_blocks = (p.rows + ROWS - 1u) / ROWS;
    let row0 = group % row_blocks * ROWS;
    let quad0 = (group / row_blocks * WG + lane) * QUADS;
    if quad0 >= p.columns { return; }
    let fours = p.inner / 4u;

    var total: array<array<vec4f, QUADS>, ROWS>;
    for (var start = 0u; start < fours; start += RUN) {
        var w: array<array<vec4f, QUADS>, 4u * RUN>;
        for (var k = 0u; k < 4u * RUN; k++) {
            for (var q = 0u; q < QUADS; q++) {
                let row = min(4u * start + k, p.inner - 1u);
                w[k][q] = vec4f(weight[row * p.columns + min(quad0 + q, p.columns - 1u)]);
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            var v: array<vec4f, RUN>;
            for (var k = 0u; k < RUN; k++) {
                v[k] = x[min(row0 + r, p.rows - 1u) * fours + min(start + k, fours - 1u)] * f32(start + k < fours);
            }
            for (var q = 0u; q < QUADS; q++) {
                var sum = vec4f();
                for (var k = 0u; k < 4u * RUN; k++) { sum += v[k / 4u][k % 4u] * w[k][q]; }
                total[r][q] += sum;
            }
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
