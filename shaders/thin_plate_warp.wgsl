// Thin-plate warp.   y[c, i] = picture[c] at the place that tps_grid.wgsl gives pixel i
override WG: u32 = 256;

struct Params { batch: u32, channels: u32, h: u32, w: u32, oh: u32, ow: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> picture: array<f32>;        // (batch, channels, h, w)
@group(0) @binding(2) var<storage, read> coefficient: array<vec2f>;  // (batch, TERMS)
@group(0) @binding(3) var<storage, read> line: array<f32>;           // (SIDE)
@group(0) @binding(4) var<storage, read> column_x: array<f32>;       // (ow)
@group(0) @binding(5) var<storage, read> row_y: array<f32>;          // (oh)
@group(0) @binding(6) var<storage, read_write> y: array<f32>;        // (batch, channels, oh, ow)

// forward: one invocation per pixel, for all channels
@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    let pixels = p.oh * p.ow;
    if i >= p.batch * pixels { return; }
    let n = i / pixels;
    let at = look_up(look_up_at(n, i / p.ow % p.oh, i % p.ow), vec2u(p.w, p.h));
    for (var c = 0u; c < p.channels; c++) {
        let plane = n * p.channels + c;
        let upper = (plane * p.h + at.first.y) * p.w;
        let lower = (plane * p.h + at.second.y) * p.w;
        let left = vec2f(picture[upper + at.first.x], picture[lower + at.first.x]);
        let right = vec2f(picture[upper + at.second.x], picture[lower + at.second.x]);
        let sides = left + at.part.x * (right - left);
        y[plane * pixels + i % pixels] = sides.x + at.part.y * (sides.y - sides.x);
    }
}
