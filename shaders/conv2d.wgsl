// Convolution.   y[n, co, i, j] = bias[co] + sum over ci, a, b of w[co, ci, a, b] x[n, ci, STRIDE i + a - padding, STRIDE j + b - padding]
//
// Direct convolution without workgroup memory. An invocation keeps the sums of four output channels of a tile of pixels
// in registers. LANES neighbouring invocations compute 4 LANES channels of one tile, so they load the same activations
// and adjacent weights. The number of loads per multiply-add decides the speed, so the loops over tile and kernel have
// constant bounds and unroll.
//
// conv2d.rs appends the constants that size the arrays: K (side of the kernel), STRIDE, TILE (side of the tile), LANES
// (invocations per tile), CHANNELS and RUN (see backward by weight), and DILATION: x is read as if it had DILATION - 1
// zeros between its elements. That makes this kernel compute the gradient by input, too: a convolution of dy, dilated
// by the stride, with the kernel rotated by 180 degrees.
override WG: u32 = 64;
// 1 if the weight is that of the convolution whose gradient by input this is, as it is in its tensor.
override UNPACKED: u32 = 0;
// padding % DILATION: tells which taps read an element of the dilated x and which an inserted zero.
override PHASE: u32 = 0;

const WINDOW = (TILE - 1u) * STRIDE + K; // side of a tile's receptive field in x
const TAPS = K * K;
const CHANNEL_RUN = 16u;                 // input channels summed before that sum joins the total

struct Params {
    batch: u32, cin: u32, cout: u32, h: u32, w: u32, oh: u32, ow: u32, padding: i32, has_bias: u32, parts: u32,
    slope: f32, // of the leaky ReLU that follows the convolution; 1 for none
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (batch, cin, h, w)

// A tile's receptive field in x: offsets of its rows and columns, and factors: 0 for those in the padding, 1 for others.
var<private> row: array<u32, WINDOW>;
var<private> column: array<u32, WINDOW>;
var<private> row_inside: array<f32, WINDOW>;
var<private> column_inside: array<f32, WINDOW>;

fn place_window(i0: u32, j0: u32) {
    for (var k = 0u; k < WINDOW; k++) {
        let i = i32(i0 * STRIDE + k) - p.padding;
        let j = i32(j0 * STRIDE + k) - p.padding;
        let dilation = i32(DILATION);
        row[k] = u32(clamp(i / dilation, 0, i32(p.h) - 1)) * p.w;
        column[k] = u32(clamp(j / dilation, 0, i32(p.w) - 1));
        row_inside[k] = f32(i >= 0 && i <= (i32(p.h) - 1) * dilation);
        column_inside[k] = f32(j >= 0 && j <= (i32(p.w) - 1) * dilation);
    }
}

// Whether row or column k of a tile's receptive field is an element of x, not an inserted zero; tap a of pixel i reads
// k = i STRIDE + a. Tiles begin at multiples of DILATION, so the answer is known once the loops are unrolled, and the
// compiler drops multiplications by inserted zeros.
fn is_element(k: u32) -> bool { return k % DILATION == PHASE; }

// What is stored of a sum. An UNPACKED weight is divided by its spectral norm here. Else leaky ReLU follows: v > 0 ? v : slope
// v; with a slope of 0, minus infinity becomes 0; NaN passes through.
fn finished(v: vec4f) -> vec4f {
    if UNPACKED != 0u {
        if p.has_bias == 0u { return v; }
        return v / bias[0];
    }
    let negative = select(p.slope * v, vec4f(), (v <= vec4f(0.0)) & vec4<bool>(p.slope == 0.0));
    return select(negative, v, v > vec4f(0.0));
}

// forward
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;       // (cin, K, K, ceil(cout / 4)), packed; or UNPACKED
@group(0) @binding(3) var<storage, read> bias: array<f32>;           // (cout); of an UNPACKED weight what divides it (1)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;        // (batch, cout, oh, ow)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let quads = (p.cout + 3u) / 4u;
    let blocks = (quads + LANES - 1u) / LANES;
    let across = (p.ow + TILE - 1u) / TILE;
    let tiles = (p.oh + TILE - 1u) / TILE * across;
    let thread = thread_index(wg, nwg, lane);
    let job = thread / LANES;
    let n = job / (tiles * blocks);
    if n >= p.batch { return; }
    let quad = job / tiles % blocks * LANES + thread % LANES;
    if quad >= quads { return; }
    let i0 = job % tiles / across * TILE;
    let j0 = job % tiles % across * TILE;
    place_window(i0, j0);

