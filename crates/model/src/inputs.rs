//! The generator's inputs on a GPU.

use crate::label_map::{GARMENT, LabelMap, misaligned};
use crate::sample::check_pixels;
use crate::tape::{Feed, WindowTables};
use crate::{InputError, Result, Sample};
use alias_tensor::{Gpu, Tensor};
use std::sync::Arc;

/// The generator's inputs on a GPU.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Agnostic image, pose and warped garment: (N, 9, H, W) in [-1, 1].
    x: Tensor,
    /// The classes, one-hot: (N, 7, H, W).
    seg: Tensor,
    /// `seg` with the misaligned part of the garment moved to an eighth class: (N, 8, H, W).
    seg_div: Tensor,
    /// The misaligned part of the garment: (N, 1, H, W) in [0, 1], fractional at edges.
    mask: Tensor,
    /// The distinct windows of `seg` and of `seg_div`.
    windows: [Arc<WindowTables>; 2],
}

impl Inputs {
    /// Builds the inputs of `sample` and uploads them.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a field of the sample has a wrong length or a value out of range, or an
    /// error of the device.
    pub fn new(gpu: &Gpu, sample: &Sample) -> Result<Inputs> {
        sample.verify()?;
        let Sample { batch: n, height: h, width: w, .. } = *sample;
        let plane = h * w;
        let classes = usize::from(crate::CLASSES);
        let garment = usize::from(GARMENT);
        let mut x = Vec::with_capacity(n * 9 * plane);
        let mut seg = vec![0.0; n * classes * plane];
        let mut seg_div = vec![0.0; n * (classes + 1) * plane];
        let mut mask = vec![0.0; n * plane];
        for image in 0..n {
            for part in [&sample.agnostic, &sample.pose, &sample.warped_cloth] {
                x.extend_from_slice(&part[image * 3 * plane..][..3 * plane]);
            }
            for pixel in 0..plane {
                let at = image * plane + pixel;
                let label = usize::from(sample.labels[at]);
                seg[(image * classes + label) * plane + pixel] = 1.0;
                seg_div[(image * (classes + 1) + label) * plane + pixel] = 1.0;
                if label == garment {
                    let misaligned = misaligned(sample, at);
                    mask[at] = misaligned;
                    seg_div[(image * (classes + 1) + garment) * plane + pixel] = 1.0 - misaligned;
                    seg_div[(image * (classes + 1) + classes) * plane + pixel] = misaligned;
                }
            }
        }
        Ok(Inputs {
            windows: [false, true].map(|sees_mask| Arc::new(WindowTables::new(LabelMap::new(sample, sees_mask)))),
            x: Tensor::new(gpu, &[n, 9, h, w], &x)?,
            seg: Tensor::new(gpu, &[n, classes, h, w], &seg)?,
            seg_div: Tensor::new(gpu, &[n, classes + 1, h, w], &seg_div)?,
            mask: Tensor::new(gpu, &[n, 1, h, w], &mask)?,
        })
    }

    /// Agnostic image, pose and warped garment: (N, 9, H, W) in [-1, 1].
    pub fn x(&self) -> &Tensor {
        &self.x
    }

    /// The classes, one-hot, with the misaligned part of the garment as an eighth: (N, 8, H, W).
    pub fn seg_div(&self) -> &Tensor {
        &self.seg_div
    }

    /// Replaces `x` (N, 9, H, W), for instance by a tracked tensor.
    #[must_use]
    pub fn with_x(&self, x: Tensor) -> Inputs {
        Inputs { x, ..self.clone() }
    }

    /// The inputs in the order of the generator's network.
    pub(crate) fn feeds(&self) -> [Feed; 4] {
        let map = |dense: &Tensor, windows: &Arc<WindowTables>| {
            let (dense, windows) = (dense.clone(), windows.clone());
            Feed::LabelMap { dense, windows }
        };
        let [seg, seg_div] = &self.windows;
        let (x, mask) = (Feed::Tensor(self.x.clone()), Feed::Tensor(self.mask.clone()));
        [x, map(&self.seg, seg), map(&self.seg_div, seg_div), mask]
    }

    /// Batch, height and width. Errors unless all four tensors agree on them.
    pub(crate) fn size(&self) -> Result<[usize; 3]> {
        let [n, _, h, w] = self.x.shape().nchw("generator", "x")?;
        self.x.shape().check("generator", "x", &[n, 9, h, w])?;
        self.seg.shape().check("generator", "seg", &[n, 7, h, w])?;
        self.seg_div.shape().check("generator", "seg_div", &[n, 8, h, w])?;
        self.mask.shape().check("generator", "mask", &[n, 1, h, w])?;
        Ok([n, h, w])
    }
}

impl Sample {
    /// Errors unless every field has the length and range that its documentation states.
    pub(crate) fn verify(&self) -> Result<()> {
        let pixels = check_pixels(self.batch, self.height, self.width)?;
        let sizes = [
            ("agnostic", self.agnostic.len(), 3),
            ("pose", self.pose.len(), 3),
            ("warped_cloth", self.warped_cloth.len(), 3),
            ("warped_mask", self.warped_mask.len(), 1),
            ("labels", self.labels.len(), 1),
        ];
        for (name, got, channels) in sizes {
            if got != pixels * channels {
                let (name, expected) = (name.into(), pixels * channels);
                let shape = vec![self.batch, channels, self.height, self.width];
                return Err(InputError::Elements { name, got, expected, shape }.into());
            }
        }
        for (name, values, low) in [
            ("agnostic", &self.agnostic, -1.0),
            ("pose", &self.pose, -1.0),
            ("warped_cloth", &self.warped_cloth, -1.0),
            ("warped_mask", &self.warped_mask, 0.0),
        ] {
            // `v < low || v > 1` would let NaN pass. Each chunk is checked to its end, so that the compiler can
            // vectorize.
            let good = |v: &f32| (low..=1.0).contains(v);
            let bad = values.chunks(1024).position(|chunk| !chunk.iter().fold(true, |all, v| all & good(v)));
            if let Some(at) =
                bad.and_then(|chunk| Some(1024 * chunk + values[1024 * chunk..].iter().position(|v| !good(v))?))
            {
                let value = values[at];
                return Err(InputError::Range { name, value, at, low }.into());
            }
        }
        if let Some(at) = self.labels.iter().position(|&label| label >= crate::CLASSES) {
            return Err(InputError::Class { value: self.labels[at].into(), at }.into());
        }
        Ok(())
    }
}
