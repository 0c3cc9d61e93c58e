// What a convolution reads: its source, noise added, normalized, modulated (Park et al. 2019), through a leaky ReLU. Needs
// source.wgsl, the overrides NORM, MASKED and NOISE, `coefficients`, `table`, `pixels` and `noise`.

struct Pixel { row: u32, mask: f32, noise: f32 }

// Row of the table, mask and noise at a pixel: the same for all channels.
fn pixel_at(n: u32, i: u32, j: u32) -> Pixel {
    var pixel: Pixel;
    if NORM != 0u {
        let at = pixels[(n * p.input.band_rows + i - p.input.band_start) * p.input.w + j];
        pixel.row = at.x * p.input.channels;
        pixel.mask = bitcast<f32>(at.y);
        if NOISE != 0u { pixel.noise = noise[(n * p.input.h + i) * p.input.w + j]; }
    }
    return pixel;
}

// What normalizes a plane.
struct Channel {
    under: vec4f, // the plane's first pixel; mean less that and scale, under the mask or of all; scale of the noise
    rest: vec2f,  // mean less the first pixel and scale, outside the mask
}

fn channel_at(n: u32, c: u32) -> Channel {
    var channel: Channel;
    if NORM != 0u {
        let at = 2u * (n * p.input.channels + c);
        channel.under = coefficients[at];
        if MASKED != 0u { channel.rest = coefficients[at + 1u].xy; }
    }
    return channel;
}

// 1 + gamma and beta of a pixel.
fn modulation_at(pixel: Pixel, c: u32) -> vec2f {
    if NORM != 0u { return table[pixel.row + c]; }
    return vec2f();
}

fn activation(source: f32, channel: Channel, pixel: Pixel, modulation: vec2f) -> f32 {
    var v = source;
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
        v = v * modulation.x + modulation.y;
    }
    return select(v, v * p.input.slope, v < 0.0);
}
