// The statistics of instance norm, or of mask norm (VITON-HD, section 3.4), in one pass over each plane. Mask norm
// standardizes the region under the mask m, with weights r = m, and the rest, with weights r = 1 - m:
//   r (v - mu) k,   mu = sum(r v) / S,   k = sqrt(S / HW) / sqrt(V + eps),   V = sum(r^2 (v - mu)^2) / HW,   S = sum(r), or 1 if 0
// Here v is the activation minus the plane's first pixel. Otherwise rounding a mean far from zero would hide the small
// variation of a plane whose pixels are almost equal. An invocation sums deviations from the first v that it reads.
// Those sums are merged as means and squared deviations (Chan et al. 1979), so that an outlier costs no digits either.
override WG: u32 = 256;
override MASKED: u32 = 0;
override NOISE: u32 = 0;

struct Params {
    input: Input,
    part: u32, parts: u32, eps: f32, // part: elements per part; parts: parts per plane
}

@group(0) @binding(0) var<uniform> p: Params;

// For both regions: x under the mask, y the rest. The mean is weighted by r, the squared deviations by r^2.
struct Moments {
    sum: vec2f,     // sum(r)
    mean: vec2f,    // sum(r v) / sum(r)
    square: vec2f,  // sum(r^2)
    center: vec2f,  // sum(r^2 v) / sum(r^2)
    spread: vec2f,  // sum(r^2 (v - center)^2)
    origin: vec2f,  // the plane's first pixel, twice
}

fn share(part: vec2f, whole: vec2f) -> vec2f {
    return select(part / whole, vec2f(), whole == vec2f());
}

fn merged(a: Moments, b: Moments) -> Moments {
    let sum = a.sum + b.sum;
    let square = a.square + b.square;
    let apart = b.center - a.center;
    let part = share(b.square, square);
    let mean = a.mean + (b.mean - a.mean) * share(b.sum, sum);
    return Moments(sum, mean, square, a.center + apart * part, a.spread + b.spread + apart * apart * a.square * part, a.origin);
}

// partial: one workgroup per part of a plane
@group(0) @binding(1) var<storage, read> operand_0: array<Stored>;   // (batch, first, h_0, w_0)
@group(0) @binding(2) var<storage, read> operand_1: array<Stored>;   // (batch, channels - first, h_1, w_1)
@group(0) @binding(3) var<storage, read> noise: array<f32>;          // (batch, h, w)
@group(0) @binding(4) var<storage, read> noise_scale: array<f32>;    // (channels)
@group(0) @binding(5) var<storage, read> mask: array<f32>;           // (batch, h, w)
@group(0) @binding(6) var<storage, read_write> partial_out: array<Moments>; // (batch, channels, parts)

var<workgroup> shared_moments: array<Moments, WG>;

@compute @workgroup_size(WG)
fn partial(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let group = group_index(wg, nwg);
    if group >= p.input.batch * p.input.channels * p.parts { return; }
    let n = group / p.parts / p.input.channels;
    let c = group / p.parts % p.input.channels;
    // Upsampling repeats all pixels equally often: without mask and noise, the operand's plane has the same statistics.
    let alone = MASKED == 0u && NOISE == 0u;
    let w = select(p.input.w, select(p.input.w_1, p.input.w_0, c < p.input.first), alone);
    let h = select(p.input.h, select(p.input.h_1, p.input.h_0, c < p.input.first), alone);
    let start = group % p.parts * p.part;
    let end = min(start + p.part, h * w);

    var origin = input_at(n, c, 0u, 0u);
    if NOISE != 0u { origin += noise_scale[c] * noise[n * h * w]; }
    var first = 0.0;
    var sum = vec2f();
    var linear = vec2f();
    var square = vec2f();
    var square_linear = vec2f();
    var squares = vec2f();
    for (var k = start + lane; k < end; k += WG) {
        var v: f32;
        if alone {
            v = element(n, c, k);
        } else {
            v = input_at(n, c, k / w, k % w);
            if NOISE != 0u { v += noise_scale[c] * noise[n * h * w + k]; }
        }
        v -= origin;
        if k == start + lane { first = v; }
        let d = v - first;
        if MASKED != 0u {
            let m = mask[n * h * w + k];
            let r = vec2f(m, 1.0 - m);
            sum += r;
            linear += r * d;
            square += r * r;
            square_linear += r * r * d;
            squares += r * r * d * d;
        } else {
            sum.x += 1.0;
            linear.x += d;
            squares.x += d * d;
        }
    }
    if MASKED == 0u {
        square = sum;
        square_linear = linear;
    }
    let center = share(square_linear, square);
    shared_moments[lane] =
        Moments(sum, first + share(linear, sum), square, first + center, squares - square_linear * center, vec2f(origin));
    for (var width = WG / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if lane < width { shared_moments[lane] = merged(shared_moments[lane], shared_moments[lane + width]); }
    }
    if lane == 0u { partial_out[group] = shared_moments[0]; }
}

// combine: one invocation per plane
@group(0) @binding(1) var<storage, read> partial_in: array<Moments>; // (batch, channels, parts)
@group(0) @binding(2) var<storage, read> scale_of_noise: array<f32>; // (channels)
@group(0) @binding(3) var<storage, read_write> coefficients: array<vec4f>; // (batch, channels, 2), as load_store.wgsl reads them

@compute @workgroup_size(WG)
fn combine(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let plane = thread_index(wg, nwg, lane);
    if plane >= p.input.batch * p.input.channels { return; }
    var whole = partial_in[plane * p.parts];
    for (var part = 1u; part < p.parts; part++) { whole = merged(whole, partial_in[plane * p.parts + part]); }
    let elements = select(f32(p.input.h * p.input.w), whole.sum.x, MASKED == 0u);
    let off = whole.center - whole.mean;
    let variance = (whole.spread + whole.square * off * off) / elements;
    let count = select(whole.sum, vec2f(1.0), whole.sum == vec2f());
    let scale = sqrt(count / elements) / sqrt(variance + p.eps);
    coefficients[2u * plane] = vec4f(whole.origin.x, whole.mean.x, scale.x, scale_of_noise[plane % p.input.channels]);
    coefficients[2u * plane + 1u] = vec4f(whole.mean.y, scale.y, 1.0, 0.0);
}
