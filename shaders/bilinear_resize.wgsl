// Bilinear resize.   y[oy, ox] = x at ((oy + 0.5) h / oh - 0.5, (ox + 0.5) w / ow - 0.5), between pixel centres
override WG: u32 = 256;

struct Params { planes: u32, h: u32, w: u32, oh: u32, ow: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (planes, h, w)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;        // (planes, oh, ow)

struct Neighbours { first: u32, second: u32, part: f32 } // part: share of the second

// The inputs around output o. The position is computed in integers, so that its fraction is rounded once.
fn neighbours(o: u32, inputs: u32, outputs: u32) -> Neighbours {
    let twice = (2u * o + 1u) * inputs;
    let numerator = select(twice - outputs, 0u, twice < outputs);
    let first = numerator / (2u * outputs);
    return Neighbours(first, min(first + 1u, inputs - 1u), f32(numerator % (2u * outputs)) / f32(2u * outputs));
}

// forward: one invocation per element of y
@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.planes * p.oh * p.ow { return; }
    let column = neighbours(i % p.ow, p.w, p.ow);
    let row = neighbours(i / p.ow % p.oh, p.h, p.oh);
    let plane = i / (p.ow * p.oh) * p.h;
    let upper = (plane + row.first) * p.w;
    let lower = (plane + row.second) * p.w;
    let top = x[upper + column.first] + column.part * (x[upper + column.second] - x[upper + column.first]);
    let bottom = x[lower + column.first] + column.part * (x[lower + column.second] - x[lower + column.first]);
    y[i] = top + row.part * (bottom - top);
}
