// Elementary functions, accurate to a few units in the last place of float32 on every adapter: WGSL allows the built-in
// ones far larger errors. Polynomials: Cephes (Moshier), single precision.

// e^x for |x| <= 87
fn precise_exp(x: f32) -> f32 {
    let n = floor(1.44269504 * x + 0.5);
    let r = (x - n * 0.693359375) - n * -2.12194440e-4; // ln 2 in two parts, so that the first product is exact
    var q = 1.9875691500e-4;
    q = q * r + 1.3981999507e-3;
    q = q * r + 8.3334519073e-3;
    q = q * r + 4.1665795894e-2;
    q = q * r + 1.6666665459e-1;
    q = q * r + 5.0000001201e-1;
    return ldexp(q * r * r + r + 1.0, i32(n));
}

fn precise_tanh(x: f32) -> f32 {
    let z = x * x;
    var q = -5.70498872745e-3;
    q = q * z + 2.06390887954e-2;
    q = q * z - 5.37397155531e-2;
    q = q * z + 1.33314422036e-1;
    q = q * z - 3.33332819422e-1;
    let small = q * z * x + x;
    let large = 1.0 - 2.0 / (precise_exp(2.0 * min(abs(x), 10.0)) + 1.0); // 1 - tanh(10) is below float32's rounding
    // NaN is not >= 0.625 and passes through `small`.
    return select(small, select(large, -large, x < 0.0), abs(x) >= 0.625);
}

// 1 / (1 + e^-x). Exactly 0 below -87, where it is close to float32's smallest normal number.
fn precise_sigmoid(x: f32) -> f32 {
    // Selections, not min(), so that NaN passes through.
    let t = precise_exp(-select(abs(x), 87.0, abs(x) > 87.0));
    return select(select(1.0, t, x < 0.0) / (1.0 + t), 0.0, x < -87.0);
}

// ln((1 + f) 2^e) for sqrt(1/2) - 1 <= f <= sqrt(2) - 1
fn precise_log(f: f32, e: f32) -> f32 {
    let z = f * f;
    var q = 7.0376836292e-2;
    q = q * f - 1.1514610310e-1;
    q = q * f + 1.1676998740e-1;
    q = q * f - 1.2420140846e-1;
    q = q * f + 1.4249322787e-1;
    q = q * f - 1.6668057665e-1;
    q = q * f + 2.0000714765e-1;
    q = q * f - 2.4999993993e-1;
    q = q * f + 3.3333331174e-1;
    let tail = q * f * z + e * -2.12194440e-4 - 0.5 * z; // ln 2 in two parts, as above
    return (f + tail) + e * 0.693359375;
}

// ln(x) for normal x > 0. Near 1 the relative error is as small as elsewhere, since x - 1 is exact.
fn precise_ln(x: f32) -> f32 {
    let parts = frexp(x);
    let low = parts.fract < 0.70710678;
    return precise_log(select(parts.fract, 2.0 * parts.fract, low) - 1.0, f32(parts.exp) - select(0.0, 1.0, low));
}

// ln(u) of a uniform number u = k 2^-25 in (0, 1), k odd. Near 1 it is computed from 1 - u, which float32 holds exactly.
fn log_of_uniform(k: u32) -> f32 {
    if k >= 23726566u { // sqrt(1/2)
        return precise_log(-f32(33554432u - k) * 0x1p-25, 0.0);
    }
    return precise_ln(f32(k) * 0x1p-25);
}

// (cos, sin) of 2 pi k 2^-25. The nearest quarter turn is subtracted in integers, so the rest is exact and |a| <= pi / 4.
fn cos_sin_of_turn(k: u32) -> vec2f {
    let quarter = (k + 4194304u) >> 23u;
    let a = f32(i32(k) - i32(quarter << 23u)) * (6.28318530717958648 * 0x1p-25);
    let z = a * a;
    let s = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * a + a;
    let c = ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0;
    switch quarter & 3u {
        case 0u: { return vec2f(c, s); }
        case 1u: { return vec2f(-s, c); }
        case 2u: { return vec2f(-c, -s); }
        default: { return vec2f(s, -c); }
    }
}

// Tests the bits, because a compiler may assume that v != v is false.
fn is_nan(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}
