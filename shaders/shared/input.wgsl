// The input of a plan's step: one or two operands, resized to the nearest pixels of (H, W) and concatenated along the
// channels. Needs `operand_0`, `operand_1`, and an Input in Params.

struct Input {
    batch: u32, channels: u32, h: u32, w: u32,
    first: u32, h_0: u32, w_0: u32, up_0: u32,     // operand 0: channels, height, width, number of times it is doubled
    down_0: u32, h_1: u32, w_1: u32, up_1: u32,    // or halved; operand 1 likewise
    down_1: u32,
    band_start: u32, band_rows: u32,               // image rows in the buffer `pixels`
    slope: f32,                                    // of the leaky ReLU
}

// The value at row i and column j, before noise and normalization.
fn input_at(n: u32, c: u32, i: u32, j: u32) -> f32 {
    let s = p.input;
    if c < s.first {
        let row = (n * s.first + c) * s.h_0 + ((i >> s.up_0) << s.down_0);
        return f32(operand_0[row * s.w_0 + ((j >> s.up_0) << s.down_0)]);
    }
    let row = (n * (s.channels - s.first) + c - s.first) * s.h_1 + ((i >> s.up_1) << s.down_1);
    return f32(operand_1[row * s.w_1 + ((j >> s.up_1) << s.down_1)]);
}

// Element k of an operand's plane, before resizing.
fn element(n: u32, c: u32, k: u32) -> f32 {
    let s = p.input;
    if c < s.first { return f32(operand_0[(n * s.first + c) * s.h_0 * s.w_0 + k]); }
    return f32(operand_1[(n * (s.channels - s.first) + c - s.first) * s.h_1 * s.w_1 + k]);
}
