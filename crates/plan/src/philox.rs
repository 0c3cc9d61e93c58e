//! Counter-based random numbers on the host: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2,
//! 3", SC'11) and Box-Muller, in float64. Draws noise on processor cores and random weights, and is the twin of
//! shaders/shared/philox.wgsl.

/// Philox4x32-10: four random words for a counter and a key.
pub fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let p0 = 0xd251_1f53 * u64::from(counter[0]);
        let p1 = 0xcd9e_8d57 * u64::from(counter[2]);
        let (high, low) = (|p: u64| (p >> 32) as u32, |p: u64| p as u32);
        counter = [high(p1) ^ counter[1] ^ key[0], low(p1), high(p0) ^ counter[3] ^ key[1], low(p0)];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

/// Up to 2^34 standard normal numbers for each stream of a seed. Element e is number e % 4 of the block with counter
/// (e / 4, stream, 0, 0).
pub fn normal(seed: u64, stream: u32) -> impl Iterator<Item = f64> {
    normal_from(seed, stream, 0)
}

/// [`normal`] without its first `block` blocks of four numbers.
pub fn normal_from(seed: u64, stream: u32, block: u32) -> impl Iterator<Item = f64> {
    (block..=u32::MAX).flat_map(move |block| normal_block(seed, stream, block))
}

/// Up to 2^34 numbers, uniform in (0, 1), for each stream of a seed: those that [`normal`] is made of, in the same order.
/// Each is an odd multiple of 2^-25.
pub fn uniform(seed: u64, stream: u32) -> impl Iterator<Item = f64> {
    (0..=u32::MAX).flat_map(move |block| uniform_block(seed, stream, block))
}

fn uniform_block(seed: u64, stream: u32, block: u32) -> [f64; 4] {
    let r = philox4x32_10([block, stream, 0, 0], [seed as u32, (seed >> 32) as u32]);
    r.map(|r| f64::from(r >> 8) * 2f64.powi(-24) + 2f64.powi(-25))
}

fn normal_block(seed: u64, stream: u32, block: u32) -> [f64; 4] {
    let u = uniform_block(seed, stream, block);
    let polar = |u: f64, v: f64| {
        let (sin, cos) = (std::f64::consts::TAU * v).sin_cos();
        let radius = (-2.0 * u.ln()).sqrt();
        [radius * cos, radius * sin]
    };
    let ([a, b], [c, d]) = (polar(u[0], u[1]), polar(u[2], u[3]));
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors from kat_vectors of Random123, the authors' library.
    #[test]
    fn known_answers() {
        assert_eq!(philox4x32_10([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32_10([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    /// 0x6627e8d5 and so on, as above: the upper 24 bits and a half.
    #[test]
    fn uniform_numbers_are_the_upper_bits() {
        let expected = [0x6627e8, 0xe169c5, 0xbc57ac, 0x9b00db].map(|bits: u32| (f64::from(bits) + 0.5) / 16_777_216.0);
        assert_eq!(uniform(0, 0).take(4).collect::<Vec<_>>(), expected);
        let mean = uniform(5, 3).take(40_000).sum::<f64>() / 40_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }

    #[test]
    fn normal_has_mean_0_and_variance_1() {
        let z: Vec<_> = normal(5, 3).take(40_000).collect();
        let mean = z.iter().sum::<f64>() / z.len() as f64;
        let variance = z.iter().map(|z| z * z).sum::<f64>() / z.len() as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
