// Convolution, stride 1, by two kernels: `stage` stores a band of activations with zero padding, and a second kernel
// convolves it. For adapters whose speed depends on the number of loads per multiply-add: the second kernel loads four
// activations at once and tests no borders.
//
// staged_conv2d.rs appends TILE (side of the square of pixels whose sums an invocation keeps: 4 or 8) and LANES
// (invocations that share a tile).
override WG: u32 = 8;
override K: u32 = 3;    // side of the kernel: 1 or 3
override NORM: u32 = 0;
override TABLE: u32 = 0;
override MASKED: u32 = 0;
override NOISE: u32 = 0;

const CHANNEL_RUN = 16u; // input channels summed before that sum joins the total
const STAGED = 8u;       // channels that an invocation stages

// Elements of a staged row with its padding. For 3x3 kernels: one zero on the left, the width rounded up to a multiple
// of 8, and three more on the right.
fn pitch() -> u32 {
    if K == 1u { return p.input.w; }
    return (p.input.w + 7u) / 8u * 8u + 4u;
}
// Number of vec4 in a staged plane.
fn plane() -> u32 { return ((p.row_end - p.row_start + K / 2u * 2u) * pitch() + 3u) / 4u; }

// stage: one invocation per four elements of a staged plane and STAGED channels
@group(0) @binding(7) var<storage, read_write> staged_out: array<vec4<Stored>>; // (batch, channels, plane)

@compute @workgroup_size(WG)
fn stage(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let thread = thread_index(wg, nwg, lane);
    let slabs = (p.input.channels + STAGED - 1u) / STAGED;
    let fours = plane();
    if thread >= p.input.batch * slabs * fours { return; }
    let four = thread % fours;
    let c0 = thread / fours % slabs * STAGED;
    let n = thread / fours / slabs;
    var i: array<u32, 4>;
    var j: array<u32, 4>;
    var inside: array<bool, 4>;
    var pixel: array<Pixel, 4>;
    for (var m = 0u; m < 4u; m++) {
        // Negative coordinates wrap to large numbers, which are outside the image as well.
        i[m] = p.row_start + (4u * four + m) / pitch() - K / 2u;
        j[m] = (4u * four + m) % pitch() - K / 2u;
        inside[m] = i[m] < min(p.input.h, p.row_end + K / 2u) && j[m] < p.input.w;
        if inside[m] { pixel[m] = pixel_at(n, i[m], j[m]); }
    }
    // Neighbouring pixels mostly have the same table entry, and table look-ups take most of the time here.
    let alike = pixel[0].entry == pixel[1].entry && pixel[0].entry == pixel[2].entry && pixel[0].entry == pixel[3].entry;
    for (var c = c0; c < min(c0 + STAGED, p.input.channels); c++) {
        let channel = channel_at(n, c);
        var modulation: array<vec2f, 4>;
        modulation[0] = modulation_at(pixel[0], c);
        for (var m = 1u; m < 4u; m++) {
            modulation[m] = modulation[0];
            if !alike { modulation[m] = modulation_at(pixel[m], c); }
        }
        var v = vec4f();
        for (var m = 0u; m < 4u; m++) {
            if inside[m] { v[m] = activation(input_at(n, c, i[m], j[m]), channel, pixel[m], modulation[m]); }
        }
        staged_out[(n * p.input.channels + c) * fours + four] = vec4<Stored>(v);
    }
}

@group(0) @binding(1) var<storage, read> staged: array<vec4<Stored>>; // (batch, channels, plane)
@group(0) @binding(2) var<storage, read> weight: array<vec4<Stored>>; // (channels K K + 1, ceil(cout / 4)); the last row is the bias
@group(0) @binding(3) var<storage, read_write> y: array<Stored>;      // (batch, cout, h, w)

const WINDOW = TILE + 2u;           // side of a tile's receptive field in the band
const FOURS = (WINDOW + 3u) / 4u;   // vec4 that hold one of its rows

// forward_3x3: an invocation computes four output channels of a tile. LANES neighbouring invocations compute 4 LANES
// channels of one tile, so they load the same activations.
@compute @workgroup_size(WG)
fn forward_3x3(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let quads = (p.cout + 3u) / 4u;
    let blocks = (quads + LANES - 1u) / LANES;
    let across = (p.input.w + TILE - 1u) / TILE;
    let band = p.row_end - p.row_start;
    let tiles = (band + TILE - 1u) / TILE * across;
    let thread = thread_index(wg, nwg, lane);
    let job = thread / LANES;
    let n = job / (tiles * blocks);
    if n >= p.input.batch { return; }
    let quad = job / tiles % blocks * LANES + thread % LANES;
    if quad >= quads { return; }
    let i0 = job % tiles / across * TILE;
    let j0 = job % tiles % across * TILE;
    let row = pitch() / 4u;
    let fours = plane();

    // Three nested short sums keep rounding errors small: over the taps of a channel, the channels of a run, all runs.
    var total: array<array<vec4f, TILE>, TILE>;
    for (var start = 0u; start < p.input.channels; start += CHANNEL_RUN) {
        var sum: array<array<vec4f, TILE>, TILE>;
        for (var ci = start; ci < min(start + CHANNEL_RUN, p.input.channels); ci++) {
            var k: array<vec4f, 9>;
            for (var t = 0u; t < 9u; t++) { k[t] = vec4f(weight[(ci * 9u + t) * quads + quad]); }
            let corner = (n * p.input.channels + ci) * fours + j0 / 4u;
            var v: array<array<f32, 4u * FOURS>, WINDOW>;
            for (var i = 0u; i < WINDOW; i++) {
                for (var f = 0u; f < FOURS; f++) {
                    let four = vec4f(staged[corner + min(i0 + i, band + 1u) * row + f]);
                    for (var m = 0u; m < 4u; m++) { v[i][4u * f + m] = four[m]; }
                }
            }
            for (var i = 0u; i < TILE; i++) {
                for (var j = 0u; j < TILE; j++) {
                    var taps = vec4f();
                    for (var a = 0u; a < 3u; a++) {
                        for (var b = 0u; b < 3u; b++) { taps += v[i + a][j + b] * k[a * 3u + b]; }
                    }
                    sum[i][j] += taps;
                }
            }
        }
        for (var i = 0u; i < TILE; i++) {
            for (var j = 0u; j < TILE; j++) { total[i][j] += sum[i][j]; }
        }
    }

    let bias = vec4f(weight[p.input.channels * 9u * quads + quad]);
    for (var m = 0u; m < 4u; m++) {
        if 4u * quad + m >= p.cout { break; }
        for (var i = 0u; i < TILE; i++) {
            for (var j = 0u; j < TILE; j++) {
                if i0 + i < band && j0 + j < p.input.w {
                    store(n, 4u * quad + m, (p.row_start + i0 + i) * p.input.w + j0 + j, total[i][j][m] + bias[m]);
                }
            }
        }
    }
}

