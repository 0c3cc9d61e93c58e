// Philox4x32-10 (Salmon et al. 2011) and Box-Muller: counter-based Gaussian noise. Needs math.wgsl.

// (high, low) of the 64-bit product
fn mul_wide(a: u32, b: u32) -> vec2u {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let middle = a1 * b0 + (a0 * b0 >> 16u); // below 2^32: (2^16 - 1)^2 + 2^16
    let middle_low = a0 * b1 + (middle & 0xffffu);
    return vec2u(a1 * b1 + (middle >> 16u) + (middle_low >> 16u), a * b);
}

fn philox4x32_10(counter: vec4u, seed: vec2u) -> vec4u {
    var c = counter;
    var key = seed;
    for (var round = 0; round < 10; round++) {
        let p0 = mul_wide(0xd2511f53u, c.x);
        let p1 = mul_wide(0xcd9e8d57u, c.z);
        c = vec4u(p1.x ^ c.y ^ key.x, p1.y, p0.x ^ c.w ^ key.y, p0.y);
        key += vec2u(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// Elements 4 block .. 4 block + 3 of a stream of numbers, uniform in (0, 1), as odd multiples of 2^-25.
fn philox_uniform(seed: vec2u, stream: u32, block: u32) -> vec4u {
    return (philox4x32_10(vec4u(block, stream, 0u, 0u), seed) >> vec4u(8u)) * 2u + 1u;
}

// Elements 4 block .. 4 block + 3 of a stream of standard normal numbers; alias_plan::philox is the twin.
fn philox_normal(seed: vec2u, stream: u32, block: u32) -> vec4f {
    let k = philox_uniform(seed, stream, block);
    let radius = sqrt(-2.0 * vec2f(log_of_uniform(k.x), log_of_uniform(k.z)));
    return vec4f(radius.x * cos_sin_of_turn(k.y), radius.y * cos_sin_of_turn(k.w));
}
