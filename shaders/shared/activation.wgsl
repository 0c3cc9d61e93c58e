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

fn activation(n: u32, c: u32, i: u32, j: u32, pixel: Pixel) -> f32 {
    var v = source(n, c, i, j);
    if NORM != 0u {
        let k = coefficients[2u * (n * p.input.channels + c)]; // the plane's first pixel, mean less that, scale, scale of the noise
        if NOISE != 0u { v += k.w * pixel.noise; }
        v -= k.x;
        if MASKED != 0u {
            let rest = coefficients[2u * (n * p.input.channels + c) + 1u]; // mean and scale outside the mask; k has those under it
            v = pixel.mask * ((v - k.y) * k.z) + (1.0 - pixel.mask) * ((v - rest.x) * rest.y);
        } else {
            v = (v - k.y) * k.z;
        }
        let t = table[pixel.row + c]; // 1 + gamma, beta
        v = v * t.x + t.y;
    }
    return select(v, v * p.input.slope, v < 0.0);
}