const QUADS = TILE / 4u;

// 1x1: an invocation computes 4 QUADS channels of 4 TILE consecutive pixels, which may span several rows.
struct Share { n: u32, quad: u32, four: u32, is_empty: bool } // image, first quad of channels, first four pixels

fn share_of(thread: u32) -> Share {
    let quads = (p.cout + 3u) / 4u;
    let blocks = (quads + LANES * QUADS - 1u) / (LANES * QUADS);
    let tiles = (plane() + TILE - 1u) / TILE;
    let job = thread / LANES;
    let n = job / (tiles * blocks);
    let quad = (job / tiles % blocks * LANES + thread % LANES) * QUADS;
    return Share(n, quad, job % tiles * TILE, n >= p.input.batch || quad >= quads);
}

// The sums of a share plus the bias: [quad of channels][four pixels][channel of the quad].
var<private> total: array<array<array<vec4f, 4>, TILE>, QUADS>;

fn product(share: Share) {
    let quads = (p.cout + 3u) / 4u;
    let fours = plane();
    for (var start = 0u; start < p.input.channels; start += CHANNEL_RUN) {
        var sum: array<array<array<vec4f, 4>, TILE>, QUADS>;
        for (var ci = start; ci < min(start + CHANNEL_RUN, p.input.channels); ci++) {
            var k: array<vec4f, QUADS>;
            for (var q = 0u; q < QUADS; q++) { k[q] = vec4f(weight[ci * quads + min(share.quad + q, quads - 1u)]); }
            for (var f = 0u; f < TILE; f++) {
                let v = vec4f(staged[(share.n * p.input.channels + ci) * fours + min(share.four + f, fours - 1u)]);
                for (var q = 0u; q < QUADS; q++) {
                    for (var m = 0u; m < 4u; m++) { sum[q][f][m] += k[q][m] * v; }
                }
            }
        }
        for (var q = 0u; q < QUADS; q++) {
            for (var f = 0u; f < TILE; f++) {
                for (var m = 0u; m < 4u; m++) { total[q][f][m] += sum[q][f][m]; }
            }
        }
    }
    for (var q = 0u; q < QUADS; q++) {
        let bias = vec4f(weight[p.input.channels * quads + min(share.quad + q, quads - 1u)]);
        for (var f = 0u; f < TILE; f++) {
            for (var m = 0u; m < 4u; m++) { total[q][f][m] += bias[m]; }
        }
    }
}

// forward_1x1: for planes and bands of a multiple of four pixels
@group(0) @binding(3) var<storage, read_write> y4: array<vec4<Stored>>; // (batch, cout, h w / 4)

@compute @workgroup_size(WG)
fn forward_1x1(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let share = share_of(thread_index(wg, nwg, lane));
    if share.is_empty { return; }
    product(share);
    for (var q = 0u; q < QUADS; q++) {
        for (var m = 0u; m < 4u; m++) {
            let co = 4u * (share.quad + q) + m;
            if co >= p.cout { break; }
            for (var f = 0u; f < TILE; f++) {
                if share.four + f >= plane() { break; }
                let at = ((share.n * p.cout + co) * p.input.h + p.row_start) * p.input.w / 4u + share.four + f;
                var value = total[q][f][m];
                if p.accumulate != 0u { value += vec4f(y4[at]); }
                for (var k = 0u; k < 4u; k++) { value[k] = activated(value[k]); }
                y4[at] = vec4<Stored>(value);
            }
        }
    }
}

// forward_1x1_narrow: for all others
@compute @workgroup_size(WG)
fn forward_1x1_narrow(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let share = share_of(thread_index(wg, nwg, lane));
    if share.is_empty { return; }
    product(share);
    let pixels_in_band = (p.row_end - p.row_start) * p.input.w;
    for (var q = 0u; q < QUADS; q++) {
        for (var m = 0u; m < 4u; m++) {
            let co = 4u * (share.quad + q) + m;
            if co >= p.cout { break; }
            for (var f = 0u; f < TILE; f++) {
                for (var k = 0u; k < 4u; k++) {
                    let at = 4u * (share.four + f) + k;
                    if at < pixels_in_band { store(share.n, co, p.row_start * p.input.w + at, total[q][f][m][k]); }
                }
            }
        }
    }
}