    // A zero that the compiler cannot know. It may fuse either product of a b + c d with the sum, and its choice
    // depended on how the loops were unrolled; a sum that starts with this zero can be fused in one way only.
    let zero = f32(p.batch == 0u);
    // Three nested short sums keep rounding errors small: over the taps of a channel, the channels of a run, all runs.
    var total: array<array<vec4f, TILE>, TILE>;
    for (var start = 0u; start < p.cin; start += CHANNEL_RUN) {
        var sum: array<array<vec4f, TILE>, TILE>;
        for (var ci = start; ci < min(start + CHANNEL_RUN, p.cin); ci++) {
            let plane = (n * p.cin + ci) * p.h * p.w;
            var k: array<vec4f, TAPS>;
            if UNPACKED == 0u {
                for (var t = 0u; t < TAPS; t++) { k[t] = weight[(ci * TAPS + t) * quads + quad]; }
            } else {
                // The taps of four channels next to each other, which change places, the last tap first.
                var w: array<vec4f, TAPS>;
                for (var t = 0u; t < TAPS; t++) { w[t] = weight[(ci * quads + quad) * TAPS + t]; }
                for (var t = 0u; t < TAPS; t++) {
                    for (var m = 0u; m < 4u; m++) {
                        let at = m * TAPS + TAPS - 1u - t;
                        k[t][m] = w[at / 4u][at % 4u];
                    }
                }
            }
            var v: array<array<f32, WINDOW>, WINDOW>;
            for (var i = 0u; i < WINDOW; i++) {
                for (var j = 0u; j < WINDOW; j++) {
                    if is_element(i) && is_element(j) { v[i][j] = x[plane + row[i] + column[j]] * (row_inside[i] * column_inside[j]); }
                }
            }
            for (var i = 0u; i < TILE; i++) {
                for (var j = 0u; j < TILE; j++) {
                    var taps = vec4f(zero);
                    for (var a = 0u; a < K; a++) {
                        for (var b = 0u; b < K; b++) {
                            if is_element(i * STRIDE + a) && is_element(j * STRIDE + b) {
                                taps += v[i * STRIDE + a][j * STRIDE + b] * k[a * K + b];
                            }
                        }
                    }
                    sum[i][j] += taps;
                }
            }
        }
        for (var i = 0u; i < TILE; i++) {
            for (var j = 0u; j < TILE; j++) { total[i][j] += sum[i][j]; }
        }
    }

    for (var m = 0u; m < 4u; m++) {
        let co = 4u * quad + m;
        if co >= p.cout { break; }
        var shift = 0.0;
        if UNPACKED == 0u && p.has_bias != 0u { shift = bias[co]; }
        for (var i = 0u; i < TILE; i++) {
            for (var j = 0u; j < TILE; j++) {
                if i0 + i < p.oh && j0 + j < p.ow {
                    y[((n * p.cout + co) * p.oh + i0 + i) * p.ow + j0 + j] = finished(vec4f(total[i][j][m] + shift)).x;
                }
            }
        }
    }
}

// forward_1x1: a 1x1 kernel with stride 1 and no padding, on planes of a multiple of four pixels.
//   y[n, co, p] = bias[co] + sum over ci of w[co, ci] x[n, ci, p]
// Neighbouring pixels share only the weight, so they are loaded four at once: an invocation computes 4 QUADS channels
// of 4 FOURS pixels.
@group(0) @binding(1) var<storage, read> x4: array<vec4f>;           // (batch, cin, h w / 4)
@group(0) @binding(4) var<storage, read_write> y4: array<vec4f>;     // (batch, cout, h w / 4)

const QUADS = TILE / 4u;
const FOURS = TILE;

