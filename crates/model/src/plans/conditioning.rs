//! What a plan depends on besides the network.

use crate::label_map::LabelMap;
use crate::network::{InputKind, Network};
use crate::sample::check_pixels;
use crate::{InputError, Result};
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

    /// Adds a label map, one-hot, for SPADE.
    ///
    /// * `input`: what [`Builder::label_map`](crate::network::Builder::label_map) returned.
    /// * `classes`: the number of classes.
    /// * `labels`: (N, H, W), from 0.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if there are not as many labels as pixels, or one is not a class.
    pub fn with_labels(mut self, input: usize, classes: usize, labels: &[u8]) -> Result<Conditioning> {
        let map = LabelMap::one_hot([self.batch, self.height, self.width], classes, labels)?;
        self.label_maps.insert(input, map);
        Ok(self)
    }

    /// Adds a mask for mask norm.
    ///
    /// * `input`: what [`Builder::mask`](crate::network::Builder::mask) returned.
    /// * `mask`: (N, H, W) in [0, 1].
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if there are not as many values as pixels, or one is out of range.
    pub fn with_mask(mut self, input: usize, mask: Vec<f32>) -> Result<Conditioning> {
        let shape @ [n, h, w] = [self.batch, self.height, self.width];
        let (got, expected) = (mask.len(), check_pixels(n, h, w)?);
        if got != expected {
            return Err(InputError::Elements { name: "mask".into(), got, expected, shape: shape.into() }.into());
        }
        if let Some(at) = mask.iter().position(|value| !(0.0..=1.0).contains(value)) {
            return Err(InputError::Range { name: "mask", value: mask[at], at, low: 0.0 }.into());
        }
        self.masks.insert(input, mask);
        Ok(self)
    }

    /// Errors unless there are pixels, and everything that conditions the network's norms.
    pub(super) fn verify(&self, network: &Network) -> Result<()> {
        check_pixels(self.batch, self.height, self.width)?;
        for (at, input) in network.inputs().iter().enumerate() {
            let classes = self.label_maps.get(&at).map(LabelMap::labels);
            let channels = match input.kind {
                InputKind::Activations => continue,
                InputKind::LabelMap => classes,
                InputKind::Mask => self.masks.get(&at).map(|_| 1),
            };
            if channels != Some(input.channels) {
                let (network, input, kind) = (network.name().into(), input.name.clone(), input.kind);
                return Err(InputError::Unconditioned { network, input, kind }.into());
            }
        }
        Ok(())
    }

    /// A mask (N, h, w), resized by nearest neighbour.
    pub(super) fn mask(&self, mask: usize, [h, w]: [usize; 2]) -> Vec<f32> {
        let values = &self.masks[&mask];
        let at =
            |k: usize| (k / (h * w) * self.height + k / w % h * self.height / h) * self.width + k % w * self.width / w;
        (0..self.batch * h * w).map(|k| values[at(k)]).collect()
    }
}
