//! The hyperbolic tangent, by the formula of shaders/shared/math.wgsl: within two units in the last place.

use crate::exp::exp;
use pulp::Simd;

/// tanh x.
#[inline(always)]
pub fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let k = |value: f32| simd.splat_f32s(value);
    let z = simd.mul_f32s(x, x);
    let mut q = k(-5.704_989e-3);
    for c in [2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1] {
        q = simd.add_f32s(simd.mul_f32s(q, z), k(c));
    }
    let small = simd.add_f32s(simd.mul_f32s(simd.mul_f32s(q, z), x), x);
    // 1 - tanh(10) is below float32's rounding.
    let magnitude = simd.abs_f32s(x);
    let e = exp(simd, simd.mul_f32s(k(2.0), simd.min_f32s(magnitude, k(10.0))));
    let large = simd.sub_f32s(k(1.0), simd.div_f32s(k(2.0), simd.add_f32s(e, k(1.0))));
    let sign = simd.and_u32s(simd.transmute_u32s_f32s(x), simd.splat_u32s(1 << 31));
    let large = simd.transmute_f32s_u32s(simd.or_u32s(simd.transmute_u32s_f32s(large), sign));
    // NaN is not >= 0.625 and passes through `small`.
    simd.select_f32s(simd.greater_than_or_equal_f32s(magnitude, k(0.625)), large, small)
}

#[cfg(test)]
mod tests {
    use crate::{BLOCK, Cpu, CpuOptions};
    use pulp::{Simd, WithSimd};

    struct Tanh<'a>(&'a mut [f32; BLOCK]);

    impl WithSimd for Tanh<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            S::as_mut_simd_f32s(self.0).0.iter_mut().for_each(|x| *x = super::tanh(simd, *x));
        }
    }

    #[test]
    fn is_exact_to_two_units_in_the_last_place() {
        for instructions in Cpu::available() {
            let options = CpuOptions { instructions: Some(instructions), ..Default::default() };
            let cpu = Cpu::open(options).unwrap();
            let tanh = |mut x: [f32; BLOCK]| {
                cpu.dispatch(Tanh(&mut x));
                x
            };
            for k in -12_500..=12_500 {
                let x = std::array::from_fn(|lane| (k * 16 + lane as i32) as f32 * 6e-5);
                for (x, got) in x.into_iter().zip(tanh(x)) {
                    let want = f64::from(x).tanh();
                    let magnitude = want.abs() as f32;
                    let unit = f64::from(magnitude.next_up()) - f64::from(magnitude);
                    let error = (f64::from(got) - want).abs();
                    assert!(error <= 2.0 * unit, "{instructions:?}: tanh({x}) = {got}, not {want}");
                }
            }
            let [nan, one, minus_one, zero, ..] =
                tanh([&[f32::NAN, 1e30, f32::NEG_INFINITY, -0.0][..], &[0.0; 12]].concat().try_into().unwrap());
            assert!(nan.is_nan());
            assert_eq!([one, minus_one, zero], [1.0, -1.0, 0.0]);
        }
    }
}
