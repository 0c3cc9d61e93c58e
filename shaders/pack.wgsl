// Packing for vec4 loads.   packed[b, j, i] = source[b batch_stride + i row_stride + j column_stride] / divisor
// Transposes each (rows, columns) matrix, pads its rows with zeros to a multiple of four and optionally reverses its
// columns. An invocation packs four rows of RUN columns: it reads whole cache lines along rows, and neighbouring
// invocations write adjacent elements.
override WG: u32 = 64;

const RUN = 16u; // floats in a cache line

struct Params {
    batch: u32,
    rows: u32,
    columns: u32,
    batch_stride: u32, // the three strides are those of the source, in elements
    row_stride: u32,
    column_stride: u32,
    reverse: u32,
    divided: u32,      // whether to divide by `divisor`
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;         // (batch, rows, columns), strided
@group(0) @binding(2) var<storage, read> divisor: array<f32>;        // (1)
@group(0) @binding(3) var<storage, read_write> packed: array<vec4f>; // (batch, columns, ceil(rows / 4))

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let k = thread_index(wg, nwg, lane);
    let quads = (p.rows + 3u) / 4u;
    let runs = (p.columns + RUN - 1u) / RUN;
    if k >= p.batch * runs * quads { return; }
    let quad = k % quads;
    let b = k / (runs * quads);
    let j0 = k / quads % runs * RUN;

    // Rows past the last one read the last row and become zeros.
    let row = min(vec4u(0u, 1u, 2u, 3u) + 4u * quad, vec4u(p.rows - 1u)) * p.row_stride + b * p.batch_stride;
    var by = 1.0;
    if p.divided != 0u { by = divisor[0]; }
    let inside = vec4f(vec4u(0u, 1u, 2u, 3u) + 4u * quad < vec4u(p.rows));
    for (var j = j0; j < min(j0 + RUN, p.columns); j++) {
        let at = row + select(j, p.columns - 1u - j, p.reverse != 0u) * p.column_stride;
        packed[(b * p.columns + j) * quads + quad] = inside * (vec4f(source[at.x], source[at.y], source[at.z], source[at.w]) / by);
    }
}
