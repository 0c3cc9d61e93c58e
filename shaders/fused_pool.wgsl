// Pooling that normalizes, modulates and activates its input while loading it.
//   y[n, c, i, j] = max or mean over a, b of activation(n, c, i stride + a - padding, j stride + b - padding)
// Pixels outside the image do not count. With a window of one pixel it stores the activations themselves.
override WG: u32 = 256;
override WINDOW: u32 = 2; // side of the window
override MAX: u32 = 1;
override NORM: u32 = 0;
override TABLE: u32 = 0;
override MASKED: u32 = 0;
override NOISE: u32 = 0;

@group(0) @binding(7) var<storage, read_write> y: array<Stored>; // (batch, channels, out_h, out_w)

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let thread = thread_index(wg, nwg, lane);
    let plane = p.out_h * p.out_w;
    if thread >= p.input.batch * p.cout * plane { return; }
    let c = thread / plane % p.cout;
    let n = thread / plane / p.cout;
    let channel = channel_at(n, c);
    var most = 0.0;
    var sum = 0.0;
    var count = 0.0;
    for (var a = 0u; a < WINDOW; a++) {
        for (var b = 0u; b < WINDOW; b++) {
            // Negative coordinates wrap to large numbers, which are outside the image as well.
            let i = thread % plane / p.out_w * p.stride + a - p.padding;
            let j = thread % p.out_w * p.stride + b - p.padding;
            if i >= p.input.h || j >= p.input.w { continue; }
            let pixel = pixel_at(n, i, j);
            let v = activation(input_at(n, c, i, j), channel, pixel, modulation_at(pixel, c));
            // max() may drop NaN.
            if count == 0.0 || v > most || is_nan(v) { most = v; }
            sum += v;
            count += 1.0;
        }
    }
    store(n, c, thread % plane, select(sum / count, most, MAX != 0u));
}
