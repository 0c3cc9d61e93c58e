//! The order in which a training sees its examples.

use alias_model::plan::philox::philox4x32_10;

/// An endless order of examples: epoch after epoch, each a permutation of all of them. A permutation depends only on
/// the seed and the epoch's number, so the number of examples taken is all that a resumed run needs to know.
#[derive(Clone, Debug)]
pub struct Order {
    seed: u64,
    examples: usize,
    /// The epoch that was last asked for, and its permutation.
    epoch: Option<(u64, Vec<usize>)>,
}

impl Order {
    /// An order of `examples` examples, at least one.
    pub fn new(seed: u64, examples: usize) -> Order {
        Order { seed, examples, epoch: None }
    }

    /// The index of the example that comes after `position` others.
    pub fn example(&mut self, position: u64) -> usize {
        let (epoch, place) = (position / self.examples as u64, position % self.examples as u64);
        if self.epoch.as_ref().is_none_or(|(known, _)| *known != epoch) {
            self.epoch = Some((epoch, permutation(self.seed, epoch, self.examples)));
        }
        self.epoch.as_ref().map_or(0, |(_, permutation)| permutation[place as usize])
    }
}

/// A Fisher-Yates shuffle.
fn permutation(seed: u64, epoch: u64, examples: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..examples).collect();
    for last in (1..examples).rev() {
        let words = philox4x32_10(
            [last as u32, (last as u64 >> 32) as u32, epoch as u32, (epoch >> 32) as u32],
            [seed as u32, (seed >> 32) as u32],
        );
        let random = u64::from(words[0]) | u64::from(words[1]) << 32;
        // Uniform in 0..=last, with a relative bias of at most examples / 2^64.
        order.swap(last, ((u128::from(random) * (last as u128 + 1)) >> 64) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::Order;

    fn epoch(seed: u64, number: u64, examples: usize) -> Vec<usize> {
        let mut order = Order::new(seed, examples);
        (0..examples as u64).map(|place| order.example(number * examples as u64 + place)).collect()
    }

    #[test]
    fn each_epoch_is_a_permutation_of_its_own() {
        let sorted = |mut order: Vec<usize>| {
            order.sort_unstable();
            order
        };
        for examples in [1, 2, 37] {
            assert_eq!(sorted(epoch(4, 2, examples)), (0..examples).collect::<Vec<_>>());
        }
        assert_eq!(epoch(4, 2, 37), epoch(4, 2, 37));
        assert_ne!(epoch(4, 2, 37), epoch(4, 3, 37));
        assert_ne!(epoch(4, 2, 37), epoch(5, 2, 37));
        assert_eq!(epoch(0, 0, 8), [4, 2, 6, 1, 3, 7, 5, 0], "the same on every machine");
    }

    #[test]
    fn every_example_comes_first_equally_often() {
        let mut firsts = [0; 5];
        (0..5000).for_each(|number| firsts[epoch(1, number, 5)[0]] += 1);
        assert!(firsts.iter().all(|&count| (880..1120).contains(&count)), "{firsts:?}");
    }
}
