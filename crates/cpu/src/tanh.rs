//! The hyperbolic tangent, as shaders/shared/math.wgsl has it: within two units in the last place.

/// Plain operations, so that loops of it become vectors.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let z = x * x;
    let mut q = -5.704_989e-3;
    for k in [2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1] {
        q = q * z + k;
    }
    let small = q * z * x + x;
    // 1 - tanh(10) is below float32's rounding.
    let large = 1.0 - 2.0 / (exp(2.0 * x.abs().min(10.0)) + 1.0);
    // NaN is not >= 0.625 and passes through `small`.
    if x.abs() >= 0.625 { large.copysign(x) } else { small }
}

/// For x from 0 to 20.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let n = (std::f32::consts::LOG2_E * x + 0.5).floor();
    // ln 2 in two parts, so that the product is exact.
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let mut q = 1.987_569_2e-4;
    for k in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
        q = q * r + k;
    }
    (q * r * r + r + 1.0) * f32::from_bits(((n as i32 + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    #[test]
    fn is_exact_to_two_units_in_the_last_place() {
        for k in -200_000..=200_000 {
            let x = k as f32 * 6e-5;
            let (got, want) = (super::tanh(x), f64::from(x).tanh());
            let unit = f64::from(f32::EPSILON) * want.abs().max(f64::from(f32::MIN_POSITIVE));
            assert!((f64::from(got) - want).abs() <= 2.0 * unit, "tanh({x}) = {got}, not {want}");
        }
        assert!(super::tanh(f32::NAN).is_nan());
        assert_eq!([super::tanh(1e30), super::tanh(f32::NEG_INFINITY), super::tanh(-0.0)], [1.0, -1.0, 0.0]);
    }
}
