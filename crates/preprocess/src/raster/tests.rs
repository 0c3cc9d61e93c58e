//! The shapes that Pillow draws.
//!
//! The tables were made by a Python script that drew the same shapes with Pillow 13.0.0 (`ImageDraw.line`, `ellipse`,
//! `polygon`, `rectangle`, on an "L" image) and computed the same hashes with NumPy: `shapes` below, line by line.

use super::*;

/// splitmix64's output function.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// For each block of `block` shapes the sum, over the pixels that each of them sets, of `mix` of the shape's and the
/// pixel's number. Draws `count` shapes, in turn lines, ellipses, quadrilaterals and rectangles, seeded by their count.
fn shapes(count: u64, height: usize, width: usize, size: f64, block: u64) -> Vec<u64> {
    let mut rng = Rng(count);
    let (mut sums, mut sum) = (Vec::new(), 0_u64);
    for t in 0..count {
        let spread = size * [8.0, 60.0, 150.0][t as usize % 3];
        let mut v = [0.0; 8].map(|_| (2.0 * rng.unit() - 1.0) * spread + 40.0 * size);
        if t % 5 == 0 {
            v = v.map(|x: f64| (x + 0.5).floor());
        }
        let line_width = 2 + rng.next() % ((40.0 * size) as u64 - 2);
        let (rx, ry) = (rng.unit() * spread, rng.unit() * spread);
        let (from, to) = ([v[0] - rx, v[1] - ry], [v[0] + rx, v[1] + ry]);
        let mut mask = Mask::filled(height, width, false);
        match t % 4 {
            0 => line(&mut mask, [v[0], v[1]], [v[2], v[3]], line_width as u32),
            1 => ellipse(&mut mask, from, to),
            2 => quadrilateral(&mut mask, [[v[0], v[1]], [v[2], v[3]], [v[4], v[5]], [v[6], v[7]]]),
            _ => rectangle(&mut mask, from, to),
        }
        let set = mask.pixels().iter().zip(t << 24..).filter(|(set, _)| **set);
        sum = set.fold(sum, |sum, (_, number)| sum.wrapping_add(mix(number)));
        if t % block == block - 1 {
            sums.push(std::mem::take(&mut sum));
        }
    }
    sums
}

#[test]
fn twenty_thousand_shapes_are_those_of_pillow() {
    assert_eq!(shapes(20_000, 90, 70, 1.0, 500), SMALL);
}

#[test]
fn large_shapes_are_those_of_pillow() {
    assert_eq!(shapes(1200, 1024, 768, 12.0, 100), LARGE);
}

#[test]
fn any_coordinates_are_drawn() {
    let values = [0.0, -0.0, 3.5, -1e300, 1e300, f64::NAN, f64::INFINITY, i32::MIN.into(), i32::MAX.into(), 1e6, -1e6];
    let mut mask = Mask::filled(64, 48, false);
    let mut count = 0;
    for x0 in values {
        for y0 in values {
            for x1 in values {
                for y1 in values {
                    line(&mut mask, [x0, y0], [x1, y1], 2 + (count % 3) * 1000);
                    rectangle(&mut mask, [x0, y0], [x1, y1]);
                    quadrilateral(&mut mask, [[x0, y0], [x1, y1], [y0, x1], [y1, x0]]);
                    if count % 16 == 0 {
                        ellipse(&mut mask, [x0, y0], [x1, y1]);
                    }
                    count += 1;
                }
            }
        }
    }
    ellipse(&mut mask, [-1e300; 2], [1e300; 2]);
    line(&mut mask, [0.0; 2], [1e300; 2], u32::MAX);
    assert!(mask.pixels().iter().all(|&set| set));
}

const SMALL: [u64; 40] = [
    0x4bc5_5b65_cc47_0a7b,
    0x66dc_f49e_02cc_1ee7,
    0x6cb5_221a_4a5c_448d,
    0x3e5f_d16e_9f38_52e7,
    0x1da5_a5c4_48fc_b3a2,
    0x848c_fcd8_5430_d378,
    0x4aef_6161_80bd_8b52,
    0x1b37_4c78_60d5_761b,
    0x3cc5_32e5_6b7c_2d3f,
    0x6f99_ce01_ebce_bd46,
    0xac73_159c_9542_26b8,
    0x5598_727c_1732_0350,
    0x390b_6257_dab3_b3a6,
    0x924b_27ef_f534_6cd1,
    0xc952_8b96_9717_626d,
    0xdb4e_3aae_b805_7712,
    0xb2cc_a4b4_d06e_d398,
    0xf8f3_8465_d5f4_012c,
    0x2ea7_3d77_21ea_6de1,
    0x1693_aaf0_f1dd_171e,
    0x2040_e8b7_dde9_56c4,
    0x4b02_e0eb_030f_043d,
    0x1a0a_d7f5_e338_be8c,
    0xf291_2860_f382_27bf,
    0xf392_0ecf_38e0_373f,
    0x96a3_5bd9_6674_0647,
    0xffa7_b225_ac92_b0cd,
    0x8b6e_bdbf_1da7_abb8,
    0x868f_7d86_e8de_9e8a,
    0xffd4_8970_0d69_9346,
    0x0a9f_c41b_9710_e776,
    0x6198_d7c5_a031_540e,
    0xd41d_9ad1_82b1_67c6,
    0x070a_fcef_f08f_a45b,
    0xc233_8c15_e331_6539,
    0xd530_6efb_1e41_90cf,
    0x2d7f_bf03_2b82_90ff,
    0x306a_1555_266c_1dc4,
    0x45a6_4f65_34d4_060a,
    0x7a2c_92e2_0c8d_fcf4,
];
const LARGE: [u64; 12] = [
    0xa653_13d1_ac59_8bda,
    0xab81_9301_2dc0_d6bc,
    0x558f_ef53_9fe1_fe24,
    0xd5c5_ac83_cde1_eb6e,
    0xefc0_18b2_6f49_9bf8,
    0xc79f_5ece_4764_8ef2,
    0x4b47_fc3f_7fe0_77cd,
    0x5309_5856_2f3b_96a6,
    0x1968_ca1b_6ec8_99fb,
    0x69ef_6c93_21a4_a5a4,
    0xb53d_9be3_7e05_90e7,
    0x4254_70a9_95a4_8ed0,
];
