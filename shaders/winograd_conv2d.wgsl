// 3x3 convolution, stride 1, by Winograd's F(2x2, 3x3) (Lavin and Gray 2016), that normalizes, modulates and activates
// its input while loading it. For each tile of 2x2 output pixels
//   Y = A^T (sum over ci of (G w G^T) . (B^T d B)) A
// with 16 products instead of 36. The elements of B, G and A are 0, 1, -1 and 1/2; G w G^T is computed beforehand.
//
// A workgroup computes 32 channels of 4x8 tiles. Activations of four input channels at a time, and then their
// transforms, pass through workgroup memory. An invocation sums the products at one of the 16 places of the transform,
// for eight output channels of eight tiles.
override WG: u32 = 256;
override NORM: u32 = 0;
override TABLE: u32 = 0;
override MASKED: u32 = 0;
override NOISE: u32 = 0;

const K = 3u;
const COUTS = 32u;
const TILES_H = 4u;
const TILES_W = 8u;
const CHUNK = 4u;                       // input channels in workgroup memory
const SEEN_H = 2u * TILES_H + 2u;
const SEEN_W = 2u * TILES_W + 2u;
const ACTIVATIONS = 16u * CHUNK * 32u;  // offset of the activations in workgroup memory, behind their transforms

@group(0) @binding(7) var<storage, read> weight: array<vec4<Stored>>; // (16 channels + 1, ceil(cout / 4)); the last row is the bias
@group(0) @binding(8) var<storage, read_write> y: array<Stored>;     // (batch, cout, h, w)