@compute @workgroup_size(WG)
fn forward_1x1(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let quads = (p.cout + 3u) / 4u;
    let blocks = (quads + LANES * QUADS - 1u) / (LANES * QUADS);
    let fours = p.h * p.w / 4u;
    let tiles = (fours + FOURS - 1u) / FOURS;
    let thread = thread_index(wg, nwg, lane);
    let job = thread / LANES;
    let n = job / (tiles * blocks);
    if n >= p.batch { return; }
    let quad0 = (job / tiles % blocks * LANES + thread % LANES) * QUADS;
    if quad0 >= quads { return; }
    let four0 = job % tiles * FOURS;

    // [quad of channels][four pixels][channel of the quad]
    var total: array<array<array<vec4f, 4>, FOURS>, QUADS>;
    for (var start = 0u; start < p.cin; start += CHANNEL_RUN) {
        var sum: array<array<array<vec4f, 4>, FOURS>, QUADS>;
        for (var ci = start; ci < min(start + CHANNEL_RUN, p.cin); ci++) {
            var k: array<vec4f, QUADS>;
            for (var q = 0u; q < QUADS; q++) { k[q] = weight[ci * quads + min(quad0 + q, quads - 1u)]; }
            for (var f = 0u; f < FOURS; f++) {
                let v = x4[(n * p.cin + ci) * fours + min(four0 + f, fours - 1u)];
                for (var q = 0u; q < QUADS; q++) {
                    for (var m = 0u; m < 4u; m++) { sum[q][f][m] += k[q][m] * v; }
                }
            }
        }
        for (var q = 0u; q < QUADS; q++) {
            for (var f = 0u; f < FOURS; f++) {
                for (var m = 0u; m < 4u; m++) { total[q][f][m] += sum[q][f][m]; }
            }
        }
    }

    for (var q = 0u; q < QUADS; q++) {
        for (var m = 0u; m < 4u; m++) {
            let co = 4u * (quad0 + q) + m;
            if co < p.cout {
                var shift = 0.0;
                if UNPACKED == 0u && p.has_bias != 0u { shift = bias[co]; }
                for (var f = 0u; f < FOURS; f++) {
                    if four0 + f < fours { y4[(n * p.cout + co) * fours + four0 + f] = finished(total[q][f][m] + shift); }
                }
            }
        }
    }
}

// backward by weight.   dw[co, ci, a, b] = sum over n, i, j of dy[n, co, i, j] x[n, ci, STRIDE i + a - padding, STRIDE j + b - padding]
// An invocation computes four output by CHANNELS input channels over every `parts`-th run of RUN tiles. To keep
// rounding errors small, the sum of a run is complete before it joins the total.
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;           // (batch, oh, ow, ceil(cout / 4)), packed
@group(0) @binding(3) var<storage, read_write> dw_parts: array<f32>; // (parts, cout, cin, K, K)
@group(0) @binding(4) var<storage, read_write> db_parts: array<f32>; // (parts, cout), if there is a bias

