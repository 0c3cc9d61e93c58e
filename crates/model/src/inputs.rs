//! The generator's inputs on a GPU.

use crate::label_map::{LabelMap, misaligned};
use crate::tape::Feed;
use crate::{Result, Sample};
use alias_tensor::{Device, Tensor};

/// The generator's inputs on a GPU.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::{GARMENT, Inputs, Sample};
/// use alias_tensor::Device;
/// # let pixels = 1;
/// # let sample = Sample {
/// #     batch: 1,
/// #     height: 1,
/// #     width: 1,
/// #     agnostic: vec![0.0; 3 * pixels],
/// #     pose: vec![0.0; 3 * pixels],
/// #     warped_cloth: vec![0.5; 3 * pixels],
/// #     warped_mask: vec![1.0; pixels],
/// #     labels: vec![2; pixels],
/// # };
///
/// // A single pixel of the garment's class, three quarters of which the warped garment covers.
/// let sample = Sample { labels: vec![GARMENT], warped_mask: vec![0.75], ..sample };
/// let inputs = Inputs::new(&Device::auto()?, &sample)?;
/// assert_eq!(inputs.seg_div().to_vec()?, [0.0, 0.0, 0.75, 0.0, 0.0, 0.0, 0.0, 0.25]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Agnostic image, pose and warped garment: (N, 9, H, W) in [-1, 1].
    x: Tensor,
    /// The classes, one-hot: (N, 7, H, W).
    seg: Feed,
    /// `seg` with the misaligned part of the garment moved to an eighth class: (N, 8, H, W).
    seg_div: Feed,
    /// The misaligned part of the garment: (N, 1, H, W) in [0, 1], fractional at edges.
    mask: Tensor,
}

impl Inputs {
    /// Builds the inputs of `sample` and uploads them.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a field of the sample has a wrong length or a value out of range, or an
    /// error of the device.
    pub fn new(device: impl Into<Device>, sample: &Sample) -> Result<Inputs> {
        sample.verify()?;
        let device = device.into();
        let Sample { batch: n, height: h, width: w, .. } = *sample;
        let pictures = [&sample.agnostic, &sample.pose, &sample.warped_cloth];
        let image = |image: usize| pictures.map(|picture| &picture[image * 3 * h * w..][..3 * h * w]);
        let x = (0..n).flat_map(image).collect::<Vec<_>>().concat();
        let mask: Vec<f32> = (0..n * h * w).map(|at| misaligned(sample, at)).collect();
        Ok(Inputs {
            x: Tensor::new(&device, &[n, 9, h, w], &x)?,
            seg: Feed::label_map(&device, LabelMap::new(sample, false))?,
            seg_div: Feed::label_map(&device, LabelMap::new(sample, true))?,
            mask: Tensor::new(&device, &[n, 1, h, w], &mask)?,
        })
    }

    /// Agnostic image, pose and warped garment: (N, 9, H, W) in [-1, 1].
    pub fn x(&self) -> &Tensor {
        &self.x
    }

    /// The classes, one-hot, with the misaligned part of the garment as an eighth: (N, 8, H, W).
    pub fn seg_div(&self) -> &Tensor {
        self.seg_div.dense()
    }

    /// Replaces `x` (N, 9, H, W), for instance by a tracked tensor.
    #[must_use]
    pub fn with_x(&self, x: Tensor) -> Inputs {
        Inputs { x, ..self.clone() }
    }

    /// The inputs in the order of the generator's network.
    pub(crate) fn feeds(&self) -> [Feed; 4] {
        let Inputs { x, seg, seg_div, mask } = self.clone();
        [Feed::Tensor(x), seg, seg_div, Feed::Tensor(mask)]
    }

    /// Batch, height and width. Errors unless `x` has those of the others.
    pub(crate) fn size(&self) -> Result<[usize; 3]> {
        let [n, _, h, w] = self.mask.shape().nchw("generator", "mask")?;
        self.x.shape().check("generator", "x", &[n, 9, h, w])?;
        Ok([n, h, w])
    }
}
