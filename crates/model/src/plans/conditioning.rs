//! What a plan depends on besides the network.

use crate::label_map::LabelMap;
use std::collections::BTreeMap;

/// What a network's plan is made for: the size of its inputs, and the label maps and masks that condition its norms.
#[derive(Clone, Debug)]
pub struct Conditioning {
    /// Images, N.
    pub(crate) batch: usize,
    /// Height of the inputs.
    pub(crate) height: usize,
    /// Width of the inputs.
    pub(crate) width: usize,
    /// Label maps by their indices in the network's inputs.
    pub(crate) label_maps: BTreeMap<usize, LabelMap>,
    /// Masks (N, H, W), likewise.
    pub(crate) masks: BTreeMap<usize, Vec<f32>>,
}

impl Conditioning {
    /// Inputs (N, C, H, W) of this size, without label maps and masks.
    pub fn size(batch: usize, height: usize, width: usize) -> Conditioning {
        Conditioning { batch, height, width, label_maps: BTreeMap::new(), masks: BTreeMap::new() }
    }

    /// A mask (N, h, w), resized by nearest neighbour.
    pub(super) fn mask(&self, mask: usize, [h, w]: [usize; 2]) -> Vec<f32> {
        let values = &self.masks[&mask];
        let at =
            |k: usize| (k / (h * w) * self.height + k / w % h * self.height / h) * self.width + k % w * self.width / w;
        (0..self.batch * h * w).map(|k| values[at(k)]).collect()
    }
}
