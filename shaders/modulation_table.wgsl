// SPADE's scale and shift (Park et al. 2019) for each distinct window of a label map.
override WG: u32 = 64;

struct Params {
    rows: u32, inner: u32, columns: u32, // columns: in quads
    gathers: u32, biased: u32, rectified: u32,
    across: u32,                         // invocations of a workgroup that are on the same rows
}

@group(0) @binding(0) var<uniform> p: Params;

@group(0) @binding(2) var<storage, read> index: array<u32>;          // (rows, 9): windows, from 1; 0 where there is none
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;         // (columns)

// linear: y[r] = bias + x[r] w, or where it gathers, y[r] = bias + sum over k of x[index[r, k] - 1] w[:, k]; or relu of that.
// table.rs appends ROWS and QUADS: rows and quads of columns that an invocation keeps. Products are
// added up in fours, for their rounding.
@group(0) @binding(1) var<storage, read> x: array<vec4f>;            // (windows, inner / 4)
@group(0) @binding(4) var<storage, read> weight: array<vec4<Stored>>; // (inner, 9 if it gathers, columns)
@group(0) @binding(5) var<storage, read_write> y: array<vec4f>;      // (rows, columns)

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
        for (var four = 0u; four < fours; four++) {
            var w: array<array<vec4f, QUADS>, 4>;
            for (var k = 0u; k < 4u; k++) {
                let row = (4u * four + k) * taps + tap;
                for (var q = 0u; q < QUADS; q++) { w[k][q] = vec4f(weight[row * p.columns + min(quad0 + q, p.columns - 1u)]); }
            }
            for (var r = 0u; r < ROWS; r++) {
                let v = x[(max(origin[r], 1u) - 1u) * fours + four] * f32(origin[r] != 0u);
                for (var q = 0u; q < QUADS; q++) {
                    total[r][q] += v.x * w[0][q] + v.y * w[1][q] + v.z * w[2][q] + v.w * w[3][q];
                }
            }
        }
    }

    for (var q = 0u; q < QUADS; q++) {
        let quad = quad0 + q;
        if quad >= p.columns { break; }
        var shift = vec4f();
        if p.biased != 0u { shift = bias[quad]; }
        for (var r = 0u; r < ROWS; r++) {
            if row0 + r >= p.rows { break; }
            var value = total[r][q] + shift;
            if p.rectified != 0u { value = select(value, vec4f(), value < vec4f()); }
            y[(row0 + r) * p.columns + quad] = value;
        }
    }
}

// sum_products: one invocation per row and quad.   table[r, c] = bias[c] + sum over k of taps[index[r, k] - 1, k, c]
@group(0) @binding(1) var<storage, read> taps: array<vec4f>;         // (windows, 9, columns)
@group(0) @binding(4) var<storage, read_write> table: array<vec4f>;  // (rows, columns)

@compute @workgroup_size(WG)
fn sum_products(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let thread = thread_index(wg, nwg, lane);
    if thread >= p.rows * p.columns { return; }
    let r = thread / p.columns;
    let c = thread % p.columns;
    var sum = vec4f();
    for (var k = 0u; k < 9u; k++) {
        let window = index[9u * r + k];
        if window != 0u { sum += taps[((window - 1u) * 9u + k) * p.columns + c]; }
    }
    table[thread] = bias[c] + sum;
}