// Transforms (16, CHUNK, 32 tiles) and activations (CHUNK, SEEN_H, SEEN_W); at the end, sums (16, 8, 32 tiles).
var<workgroup> memory: array<f32, 4096>;

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let quads = (p.cout + 3u) / 4u;
    let blocks = (p.cout + COUTS - 1u) / COUTS;
    let across = (p.input.w + 2u * TILES_W - 1u) / (2u * TILES_W);
    let areas = (p.row_end - p.row_start + 2u * TILES_H - 1u) / (2u * TILES_H) * across;
    let group = group_index(wg, nwg);
    if group >= p.input.batch * areas * blocks { return; }
    let n = group / blocks / areas;
    let area = group / blocks % areas;
    let quad0 = group % blocks * (COUTS / 4u);
    let i0 = p.row_start + area / across * (2u * TILES_H);
    let j0 = area % across * (2u * TILES_W);

    let place = lane / 16u;          // one of the 16
    let block = lane % 16u / 4u;     // eight output channels
    let tiles = lane % 4u * 8u;      // the first of eight
    // This invocation transforms one tile of one input channel, and of that half of the places.
    let half = lane / 128u;
    let channel = lane % 128u / 32u;
    let tile = lane % 32u;

    var low: array<vec4f, 8>;
    var high: array<vec4f, 8>;
    let quad = min(quad0 + 2u * block, quads - 1u);
    let next_quad = min(quad0 + 2u * block + 1u, quads - 1u);
    for (var ci0 = 0u; ci0 < p.input.channels; ci0 += CHUNK) {
        // Other invocations may read the previous transforms until the next barrier, but not the previous activations.
        for (var k = lane; k < SEEN_H * SEEN_W; k += WG) {
            // Negative coordinates wrap to large numbers, which are outside the image as well.
            let i = i0 + k / SEEN_W - 1u;
            let j = j0 + k % SEEN_W - 1u;
            let inside = i < min(p.input.h, p.row_end + 1u) && j < p.input.w;
            var pixel: Pixel;
            if inside { pixel = pixel_at(n, i, j); }
            for (var c = 0u; c < CHUNK; c++) {
                var v = 0.0;
                if inside && ci0 + c < p.input.channels {
                    let ci = ci0 + c;
                    v = activation(input_at(n, ci, i, j), channel_at(n, ci), pixel, modulation_at(pixel, ci));
                }
                memory[ACTIVATIONS + c * SEEN_H * SEEN_W + k] = v;
            }
        }
        workgroupBarrier();
        let corner = ACTIVATIONS + (channel * SEEN_H + tile / TILES_W * 2u) * SEEN_W + tile % TILES_W * 2u;
        // Columns 0 and 1 of d B, or 2 and 3.
        var a: array<f32, 4>;
        var b: array<f32, 4>;
        for (var k = 0u; k < 4u; k++) {
            let at = corner + k * SEEN_W;
            let d1 = memory[at + 1u];
            let d2 = memory[at + 2u];
            if half == 0u {
                a[k] = memory[at] - d2;
                b[k] = d1 + d2;
            } else {
                a[k] = d2 - d1;
                b[k] = d1 - memory[at + 3u];
            }
        }
        let to = channel * 32u + tile + 2u * half * (CHUNK * 32u);
        let row = 4u * CHUNK * 32u;
        let column = CHUNK * 32u;
        memory[to] = a[0] - a[2];
        memory[to + column] = b[0] - b[2];
        memory[to + row] = a[1] + a[2];
        memory[to + row + column] = b[1] + b[2];
        memory[to + 2u * row] = a[2] - a[1];
        memory[to + 2u * row + column] = b[2] - b[1];
        memory[to + 3u * row] = a[1] - a[3];
        memory[to + 3u * row + column] = b[1] - b[3];
        workgroupBarrier();
        for (var c = 0u; c < CHUNK; c++) {
            // Activations past the last channel are zeros, whatever the weight.
            let at = (min(ci0 + c, p.input.channels - 1u) * 16u + place) * quads;
            let w0 = vec4f(weight[at + quad]);
            let w1 = vec4f(weight[at + next_quad]);
            for (var t = 0u; t < 8u; t++) {
                let v = memory[(place * CHUNK + c) * 32u + tiles + t];
                low[t] += w0 * v;
                high[t] += w1 * v;
            }
        }
    }
    workgroupBarrier();

    // Brings the 16 places of each tile together, eight channels at a time, and transforms them into pixels.
    for (var pass_block = 0u; pass_block < COUTS / 8u; pass_block++) {
        if block == pass_block {
            for (var t = 0u; t < 8u; t++) {
                for (var m = 0u; m < 4u; m++) {
                    memory[(place * 8u + m) * 32u + tiles + t] = low[t][m];
                    memory[(place * 8u + 4u + m) * 32u + tiles + t] = high[t][m];
                }
            }
        }
        workgroupBarrier();
        let co = 4u * quad0 + 8u * pass_block + lane / 32u;
        if co < p.cout {
            // A^T M
            var top: array<f32, 4>;
            var bottom: array<f32, 4>;
            for (var k = 0u; k < 4u; k++) {
                let m0 = memory[k * 256u + lane];
                let m1 = memory[(4u + k) * 256u + lane];
                let m2 = memory[(8u + k) * 256u + lane];
                let m3 = memory[(12u + k) * 256u + lane];
                top[k] = m0 + m1 + m2;
                bottom[k] = m1 - m2 - m3;
            }
            let bias = f32(weight[16u * p.input.channels * quads + co / 4u][co % 4u]);
            let i = i0 + tile / TILES_W * 2u;
            let j = j0 + tile % TILES_W * 2u;
            store_inside(n, co, i, j, top[0] + top[1] + top[2] + bias);
            store_inside(n, co, i, j + 1u, top[1] - top[2] - top[3] + bias);
            store_inside(n, co, i + 1u, j, bottom[0] + bottom[1] + bottom[2] + bias);
            store_inside(n, co, i + 1u, j + 1u, bottom[1] - bottom[2] - bottom[3] + bias);
        }
        workgroupBarrier();
    }
}

fn store_inside(n: u32, co: u32, i: u32, j: u32, sum: f32) {
    if i < p.row_end && j < p.input.w { store(n, co, i * p.input.w + j, sum); }
}
