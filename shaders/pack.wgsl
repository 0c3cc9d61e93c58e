// Packing for vec4 loads.   packed[b, j, i] = source[b batch_stride + i row_stride + j column_stride]
// The transpose of each (rows, columns) matrix, its rows filled up with zeros to a multiple of four, its columns optionally in
// reverse order.
override WG: u32 = 256;

struct Params {
    batch: u32,
    rows: u32,
    columns: u32,
    batch_stride: u32, // this and the next two: of the source, in elements
    row_stride: u32,
    column_stride: u32,
    reverse: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;         // (batch, rows, columns), strided
@group(0) @binding(2) var<storage, read_write> packed: array<f32>;   // (batch, columns, 4 ceil(rows / 4))

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let k = thread_index(wg, nwg, lane);
    let width = (p.rows + 3u) / 4u * 4u;
    if k >= p.batch * p.columns * width { return; }
    let i = k % width;
    let j = k / width % p.columns;
    let b = k / (width * p.columns);
    var value = 0.0;
    if i < p.rows {
        let column = select(j, p.columns - 1u - j, p.reverse != 0u);
        value = source[b * p.batch_stride + i * p.row_stride + column * p.column_stride];
    }
    packed[k] = value;
}
