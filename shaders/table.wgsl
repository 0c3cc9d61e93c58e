// SPADE's scale and shift (Park et al. 2019) for each distinct window of a label map.
override WG: u32 = 64;

const RUN = 4u; // quads of the inner dimension whose sum is short enough

struct Params {
    rows: u32, channels: u32,      // of y, which is (rows, channels, 2)
    inner: u32, columns: u32,      // of a tap's weight; columns in quads
    gathers: u32, biased: u32, rectified: u32,
    across: u32,                   // invocations of a workgroup that are on the same rows
}

@group(0) @binding(0) var<uniform> p: Params;

@group(0) @binding(2) var<storage, read> index: array<u32>;          // (rows, 9): windows, from 1; 0 where there is none
@group(0) @binding(3) var<storage, read> bias: array<vec2f>;         // (channels)

// linear: y[r] = bias + x[r] w, or where it gathers, y[r] = bias + sum over k of x[index[r, k] - 1] w[:, k]; or relu of that.
// table.rs appends ROWS and QUADS: rows and quads of columns that an invocation keeps. Sums stay short, for their rounding:
// those of a run, those of all.
@group(0) @binding(1) var<storage, read> x: array<vec4f>;            // (windows, inner / 4)
@group(0) @binding(4) var<storage, read> weight: array<vec4<Stored>>; // (inner, 9 if it gathers, columns)
@group(0) @binding(5) var<storage, read_write> y: array<vec2f>;      // (rows, channels)

@compute @workgroup_size(WG)
fn linear(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    // Workgroups on the same columns come one after the other, so that the weight is still in a cache.
    let group = group_index(wg, nwg);
    let down = WG / p.across;
    let row_blocks = (p.rows + down * ROWS - 1u) / (down * ROWS);
    let row0 = (group % row_blocks * down + lane / p.across) * ROWS;
    let quad0 = (group / row_blocks * p.across + lane % p.across) * QUADS;
    if quad0 >= p.columns || row0 >= p.rows { return; }
    let fours = p.inner / 4u;
    let taps = select(1u, 9u, p.gathers != 0u);

    var total: array<array<vec4f, QUADS>, ROWS>;
    for (var tap = 0u; tap < taps; tap++) {
        var origin: array<u32, ROWS>; // from 1; 0: none
        for (var r = 0u; r < ROWS; r++) {
            let row = min(row0 + r, p.rows - 1u);
            origin[r] = row + 1u;
            if p.gathers != 0u { origin[r] = index[9u * row + tap]; }
        }
        for (var start = 0u; start < fours; start += RUN) {
            var w: array<array<vec4f, QUADS>, 4u * RUN>;
            for (var k = 0u; k < 4u * RUN; k++) {
                for (var q = 0u; q < QUADS; q++) {
                    let row = min(4u * start + k, p.inner - 1u) * taps + tap;
                    w[k][q] = vec4f(weight[row * p.columns + min(quad0 + q, p.columns - 1u)]);
                }
            }
            for (var r = 0u; r < ROWS; r++) {
                var v: array<vec4f, RUN>;
                for (var k = 0u; k < RUN; k++) {
                    let counts = origin[r] != 0u && start + k < fours;
                    v[k] = x[(max(origin[r], 1u) - 1u) * fours + min(start + k, fours - 1u)] * f32(counts);
                }
                for (var q = 0u; q < QUADS; q++) {
                    var sum = vec4f();
                    for (var k = 0u; k < 4u * RUN; k++) { sum += v[k / 4u][k % 4u] * w[k][q]; }
                    total[r][q] += sum;
                }
            }
        }
    }

    for (var q = 0u; q < QUADS; q++) {
        for (var half = 0u; half < 2u; half++) {
            let channel = 2u * (quad0 + q) + half;
            if channel >= p.channels { break; }
            var shift = vec2f();
            if p.biased != 0u { shift = bias[channel]; }
            for (var r = 0u; r < ROWS; r++) {
                if row0 + r >= p.rows { break; }
                var value = select(total[r][q].xy, total[r][q].zw, half == 1u) + shift;
                if p.rectified != 0u { value = select(value, vec2f(), value < vec2f()); }
                y[(row0 + r) * p.channels + channel] = value;
            }
        }
    }
}

// rows: one invocation per row and channel.   table[r, c] = bias[c] + sum over k of taps[index[r, k] - 1, k, c]
@group(0) @binding(1) var<storage, read> taps: array<vec2f>;         // (windows, 9, 2 columns)
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
        if window != 0u { sum += taps[((window - 1u) * 9u + k) * 2u * p.columns + c]; }
    }
    table[thread] = bias[c] + sum;
}