@compute @workgroup_size(WG)
fn backward_weight(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let quads = (p.cout + 3u) / 4u;
    let blocks = (quads + LANES - 1u) / LANES;
    let slabs = (p.cin + CHANNELS - 1u) / CHANNELS;
    let thread = thread_index(wg, nwg, lane);
    let job = thread / LANES;
    let part = job / (slabs * blocks);
    if part >= p.parts { return; }
    let quad = job / slabs % blocks * LANES + thread % LANES;
    if quad >= quads { return; }
    let ci0 = job % slabs * CHANNELS;
    let across = (p.ow + TILE - 1u) / TILE;
    let tiles = (p.oh + TILE - 1u) / TILE * across;

    let sums_bias = p.has_bias != 0u && ci0 == 0u;
    var total: array<array<vec4f, TAPS>, CHANNELS>;
    var bias_total = vec4f();
    for (var start = part * RUN; start < p.batch * tiles; start += p.parts * RUN) {
        var sum: array<array<vec4f, TAPS>, CHANNELS>;
        var bias_sum = vec4f();
        for (var tile = start; tile < min(start + RUN, p.batch * tiles); tile++) {
            let n = tile / tiles;
            let i0 = tile % tiles / across * TILE;
            let j0 = tile % tiles % across * TILE;
            place_window(i0, j0);
            var d: array<array<vec4f, TILE>, TILE>;
            for (var i = 0u; i < TILE; i++) {
                for (var j = 0u; j < TILE; j++) {
                    let pixel = (n * p.oh + min(i0 + i, p.oh - 1u)) * p.ow + min(j0 + j, p.ow - 1u);
                    d[i][j] = dy[pixel * quads + quad] * f32(i0 + i < p.oh && j0 + j < p.ow);
                }
            }
            if sums_bias {
                for (var i = 0u; i < TILE; i++) {
                    for (var j = 0u; j < TILE; j++) { bias_sum += d[i][j]; }
                }
            }
            for (var c = 0u; c < CHANNELS; c++) {
                let plane = (n * p.cin + min(ci0 + c, p.cin - 1u)) * p.h * p.w;
                var v: array<array<f32, WINDOW>, WINDOW>;
                for (var i = 0u; i < WINDOW; i++) {
                    for (var j = 0u; j < WINDOW; j++) { v[i][j] = x[plane + row[i] + column[j]] * (row_inside[i] * column_inside[j]); }
                }
                // llvmpipe's compiler unrolls these loops in this order only; other orders run at a fifth of the speed.
                for (var i = 0u; i < TILE; i++) {
                    for (var a = 0u; a < K; a++) {
                        for (var b = 0u; b < K; b++) {
                            for (var j = 0u; j < TILE; j++) { sum[c][a * K + b] += v[i * STRIDE + a][j * STRIDE + b] * d[i][j]; }
                        }
                    }
                }
            }
        }
        for (var c = 0u; c < CHANNELS; c++) {
            for (var t = 0u; t < TAPS; t++) { total[c][t] += sum[c][t]; }
        }
        bias_total += bias_sum;
    }

    for (var m = 0u; m < 4u; m++) {
        for (var c = 0u; c < CHANNELS; c++) {
            if 4u * quad + m < p.cout && ci0 + c < p.cin {
                let start = ((part * p.cout + 4u * quad + m) * p.cin + ci0 + c) * TAPS;
                for (var t = 0u; t < TAPS; t++) { dw_parts[start + t] = total[c][t][m]; }
            }
        }
        if sums_bias && 4u * quad + m < p.cout { db_parts[part * p.cout + 4u * quad + m] = bias_total[m]; }
    }
}

// sum_parts: one invocation per element of dw and, if there is a bias, db.   dw = sum over the parts of dw_parts
@group(0) @binding(1) var<storage, read> weight_parts: array<f32>;   // (parts, cout, cin, K, K)
@group(0) @binding(2) var<storage, read> bias_parts: array<f32>;     // (parts, cout)
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;       // (cout, cin, K, K)
@group(0) @binding(4) var<storage, read_write> db: array<f32>;       // (cout)

@compute @workgroup_size(WG)
fn sum_parts(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let k = thread_index(wg, nwg, lane);
    let n = p.cout * p.cin * TAPS;
    var sum = 0.0;
    if k < n {
        for (var part = 0u; part < p.parts; part++) { sum += weight_parts[part * n + k]; }
        dw[k] = sum;
    } else if p.has_bias != 0u && k < n + p.cout {
        for (var part = 0u; part < p.parts; part++) { sum += bias_parts[part * p.cout + k - n]; }
        db[k - n] = sum;
    }
}

// backward by bias: one workgroup per part of a channel.   sums[part, co] = sum over n and the part's i, j of dy[n, co, i, j]
@group(0) @binding(1) var<storage, read> dy_planes: array<f32>;      // (batch, cout, oh, ow)
@group(0) @binding(2) var<storage, read_write> sums_out: array<f32>; // (parts, cout)

@compute @workgroup_size(WG)
fn backward_bias(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let group = group_index(wg, nwg);
    if group >= p.parts * p.cout { return; }
    let co = group % p.cout;
    let plane = p.oh * p.ow;
    let part = (plane + p.parts - 1u) / p.parts;
    let begin = group / p.cout * part;
    var sum = vec4f();
    for (var n = 0u; n < p.batch; n++) {
        let start = (n * p.cout + co) * plane;
        for (var i = begin + lane; i < min(begin + part, plane); i += WG) { sum.x += dy_planes[start + i]; }
    }
    sum = workgroup_sum(sum, lane);
    if lane == 0u { sums_out[group] = sum.x; }
}
