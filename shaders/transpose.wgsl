// Transposition.   y[b, j, i] = x[b, i, j]
override WG: u32 = 256;

struct Params { batch: u32, rows: u32, columns: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (batch, rows, columns)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;        // (batch, columns, rows)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let k = thread_index(wg, nwg, lane);
    let matrix = p.rows * p.columns;
    if k >= p.batch * matrix { return; }
    let i = k % p.rows;
    let j = k / p.rows % p.columns;
    y[k] = x[k / matrix * matrix + i * p.columns + j];
}
