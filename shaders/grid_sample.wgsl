// Bilinear look-up.   y[c, i] = picture[c] at grid[i],   dgrid = sum over c of dy[c, i] (gradient of picture[c] there)
override WG: u32 = 256;

struct Params { batch: u32, channels: u32, h: u32, w: u32, pixels: u32 } // pixels: of an image of the result

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> picture: array<f32>;        // (batch, channels, h, w)
@group(0) @binding(2) var<storage, read> grid: array<vec2f>;         // (batch, pixels)

// The four values around a place: upper left, upper right, lower left, lower right.
fn corners(plane: u32, at: LookUp) -> vec4f {
    let upper = (plane * p.h + at.first.y) * p.w;
    let lower = (plane * p.h + at.second.y) * p.w;
    return vec4f(
        picture[upper + at.first.x], picture[upper + at.second.x],
        picture[lower + at.first.x], picture[lower + at.second.x],
    );
}

// forward: one invocation per pixel, for all channels
@group(0) @binding(3) var<storage, read_write> y: array<f32>;        // (batch, channels, pixels)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.pixels { return; }
    let n = i / p.pixels;
    let at = look_up(grid[i], vec2u(p.w, p.h));
    for (var c = 0u; c < p.channels; c++) {
        let v = corners(n * p.channels + c, at);
        let sides = v.xz + at.part.x * (v.yw - v.xz);
        y[(n * p.channels + c) * p.pixels + i % p.pixels] = sides.x + at.part.y * (sides.y - sides.x);
    }
}

// backward by the grid: one invocation per pixel
@group(0) @binding(3) var<storage, read> dy: array<f32>;             // (batch, channels, pixels)
@group(0) @binding(4) var<storage, read_write> dgrid: array<vec2f>;  // (batch, pixels)

@compute @workgroup_size(WG)
fn backward_grid(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.batch * p.pixels { return; }
    let n = i / p.pixels;
    let at = look_up(grid[i], vec2u(p.w, p.h));
    var sum = vec2f();
    for (var c = 0u; c < p.channels; c++) {
        let v = corners(n * p.channels + c, at);
        let across = v.yw - v.xz;
        let down = v.zw - v.xy;
        let g = dy[(n * p.channels + c) * p.pixels + i % p.pixels];
        sum += g * (vec2f(across.x, down.x) + at.part.yx * vec2f(across.y - across.x, down.y - down.x));
    }
    dgrid[i] = select(sum * at.slope, vec2f(), at.slope == vec2f());
}
