// Convolution that normalizes, modulates and activates its input while loading it.
//   y[n, co, i, j] = bias[co] + sum over ci, a, b of w[co, ci, a, b] activation(n, ci, i stride + a - padding, j stride + b - padding)
//
// forward: 1x1 and 3x3 kernels of stride 1 whose output has the input's size. A workgroup computes COUTS channels of
// TILE_H x TILE_W pixels, an invocation eight channels of eight neighbouring pixels. Activations and weights of four
// input channels at a time pass through workgroup memory, so that a workgroup computes each activation and loads each
// weight once.
//
// fused_conv2d.rs appends TILE_H, TILE_W and COUTS.
override WG: u32 = 128; // TILE_H TILE_W / 8 * COUTS / 8
override K: u32 = 3;    // side of the kernel
override NORM: u32 = 0;
override TABLE: u32 = 0;
override MASKED: u32 = 0;
override NOISE: u32 = 0;

const CHUNK = 4u;              // input channels in workgroup memory
const PITCH = TILE_W + 4u;     // elements between rows of activations

@group(0) @binding(7) var<storage, read> weight: array<vec4<Stored>>; // (channels K K + 1, ceil(cout / 4)); the last row is the bias
@group(0) @binding(8) var<storage, read_write> y: array<Stored>;     // (batch, cout, h, w)

var<workgroup> activations: array<f32, CHUNK * (TILE_H + 2u) * PITCH>;
var<workgroup> weights: array<vec4f, CHUNK * K * K * COUTS / 4u>;

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let quads = (p.cout + 3u) / 4u;
    let blocks = (p.cout + COUTS - 1u) / COUTS;
    let across = (p.input.w + TILE_W - 1u) / TILE_W;
    let tiles = (p.row_end - p.row_start + TILE_H - 1u) / TILE_H * across;
    let group = group_index(wg, nwg);
    if group >= p.input.batch * tiles * blocks { return; }
    let n = group / blocks / tiles;
    let tile = group / blocks % tiles;
    let quad0 = group % blocks * (COUTS / 4u);
    let i0 = p.row_start + tile / across * TILE_H;
    let j0 = tile % across * TILE_W;

    // The pixels and channels of this invocation, relative to the workgroup's.
    let groups = TILE_H * TILE_W / 8u;
    let row = lane % groups / (TILE_W / 8u);
    let column = lane % groups % (TILE_W / 8u) * 8u;
    let pair = lane / groups * 2u;

    var low: array<vec4f, 8>;
    var high: array<vec4f, 8>;
    for (var ci0 = 0u; ci0 < p.input.channels; ci0 += CHUNK) {
        workgroupBarrier();
        let seen_w = TILE_W + K - 1u;
        for (var k = lane; k < (TILE_H + K - 1u) * seen_w; k += WG) {
            // Negative coordinates wrap to large numbers, which are outside the image as well.
            let i = i0 + k / seen_w - K / 2u;
            let j = j0 + k % seen_w - K / 2u;
            let inside = i < min(p.input.h, p.row_end + K / 2u) && j < p.input.w;
            var pixel: Pixel;
            if inside { pixel = pixel_at(n, i, j); }
            for (var c = 0u; c < CHUNK; c++) {
                var v = 0.0;
                if inside && ci0 + c < p.input.channels {
                    let ci = ci0 + c;
                    v = activation(input_at(n, ci, i, j), channel_at(n, ci), pixel, modulation_at(pixel, ci));
                }
                activations[(c * (TILE_H + 2u) + k / seen_w) * PITCH + k % seen_w] = v;
            }
        }
        for (var k = lane; k < CHUNK * K * K * COUTS / 4u; k += WG) {
            let at = min(ci0 * K * K + k / (COUTS / 4u), p.input.channels * K * K - 1u);
            weights[k] = vec4f(weight[at * quads + min(quad0 + k % (COUTS / 4u), quads - 1u)]);
        }
        workgroupBarrier();
        for (var c = 0u; c < CHUNK; c++) {
            for (var a = 0u; a < K; a++) {
                var v: array<f32, 10>;
                for (var k = 0u; k < 7u + K; k++) { v[k] = activations[(c * (TILE_H + 2u) + row + a) * PITCH + column + k]; }
                for (var b = 0u; b < K; b++) {
                    let at = ((c * K + a) * K + b) * (COUTS / 4u) + pair;
                    let w0 = weights[at];
                    let w1 = weights[at + 1u];
                    for (var k = 0u; k < 8u; k++) {
                        low[k] += w0 * v[k + b];
                        high[k] += w1 * v[k + b];
                    }
                }
            }
        }
    }

    let i = i0 + row;
    if i >= p.row_end { return; }
    for (var half = 0u; half < 2u; half++) {
        let quad = quad0 + pair + half;
        if quad >= quads { break; }
        let bias = vec4f(weight[p.input.channels * K * K * quads + quad]);
        for (var k = 0u; k < 8u; k++) {
            let j = j0 + column + k;
            if j >= p.input.w { break; }
            let sum = select(high[k], low[k], half == 0u) + bias;
            for (var m = 0u; m < 4u; m++) {
                if 4u * quad + m >= p.cout { break; }
                store(n, 4u * quad + m, i * p.input.w + j, sum[m]);
            }
        }
    }
}

// forward_strided: any kernel and stride. An invocation computes four channels of one pixel.
@compute @workgroup_size(WG)
fn forward_strided(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let thread = thread_index(wg, nwg, lane);
    let quads = (p.cout + 3u) / 4u;
    let area = (p.row_end - p.row_start) * p.out_w;
    if thread >= p.input.batch * quads * area { return; }
    let quad = thread / area % quads;
    let n = thread / area / quads;
    let row = p.row_start + thread % area / p.out_w;
    let column = thread % p.out_w;
    var sum = vec4f();
    for (var ci = 0u; ci < p.input.channels; ci++) {
        let channel = channel_at(n, ci);
        // The taps of a channel get a sum of their own: short sums round less.
        var taps = vec4f();
        for (var a = 0u; a < K; a++) {
            for (var b = 0u; b < K; b++) {
                // Negative coordinates wrap to large numbers, which are outside the image as well.
                let i = row * p.stride + a - p.padding;
                let j = column * p.stride + b - p.padding;
                if i >= p.input.h || j >= p.input.w { continue; }
                let pixel = pixel_at(n, i, j);
                let v = activation(input_at(n, ci, i, j), channel, pixel, modulation_at(pixel, ci));
                taps += v * vec4f(weight[((ci * K + a) * K + b) * quads + quad]);
            }
        }
        sum += taps;
    }
    sum += vec4f(weight[p.input.channels * K * K * quads + quad]);
    for (var m = 0u; m < 4u; m++) {
        if 4u * quad + m >= p.cout { break; }
        store(n, 4u * quad + m, row * p.out_w + column, sum[m]);
    }
}
