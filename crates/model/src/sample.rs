//! The inputs of a try-on, as plain arrays.

use crate::{Checkpoint, InputError, Result};
use alias_checkpoint::Dtype;

/// Number of classes of a label map: background, kept parts, upper garment, hair, left arm, right arm, noise.
pub const CLASSES: u8 = 7;

/// The inputs of one try-on, or of a batch, on the host, in row-major NCHW.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Number of pictures, N.
    pub batch: usize,
    /// Height of each, H.
    pub height: usize,
    /// Width of each, W.
    pub width: usize,
    /// The person with torso and arms blanked out: (N, 3, H, W) in [-1, 1].
    pub agnostic: Vec<f32>,
    /// The drawn skeleton: (N, 3, H, W) in [-1, 1].
    pub pose: Vec<f32>,
    /// The garment, warped roughly into place: (N, 3, H, W) in [-1, 1].
    pub warped_cloth: Vec<f32>,
    /// Where the warped garment is: (N, 1, H, W) in [0, 1].
    pub warped_mask: Vec<f32>,
    /// The segmentation of the result: (N, H, W), classes 0 to 6.
    pub labels: Vec<u8>,
}

/// The number of pixels. Errors unless there is at least 1, and 31-bit indices can address all.
pub(crate) fn check_pixels(batch: usize, height: usize, width: usize) -> Result<usize> {
    let count = batch.checked_mul(height).and_then(|rows| rows.checked_mul(width));
    count
        .filter(|pixels| (1..1 << 31).contains(pixels))
        .ok_or_else(|| InputError::Pixels { batch, height, width }.into())
}

impl Sample {
    /// Joins samples of one size into a batch, in their order.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::Sample;
    /// # let pixels = 2 * 2;
    /// # let sample = Sample {
    /// #     batch: 1,
    /// #     height: 2,
    /// #     width: 2,
    /// #     agnostic: vec![0.0; 3 * pixels],
    /// #     pose: vec![0.0; 3 * pixels],
    /// #     warped_cloth: vec![0.5; 3 * pixels],
    /// #     warped_mask: vec![1.0; pixels],
    /// #     labels: vec![2; pixels],
    /// # };
    ///
    /// let other = Sample { warped_cloth: vec![-0.5; 12], ..sample.clone() };
    /// let batch = Sample::stack([&sample, &other])?;
    /// assert_eq!(batch.batch, 2);
    /// assert_eq!(batch.warped_cloth, [[0.5; 12], [-0.5; 12]].concat());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if there is none, or their sizes differ.
    pub fn stack<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Result<Sample> {
        let mut samples = samples.into_iter();
        let mut all = samples.next().cloned().ok_or(InputError::EmptyBatch)?;
        for sample in samples {
            let (size, first) = ([sample.height, sample.width], [all.height, all.width]);
            if size != first {
                return Err(InputError::BatchSizes { first, other: size }.into());
            }
            all.batch += sample.batch;
            all.agnostic.extend(&sample.agnostic);
            all.pose.extend(&sample.pose);
            all.warped_cloth.extend(&sample.warped_cloth);
            all.warped_mask.extend(&sample.warped_mask);
            all.labels.extend(&sample.labels);
        }
        Ok(all)
    }

    /// A sample from tensors named like its fields: `agnostic`, `pose`, `warped_cloth` (N, 3, H, W) and `warped_mask`
    /// (N, 1, H, W) of any floating-point type, and `labels` (N, H, W) of an integer type.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::checkpoint::{Array, Checkpoint, Dtype};
    /// use alias_model::{GARMENT, Sample};
    ///
    /// let mut tensors = Checkpoint::new(); // or Checkpoint::read("in.safetensors")?
    /// for picture in ["agnostic", "pose", "warped_cloth"] {
    ///     tensors.insert(picture, Array::from_f32(&[1, 3, 2, 2], &[0.5; 12]));
    /// }
    /// tensors.insert("warped_mask", Array::from_f32(&[1, 1, 2, 2], &[1.0; 4]));
    /// tensors.insert("labels", Array::from_le_bytes(Dtype::U8, &[1, 2, 2], vec![GARMENT; 4]));
    /// let sample = Sample::from_tensors(&tensors)?;
    /// assert_eq!((sample.batch, sample.height, sample.width), (1, 2, 2));
    /// assert_eq!(sample.labels, [GARMENT; 4]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a tensor is missing, has the wrong shape, or holds labels that are not
    /// classes; [`Error::Checkpoint`](crate::Error::Checkpoint) if the file cannot be read.
    pub fn from_tensors(tensors: &Checkpoint) -> Result<Sample> {
        let get = |name: &str| {
            let found = || tensors.keys().take(8).collect::<Vec<_>>().join(", ");
            tensors.get(name).ok_or_else(|| InputError::Missing { name: name.into(), found: found() })
        };
        let &[batch, 3, height, width] = get("agnostic")?.shape() else {
            let (name, shape) = ("agnostic".into(), get("agnostic")?.shape().to_vec());
            return Err(InputError::Shape { name, shape, expected: "(N, 3, H, W)".into() }.into());
        };
        check_pixels(batch, height, width)?;
        let of_shape = |name: &str, expected: &[usize]| {
            let array = get(name)?;
            if array.shape() == expected {
                Ok(array)
            } else {
                let (name, shape) = (name.into(), array.shape().to_vec());
                Err(InputError::Shape { name, shape, expected: format!("{expected:?}, to fit agnostic") })
            }
        };
        let is_float = |dtype| matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64);
        for name in ["agnostic", "pose", "warped_cloth", "warped_mask"] {
            let dtype = get(name)?.dtype();
            if !is_float(dtype) {
                return Err(InputError::PictureType { name, dtype }.into());
            }
        }
        let labels = of_shape("labels", &[batch, height, width])?;
        if is_float(labels.dtype()) || labels.dtype() == Dtype::Bool {
            return Err(InputError::LabelType(labels.dtype()).into());
        }
        let values = labels.to_f64()?;
        if let Some(at) = values.iter().position(|v| !(0.0..f64::from(CLASSES)).contains(v)) {
            return Err(InputError::Class { value: values[at], at, classes: CLASSES.into() }.into());
        }
        Ok(Sample {
            batch,
            height,
            width,
            agnostic: get("agnostic")?.to_f32()?,
            pose: of_shape("pose", &[batch, 3, height, width])?.to_f32()?,
            warped_cloth: of_shape("warped_cloth", &[batch, 3, height, width])?.to_f32()?,
            warped_mask: of_shape("warped_mask", &[batch, 1, height, width])?.to_f32()?,
            labels: values.iter().map(|&v| v as u8).collect(),
        })
    }

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
            return Err(InputError::Class { value: self.labels[at].into(), at, classes: crate::CLASSES.into() }.into());
        }
        Ok(())
    }
}
