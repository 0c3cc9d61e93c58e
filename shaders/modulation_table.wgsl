// SPADE's scale and shift (Park et al. 2019) for each distinct 5x5 window of a label map, by matrix products.
override WG: u32 = 64;

struct Params {
    rows: u32, inner: u32, columns: u32, // of the product; columns in quads
    gathers: u32, biased: u32, rectified: u32,
    across: u32,                         // invocations of a workgroup on the same rows
}

@group(0) @binding(0) var<uniform> p: Params;

@group(0) @binding(2) var<storage, read> index: array<u32>;          // (entries, 9): 3x3 windows, from 1; 0 outside
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;         // (columns)

// linear: y[r] = x[r] w + bias, or if `gathers`, y[r] = sum over k of x[index[r, k] - 1] w[:, k] + bias; if
// `rectified`, relu(y). Rows are 3x3 windows, or if `gathers`, 5x5 ones. An invocation keeps ROWS rows of QUADS quads
// of columns; modulation_table.rs appends both. Products are added in fours to keep rounding errors small.
@group(0) @binding(1) var<storage, read> x: array<vec4f>;            // (windows, inner / 4)
@group(0) @binding(4) var<storage, read> weight: array<vec4<Stored>>; // (inner, 9 if it gathers, columns)
@group(0) @binding(5) var<storage, read_write> y: array<vec4f>;      // (rows, columns)

@compute @workgroup_size(WG)
fn linear(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    // Consecutive workgroups compute the same columns, so that the weight is still in a cache.
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
        var origin: array<u32, ROWS>; // row of x, from 1; 0 outside the image
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

// sum_products: one invocation per entry and quad.   table[e, c] = bias[c] + sum over k of taps[index[e, k] - 1, k, c]
@group(0) @binding(1) var<storage, read> taps: array<vec4f>;         // (windows, 9, columns)
@group(0) @binding(4) var<storage, read_write> table: array<vec4f>;  // (entries, columns)

@compute @workgroup_size(WG)
fn sum_products(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let thread = thread_index(wg, nwg, lane);
    if thread >= p.rows * p.columns { return; }
    let e = thread / p.columns;
    let c = thread % p.columns;
    var sum = vec4f();
    for (var k = 0u; k < 9u; k++) {
        let window = index[9u * e + k];
        if window != 0u { sum += taps[((window - 1u) * 9u + k) * p.columns + c]; }
    }
    table[thread] = bias[c] + sum;
}
