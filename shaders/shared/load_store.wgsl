// How a plan's convolutions and poolings load an activation (add noise, normalize, modulate as in Park et al. 2019,
// leaky ReLU) and store a result. Needs input.wgsl, math.wgsl, the output `y`, and the overrides NORM, TABLE, MASKED
// and NOISE, declared before any use of K (naga 30 panics otherwise).

struct Params {
    input: Input,
    cout: u32, out_h: u32, out_w: u32, row_start: u32, row_end: u32, // channels, size and rows of the output
    stride: u32, padding: u32, accumulate: u32, function: u32, out_slope: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> operand_0: array<Stored>;   // (batch, first, h_0, w_0)
@group(0) @binding(2) var<storage, read> operand_1: array<Stored>;   // (batch, channels - first, h_1, w_1)
@group(0) @binding(3) var<storage, read> coefficients: array<vec4f>; // (batch, channels, 2)
@group(0) @binding(4) var<storage, read> table: array<vec2f>;        // (entries, channels rounded up to an even number)
@group(0) @binding(5) var<storage, read> pixels: array<vec2u>;       // (batch, band_rows, w): table entry, mask
@group(0) @binding(6) var<storage, read> noise: array<f32>;          // (batch, h, w)

struct Pixel { entry: u32, mask: f32, noise: f32 } // entry: index of its first channel in the table

// What all channels of a pixel have in common.
fn pixel_at(n: u32, i: u32, j: u32) -> Pixel {
    var pixel = Pixel(0u, 0.0, 0.0);
    if TABLE != 0u {
        let at = pixels[(n * p.input.band_rows + i - p.input.band_start) * p.input.w + j];
        pixel.entry = at.x * ((p.input.channels + 1u) / 2u * 2u);
        pixel.mask = bitcast<f32>(at.y);
    }
    if NOISE != 0u { pixel.noise = noise[(n * p.input.h + i) * p.input.w + j]; }
    return pixel;
}

// The coefficients of a plane's normalization.
struct Channel {
    // First pixel; mean minus that and scale, of the region under the mask or of all; factor of the noise.
    under: vec4f,
    // Mean minus the first pixel and scale, outside the mask; scale and shift after the normalization, without a table.
    rest: vec4f,
}

fn channel_at(n: u32, c: u32) -> Channel {
    var channel = Channel(vec4f(), vec4f());
    if NORM != 0u {
        let at = 2u * (n * p.input.channels + c);
        channel.under = coefficients[at];
        if MASKED != 0u || TABLE == 0u { channel.rest = coefficients[at + 1u]; }
    }
    return channel;
}

// 1 + gamma and beta of a pixel.
fn modulation_at(pixel: Pixel, c: u32) -> vec2f {
    if TABLE != 0u { return table[pixel.entry + c]; }
    return vec2f();
}

fn activation(input: f32, channel: Channel, pixel: Pixel, modulation: vec2f) -> f32 {
    var v = input;
    if NORM != 0u {
        if NOISE != 0u { v += channel.under.w * pixel.noise; }
        v -= channel.under.x;
        let m = pixel.mask;
        let under = (v - channel.under.y) * channel.under.z;
        if MASKED != 0u {
            v = m * under + (1.0 - m) * ((v - channel.rest.x) * channel.rest.y);
        } else {
            v = under;
        }
        if TABLE != 0u {
            v = v * modulation.x + modulation.y;
        } else {
            v = v * channel.rest.z + channel.rest.w;
        }
    }
    return select(v, v * p.input.slope, v < 0.0);
}

// The activation function of the output.
fn activated(v: f32) -> f32 {
    if p.function == 1u { return precise_tanh(v); }
    if p.function == 2u { return precise_sigmoid(v); }
    return select(v, v * p.out_slope, v < 0.0);
}

// Stores a result, which includes the bias, as element `at` of a plane of y.
fn store(n: u32, co: u32, at: u32, result: f32) {
    let k = (n * p.cout + co) * p.out_h * p.out_w + at;
    var value = result;
    if p.accumulate != 0u { value += f32(y[k]); }
    y[k] = Stored(activated(value));
}
