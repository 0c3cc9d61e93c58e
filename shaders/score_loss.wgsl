// The mean of a function of each score.   y = factor * sum of f(z),   z = scale x + shift
// The second half of the elements has a scale and a shift of its own.
// f by `kind`: 0 the identity, 1 max(z, 0), 2 softplus ln(1 + e^z) = max(z, 0) + ln(1 + e^-|z|), 3 the square.
override WG: u32 = 256;

struct Params { n: u32, run: u32, kind: u32, factor: f32, scale: f32, shift: f32, scale_2: f32, shift_2: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // (n)

// (scale, shift) of element i
fn line(i: u32) -> vec2f {
    return select(vec2f(p.scale, p.shift), vec2f(p.scale_2, p.shift_2), i >= p.n / 2u);
}

// `precise_exp` is accurate down to -80, where e^z is negligible.
fn exp_of_minus_abs(z: f32) -> f32 {
    return precise_exp(-min(abs(z), 80.0));
}

// forward: one workgroup per run of `run` elements
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;     // (ceil(n / run))

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let group = group_index(wg, nwg);
    let start = group * p.run;
    if start >= p.n { return; }
    var sum = vec4f();
    for (var i = start + lane; i < min(start + p.run, p.n); i += WG) {
        let own = line(i);
        let z = own.x * x[i] + own.y;
        // `z <= 0` instead of `z > 0`, so that NaN, for which both are false, passes through.
        let positive = select(z, 0.0, z <= 0.0);
        var value = z;
        if p.kind == 1u {
            value = positive;
        } else if p.kind == 2u {
            let t = exp_of_minus_abs(z);
            var log1p: f32;
            if t < 0.41421356 { // sqrt(2) - 1
                log1p = precise_log(t, 0.0);
            } else {
                log1p = precise_log(0.5 * (t - 1.0), 1.0); // 1 + t = 2 (1 + (t - 1) / 2)
            }
            value = positive + log1p;
        } else if p.kind == 3u {
            value = z * z;
        }
        sum.x += value;
    }
    sum = workgroup_sum(sum, lane);
    if lane == 0u { sums[group] = p.factor * sum.x; }
}

// backward.   dx = dy factor scale f'(z)
@group(0) @binding(2) var<storage, read> dy: array<f32>;             // (1)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;       // (n)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    let own = line(i);
    let z = own.x * x[i] + own.y;
    var slope = 1.0;
    if p.kind == 1u {
        slope = select(0.0, 1.0, z > 0.0);
    } else if p.kind == 2u {
        let t = exp_of_minus_abs(z);
        slope = select(1.0, t, z < 0.0) / (1.0 + t);
    } else if p.kind == 3u {
        slope = 2.0 * z;
    }
    dx[i] = dy[0] * (p.factor * own.x) * slope;
}
