//! Random numbers that are the same on every platform: splitmix64 (Steele et al. 2014) as a counter-based generator.

/// The numbers of one stream of one seed. Streams are independent, so one more number for the garment leaves the figure
/// as it was.
pub(super) struct Rng {
    key: u64,
    counter: u64,
}

impl Rng {
    /// The start of stream `stream` of `seed`.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let key = mix(seed ^ mix(stream.wrapping_add(1)));
        Self { key, counter: 0 }
    }

    /// Uniform in [0, 1), a multiple of 2^-24.
    pub(super) fn unit(&mut self) -> f32 {
        self.counter += 1;
        (mix(self.key.wrapping_add(self.counter.wrapping_mul(GOLDEN))) >> 40) as f32 / (1 << 24) as f32
    }

    /// Uniform in [low, high).
    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// One of `choices`, which must not be empty.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let i = (self.unit() * choices.len() as f32) as usize;
        choices[i.min(choices.len() - 1)]
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// splitmix64's output function.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_generator() {
        // The first output of splitmix64 seeded with 0.
        assert_eq!(mix(GOLDEN), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |seed, stream| {
            let mut rng = Rng::new(seed, stream);
            [rng.unit(), rng.unit(), rng.unit()]
        };
        assert_eq!(draw(0, 0), draw(0, 0));
        assert_ne!(draw(0, 0), draw(0, 1));
        assert_ne!(draw(0, 0), draw(1, 0));
    }

    #[test]
    fn ranges_hold() {
        let mut rng = Rng::new(7, 0);
        let mut sum = 0.0;
        for _ in 0..4096 {
            let x = rng.range(-1.0, 3.0);
            assert!((-1.0..3.0).contains(&x));
            sum += x;
        }
        assert!((sum / 4096.0 - 1.0).abs() < 0.1, "mean {}", sum / 4096.0);
    }
}
