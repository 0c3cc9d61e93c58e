//! The natural logarithm, by the formula of shaders/shared/math.wgsl.

use pulp::Simd;

/// ln x for positive normal x, within two units in the last place of the larger of |ln x| and 2^-24.
#[inline(always)]
pub fn log<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let k = |value: f32| simd.splat_f32s(value);
    // x = m 2^e with sqrt(1/2) <= m < sqrt(2): subtracting the bits of sqrt(1/2) carries into the exponent just where it must.
    let bits = simd.transmute_u32s_f32s(x);
    let above = simd.sub_u32s(bits, simd.splat_u32s(std::f32::consts::FRAC_1_SQRT_2.to_bits()));
    // The sum's exponent field is e + 127 + 1, as long as x is positive and normal.
    let exponent = simd.wrapping_dyn_shr_u32s(simd.add_u32s(above, simd.splat_u32s(128 << 23)), simd.splat_u32s(23));
    let mantissa = simd
        .sub_u32s(bits, simd.wrapping_dyn_shl_u32s(simd.sub_u32s(exponent, simd.splat_u32s(128)), simd.splat_u32s(23)));
    // An integer below 2^23 in the low bits of 2^23 is that number more than 2^23.
    let two_23 = 8_388_608.0_f32;
    let e = simd.transmute_f32s_u32s(simd.or_u32s(exponent, simd.splat_u32s(two_23.to_bits())));
    let e = simd.sub_f32s(e, k(two_23 + 128.0));
    let f = simd.sub_f32s(simd.transmute_f32s_u32s(mantissa), k(1.0));
    let z = simd.mul_f32s(f, f);
    let mut q = k(7.037_683_6e-2);
    for c in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        q = simd.add_f32s(simd.mul_f32s(q, f), k(c));
    }
    // ln 2 in two parts, so that the product with the larger is exact.
    let low = simd.mul_f32s(e, k(-2.121_944_4e-4));
    let tail = simd.sub_f32s(simd.add_f32s(simd.mul_f32s(simd.mul_f32s(q, f), z), low), simd.mul_f32s(z, k(0.5)));
    simd.add_f32s(simd.add_f32s(f, tail), simd.mul_f32s(e, k(0.693_359_4)))
}

#[cfg(test)]
mod tests {
    use crate::{BLOCK, Cpu, CpuOptions};
    use pulp::{Simd, WithSimd};

    struct Log<'a>(&'a mut [f32; BLOCK]);

    impl WithSimd for Log<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            S::as_mut_simd_f32s(self.0).0.iter_mut().for_each(|x| *x = super::log(simd, *x));
        }
    }

    #[test]
    fn is_exact_to_two_units_in_the_last_place() {
        for instructions in Cpu::available() {
            let options = CpuOptions { instructions: Some(instructions), ..Default::default() };
            let cpu = Cpu::open(options).unwrap();
            for k in 0..40_000 {
                // From the smallest normal number to 10^6, and densely around 1.
                let x = |lane: usize| match (k * BLOCK + lane) as f64 {
                    i if k % 2 == 0 => (i / 640_000.0 * 101.0 - 87.3).exp() as f32,
                    i => (0.5 + i / 640_000.0) as f32,
                };
                let x: [f32; BLOCK] = std::array::from_fn(x);
                let mut got = x;
                cpu.dispatch(Log(&mut got));
                for (x, got) in x.into_iter().zip(got) {
                    let want = f64::from(x).ln();
                    let unit = (want.abs() * 2f64.powi(-23)).max(2f64.powi(-47));
                    let error = (f64::from(got) - want).abs();
                    assert!(error <= 2.0 * unit, "{instructions:?}: ln({x}) = {got}, not {want}");
                }
            }
        }
    }
}
