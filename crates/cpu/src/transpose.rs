//! Transposing 8 by 8 numbers, between planes and blocks of channels.

use pulp::Simd;

/// Rows and columns.
pub const SIDE: usize = 8;

/// The transpose of 8 rows, by shuffles where the compiler would move one number at a time.
#[inline(always)]
pub fn transposed<S: Simd>(simd: S, rows: [[f32; SIDE]; SIDE]) -> [[f32; SIDE]; SIDE] {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = x86::avx2(simd) {
        return x86::transposed(simd, rows);
    }
    let _ = simd;
    std::array::from_fn(|j| std::array::from_fn(|i| rows[i][j]))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::SIDE;
    use pulp::Simd;
    use pulp::x86::{V3, V4};
    use std::any::Any;

    /// The AVX2 that `simd` has. The compiler knows the answer for each kind of instructions.
    #[inline(always)]
    pub(super) fn avx2<S: Simd>(simd: S) -> Option<V3> {
        let simd: &dyn Any = &simd;
        simd.downcast_ref::<V3>().copied().or_else(|| simd.downcast_ref::<V4>().map(|simd| **simd))
    }

    #[inline(always)]
    pub(super) fn transposed(simd: V3, rows: [[f32; SIDE]; SIDE]) -> [[f32; SIDE]; SIDE] {
        let avx = simd.avx;
        let r = rows.map(bytemuck::cast);
        // Pairs of rows, then four rows, in each half of eight columns; then the halves change places.
        let mut pairs = r;
        for k in 0..4 {
            pairs[2 * k] = avx._mm256_unpacklo_ps(r[2 * k], r[2 * k + 1]);
            pairs[2 * k + 1] = avx._mm256_unpackhi_ps(r[2 * k], r[2 * k + 1]);
        }
        let mut fours = r;
        for k in 0..2 {
            for half in 0..2 {
                let (a, b) = (pairs[4 * k + half], pairs[4 * k + 2 + half]);
                fours[4 * k + 2 * half] = avx._mm256_shuffle_ps::<0x44>(a, b);
                fours[4 * k + 2 * half + 1] = avx._mm256_shuffle_ps::<0xee>(a, b);
            }
        }
        let mut columns = r;
        for k in 0..4 {
            columns[k] = avx._mm256_permute2f128_ps::<0x20>(fours[k], fours[4 + k]);
            columns[4 + k] = avx._mm256_permute2f128_ps::<0x31>(fours[k], fours[4 + k]);
        }
        columns.map(bytemuck::cast)
    }
}

/// Eight numbers.
#[inline(always)]
pub(crate) fn eight(values: &[f32]) -> [f32; SIDE] {
    *values.first_chunk().expect("eight numbers")
}

/// Stores sums (pixels, PANEL) of a panel of channels as pixels of planes, from index `at` of each on, and adds the channel's
/// bias: the first `pixels` of them, at most [`SIDE`].
#[inline(always)]
pub fn store_pixels<S: Simd>(simd: S, sums: &[f32], pixels: usize, bias: &[f32], planes: &mut [&mut [f32]], at: usize) {
    let whole = if pixels == SIDE { planes.len() / SIDE * SIDE } else { 0 };
    for c in (0..whole).step_by(SIDE) {
        let mut rows = [[0.0; SIDE]; SIDE];
        for (x, row) in rows.iter_mut().enumerate() {
            *row = eight(&sums[x * crate::PANEL + c..]);
        }
        let rows = transposed(simd, rows);
        for k in 0..SIDE {
            let to = &mut planes[c + k][at..][..SIDE];
            for x in 0..SIDE {
                to[x] = rows[k][x] + bias[c + k];
            }
        }
    }
    for c in whole..planes.len() {
        for x in 0..pixels {
            planes[c][at + x] = sums[x * crate::PANEL + c] + bias[c];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SIDE, transposed};
    use crate::{Cpu, CpuOptions};
    use pulp::{Simd, WithSimd};

    struct Transposed([[f32; SIDE]; SIDE]);

    impl WithSimd for Transposed {
        type Output = [[f32; SIDE]; SIDE];

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            transposed(simd, self.0)
        }
    }

    #[test]
    fn rows_become_columns_with_every_kind_of_instructions() {
        let rows: [[f32; SIDE]; SIDE] = std::array::from_fn(|i| std::array::from_fn(|j| (10 * i + j) as f32));
        for instructions in Cpu::available() {
            let cpu = Cpu::open(CpuOptions { instructions: Some(instructions), ..Default::default() }).unwrap();
            let columns = cpu.dispatch(Transposed(rows));
            for (i, j) in (0..SIDE * SIDE).map(|k| (k / SIDE, k % SIDE)) {
                assert_eq!(columns[j][i], rows[i][j], "{instructions:?}");
            }
        }
    }
}
