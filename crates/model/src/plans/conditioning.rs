//! What a plan depends on besides the network.

use crate::label_map::LabelMap;
use crate::network::{InputKind, Network};
use crate::sample::check_pixels;
use crate::{InputError, Result};
use std::collections::BTreeMap;

/// What a network's plan is made for: the size of its inputs, and the label maps and masks that condition its norms.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::network::Builder;
/// use alias_model::{Conditioning, Device, Error, InputError, PlanOptions, Session, fill};
/// # use alias_model::network::{Conv, Modulation, Norm, NormKind, Reading, Spade};
///
/// let mut net = Builder::new("Conditioned");
/// let image = net.input("image", 3);
/// let labels = net.label_map("labels", 4);
/// let mask = net.mask("mask");
/// # let conv = |key: &str, cin, cout| Conv::same(key, cin, cout, 3);
/// # let (shared, gamma, beta) = (conv("shared", 4, 8), conv("gamma", 8, 3), conv("beta", 8, 3));
/// # let modulation = Modulation::Spade(Box::new(Spade { labels, shared, gamma, beta }));
/// # let norm = Norm { key: "norm".into(), kind: NormKind::Mask { mask }, noise_stream: None, modulation };
/// # let result = net.convolution(Reading::of(image).norm(norm), conv("conv", 3, 3));
/// # net.output("result", result);
/// // Layers whose norms depend on these two come here.
/// let network = net.finish();
/// let session = Session::load(Device::cores(Default::default())?, &network, &fill(&network, 1))?;
///
/// let size = Conditioning::size(1, 2, 3);
/// let full = size.clone().with_labels(labels, 4, &[0, 1, 1, 2, 3, 3])?.with_mask(mask, vec![0.5; 6])?;
/// session.plan(&full, PlanOptions::default())?;
/// let error = session.plan(&size, PlanOptions::default()).unwrap_err();
/// assert!(matches!(error, Error::Input(InputError::Unconditioned { input, .. }) if input == "labels"));
/// # Ok(())
/// # }
/// ```
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
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// # use alias_model::network::{Builder, Conv, Modulation, Norm, NormKind, Reading, Spade};
    /// use alias_model::{Conditioning, Device, Noise, PlanOptions, Session, fill};
    /// # let mut net = Builder::new("Painted by labels");
    /// # let image = net.input("image", 3);
    /// # let labels = net.label_map("labels", 4);
    /// # let conv = |key: &str, cin, cout| Conv::same(key, cin, cout, 3);
    /// # let (shared, gamma, beta) = (conv("shared", 4, 8), conv("gamma", 8, 3), conv("beta", 8, 3));
    /// # let modulation = Modulation::Spade(Box::new(Spade { labels, shared, gamma, beta }));
    /// # let norm = Norm { key: "norm".into(), kind: NormKind::Instance, noise_stream: None, modulation };
    /// # let result = net.convolution(Reading::of(image).norm(norm), conv("result", 3, 3));
    /// # net.output("result", result);
    /// # let network = net.finish();
    ///
    /// let session = Session::load(Device::cores(Default::default())?, &network, &fill(&network, 1))?;
    /// let draw = |map: [u8; 4]| {
    ///     let conditioning = Conditioning::size(1, 2, 2).with_labels(labels, 4, &map)?;
    ///     session.plan_and_prepare(&conditioning, PlanOptions::default())?.run(&[("image", &[0.5; 12])], Noise::None)
    /// };
    /// assert_ne!(draw([0, 0, 1, 1])?, draw([2, 2, 3, 3])?);
    /// assert!(draw([0, 0, 1, 4]).is_err()); // the classes are 0 to 3
    /// # Ok(())
    /// # }
    /// ```
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
        let is = |at: &usize, kind| network.inputs().get(*at).is_some_and(|input| input.kind == kind);
        let mut unknown = self.label_maps.keys().filter(|at| !is(at, InputKind::LabelMap));
        let mut unmasked = self.masks.keys().filter(|at| !is(at, InputKind::Mask));
        if let Some(at) = unknown.next().or(unmasked.next()) {
            let known = network.inputs().iter().map(|input| format!("{} ({:?})", input.name, input.kind)).collect();
            return Err(InputError::Unknown { name: format!("number {at}"), known }.into());
        }
        for (at, input) in network.inputs().iter().enumerate() {
            let classes = self.label_maps.get(&at).map(LabelMap::classes);
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
