// Correlation.   y[x h + y, q] = sum over c of a[c, (y, x)] b[c, q],   q = (y', x'): channels count columns first
// Matrix products, in tiles of 4x4. Sums are taken in runs of RUN terms, which are then added: the rounding errors of one
// long sum would be too large.
override WG: u32 = 64;

struct Params { batch: u32, channels: u32, h: u32, w: u32 }

const RUN = 32u;
const LANES = vec4u(0u, 1u, 2u, 3u);

@group(0) @binding(0) var<uniform> p: Params;

fn pixels() -> u32 {
    return p.h * p.w;
}

// The place y w + x of a that channel x h + y of the result belongs to.
fn place(channel: vec4u) -> vec4u {
    return channel % p.h * p.w + channel / p.h;
}

// forward: one invocation per tile of an image's (w h, h w) products
@group(0) @binding(1) var<storage, read> a: array<Stored>;           // (batch, channels, h, w)
@group(0) @binding(2) var<storage, read> b: array<Stored>;           // (batch, channels, h, w)
@group(0) @binding(3) var<storage, read_write> y: array<Stored>;     // (batch, w h, h, w)

// Four values of channel c.
fn a_at(n: u32, c: u32, at: vec4u) -> vec4f {
    let k = (n * p.channels + c) * pixels() + at;
    return vec4f(f32(a[k.x]), f32(a[k.y]), f32(a[k.z]), f32(a[k.w]));
}

fn b_at(n: u32, c: u32, at: vec4u) -> vec4f {
    let k = (n * p.channels + c) * pixels() + at;
    return vec4f(f32(b[k.x]), f32(b[k.y]), f32(b[k.z]), f32(b[k.w]));
}

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    let quads = (pixels() + 3u) / 4u;
    let tiles = (pixels() + 3u) / 4u * quads;
    if i >= p.batch * tiles { return; }
    let n = i / tiles;
    let row = i % tiles / quads * 4u + LANES;
    let column = i % quads * 4u + LANES;
    // A tile that reaches past the end computes the last row or column more than once, and stores it once.
    let at_row = min(row, vec4u(pixels() - 1u));
    let at_column = min(column, vec4u(pixels() - 1u));
    var total = array<vec4f, 4>();
    for (var first = 0u; first < p.channels; first += RUN) {
        var run = array<vec4f, 4>();
        for (var k = first; k < min(first + RUN, p.channels); k++) {
            let l = a_at(n, k, place(at_row));
            let r = b_at(n, k, at_column);
            for (var s = 0u; s < 4u; s++) { run[s] += l[s] * r; }
        }
        for (var s = 0u; s < 4u; s++) { total[s] += run[s]; }
    }
    for (var s = 0u; s < 4u; s++) {
        for (var t = 0u; t < 4u; t++) {
            if row[s] < pixels() && column[t] < pixels() { y[(n * pixels() + row[s]) * pixels() + column[t]] = Stored(total[s][t]); }
        }
    }
}

// backward by a: one invocation per tile of (channels, w h).   da[c, (y, x)] = sum over q of b[c, q] dy[x h + y, q]
@group(0) @binding(1) var<storage, read> saved_b: array<f32>;        // (batch, channels, h, w)
@group(0) @binding(2) var<storage, read> dy: array<f32>;             // (batch, w h, h, w)
@group(0) @binding(3) var<storage, read_write> da: array<f32>;       // (batch, channels, h, w)

// Value k of four channels.
fn saved_b_of(n: u32, c: vec4u, k: u32) -> vec4f {
    let at = (n * p.channels + c) * pixels() + k;
    return vec4f(saved_b[at.x], saved_b[at.y], saved_b[at.z], saved_b[at.w]);
}

fn dy_of(n: u32, channel: vec4u, q: u32) -> vec4f {
    let at = (n * pixels() + channel) * pixels() + q;
    return vec4f(dy[at.x], dy[at.y], dy[at.z], dy[at.w]);
}

@compute @workgroup_size(WG)
fn backward_a(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    let quads = (pixels() + 3u) / 4u;
    let tiles = (p.channels + 3u) / 4u * quads;
    if i >= p.batch * tiles { return; }
    let n = i / tiles;
    let row = i % tiles / quads * 4u + LANES;
    let column = i % quads * 4u + LANES;
    // A tile that reaches past the end computes the last row or column more than once, and stores it once.
    let at_row = min(row, vec4u(p.channels - 1u));
    let at_column = min(column, vec4u(pixels() - 1u));
    var total = array<vec4f, 4>();
    for (var first = 0u; first < pixels(); first += RUN) {
        var run = array<vec4f, 4>();
        for (var k = first; k < min(first + RUN, pixels()); k++) {
            let l = saved_b_of(n, at_row, k);
            let r = dy_of(n, at_column, k);
            for (var s = 0u; s < 4u; s++) { run[s] += l[s] * r; }
        }
        for (var s = 0u; s < 4u; s++) { total[s] += run[s]; }
    }
    for (var s = 0u; s < 4u; s++) {
        for (var t = 0u; t < 4u; t++) {
            if row[s] < p.channels && column[t] < pixels() { da[(n * p.channels + row[s]) * pixels() + place(column)[t]] = total[s][t]; }
        }
    }
}

// backward by b: one invocation per tile of (channels, h w).   db[c, q] = sum over (y, x) of a[c, (y, x)] dy[x h + y, q]
@group(0) @binding(1) var<storage, read> saved_a: array<f32>;        // (batch, channels, h, w)
@group(0) @binding(3) var<storage, read_write> db: array<f32>;       // (batch, channels, h, w)

fn saved_a_of(n: u32, c: vec4u, channel: u32) -> vec4f {
    let at = (n * p.channels + c) * pixels() + place(vec4u(channel)).x;
    return vec4f(saved_a[at.x], saved_a[at.y], saved_a[at.z], saved_a[at.w]);
}

fn dy_at(n: u32, channel: u32, q: vec4u) -> vec4f {
    let at = (n * pixels() + channel) * pixels() + q;
    return vec4f(dy[at.x], dy[at.y], dy[at.z], dy[at.w]);
}

@compute @workgroup_size(WG)
fn backward_b(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    let quads = (pixels() + 3u) / 4u;
    let tiles = (p.channels + 3u) / 4u * quads;
    if i >= p.batch * tiles { return; }
    let n = i / tiles;
    let row = i % tiles / quads * 4u + LANES;
    let column = i % quads * 4u + LANES;
    // A tile that reaches past the end computes the last row or column more than once, and stores it once.
    let at_row = min(row, vec4u(p.channels - 1u));
    let at_column = min(column, vec4u(pixels() - 1u));
    var total = array<vec4f, 4>();
    for (var first = 0u; first < pixels(); first += RUN) {
        var run = array<vec4f, 4>();
        for (var k = first; k < min(first + RUN, pixels()); k++) {
            let l = saved_a_of(n, at_row, k);
            let r = dy_at(n, k, at_column);
            for (var s = 0u; s < 4u; s++) { run[s] += l[s] * r; }
        }
        for (var s = 0u; s < 4u; s++) { total[s] += run[s]; }
    }
    for (var s = 0u; s < 4u; s++) {
        for (var t = 0u; t < 4u; t++) {
            if row[s] < p.channels && column[t] < pixels() { db[(n * p.channels + row[s]) * pixels() + column[t]] = total[s][t]; }
        }
    }
}
