//! The exponential function, by the formula of shaders/shared/math.wgsl, and the logistic function.

use pulp::Simd;

/// Adding and subtracting this rounds a number below 2^22 to the nearest integer, which the sum has in its low bits.
const ROUND: f32 = 12_582_912.0;

/// e^x for x in [-87, 87].
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let k = |value: f32| simd.splat_f32s(value);
    let shifted = simd.add_f32s(simd.mul_f32s(x, k(std::f32::consts::LOG2_E)), k(ROUND));
    let n = simd.sub_f32s(shifted, k(ROUND));
    // ln 2 in two parts, so that the first product is exact.
    let r = simd.sub_f32s(x, simd.mul_f32s(n, k(0.693_359_4)));
    let r = simd.sub_f32s(r, simd.mul_f32s(n, k(-2.121_944_4e-4)));
    let mut q = k(1.987_569_2e-4);
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
        q = simd.add_f32s(simd.mul_f32s(q, r), k(c));
    }
    let mantissa = simd.add_f32s(simd.add_f32s(simd.mul_f32s(simd.mul_f32s(q, r), r), r), k(1.0));
    // The low nine bits are n + 127, the exponent as float32 stores it; the shift drops the other bits.
    let power = simd.add_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(127));
    simd.mul_f32s(mantissa, simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(power, simd.splat_u32s(23))))
}

/// 1 / (1 + exp(-x)). Below -87 it is that of -87, 1.6e-38.
#[inline(always)]
pub fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let k = |value: f32| simd.splat_f32s(value);
    // The exponential of a negative number cannot overflow: e / (1 + e) for x < 0, else 1 / (1 + e).
    let magnitude = simd.min_f32s(simd.abs_f32s(x), k(87.0));
    let e = exp(simd, simd.sub_f32s(k(0.0), magnitude));
    let above = simd.select_f32s(simd.less_than_f32s(x, k(0.0)), e, k(1.0));
    let y = simd.div_f32s(above, simd.add_f32s(k(1.0), e));
    // `min` may drop NaN.
    simd.select_f32s(simd.equal_f32s(x, x), y, x)
}

#[cfg(test)]
mod tests {
    use crate::{BLOCK, Cpu, CpuOptions};
    use pulp::{Simd, WithSimd};

    struct Sigmoid<'a>(&'a mut [f32; BLOCK]);

    impl WithSimd for Sigmoid<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            S::as_mut_simd_f32s(self.0).0.iter_mut().for_each(|x| *x = super::sigmoid(simd, *x));
        }
    }

    #[test]
    fn sigmoid_is_exact_to_three_units_in_the_last_place() {
        for instructions in Cpu::available() {
            let options = CpuOptions { instructions: Some(instructions), ..Default::default() };
            let cpu = Cpu::open(options).unwrap();
            let sigmoid = |mut x: [f32; BLOCK]| {
                cpu.dispatch(Sigmoid(&mut x));
                x
            };
            for k in -8_000..=3_000 {
                let x = std::array::from_fn(|lane| (k * 16 + lane as i32) as f32 * 6.7e-4);
                for (x, got) in x.into_iter().zip(sigmoid(x)) {
                    let want = 1.0 / (1.0 + f64::from(-x).exp());
                    let unit = f64::from((want as f32).next_up()) - f64::from(want as f32);
                    let error = (f64::from(got) - want).abs();
                    assert!(error <= 3.0 * unit, "{instructions:?}: sigmoid({x}) = {got}, not {want}");
                }
            }
            let [nan, one, zero, half, ..] = sigmoid(
                [&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0][..], &[0.0; 12]].concat().try_into().unwrap(),
            );
            assert!(nan.is_nan() && (0.0..1e-37).contains(&zero));
            assert_eq!([one, half], [1.0, 0.5]);
        }
    }
}
