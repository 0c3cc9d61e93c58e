//! The segmentation of a person in a garment, from the segmentation generator.

use super::inputs::{Garment, Wearer};
use super::{check_finite, planes, run};
use crate::networks::CLASSES_13;
use crate::plan::philox;
use crate::plans::{Session, Target};
use crate::{Checkpoint, Device, InputError, Noise, Result, SegmentationConfig};
use alias_tensor::Tensor;

/// Random stream of the noise in the segmentation generator's input, behind those of ALIAS's noise.
const NOISE_STREAM: u32 = 24;
/// The noise is 1 where 24 random bits are below this. The authors draw N(0, 255) into a byte, which clips and rounds it,
/// divide by 255 and truncate: 1 where a standard normal number times 255 rounds to 255 or more, else 0.
const NOISE_SHARE: u32 = 2_669_761;

/// Predicts how a person's picture would be segmented if the person wore a garment (VITON-HD, section 3.2). Clones are cheap
/// and share the weights.
#[derive(Clone, Debug)]
pub struct Segmenter {
    device: Device,
    session: Session,
}

impl Segmenter {
    /// Loads the segmentation generator, such as `seg_final.pth`.
    ///
    /// # Errors
    /// [`Error::StateDict`](crate::Error::StateDict) if the checkpoint is not a segmentation generator's; as
    /// [`Session::load_with`].
    pub fn load(device: impl Into<Device>, checkpoint: &Checkpoint, strict: bool, target: Target) -> Result<Segmenter> {
        let checkpoint = SegmentationConfig::state_dict_in(checkpoint)?;
        let (device, network) = (device.into(), SegmentationConfig::infer(&checkpoint)?.network()?);
        network.verify(&checkpoint, strict)?;
        let session = Session::of_verified(device.clone(), network, &checkpoint, target)?;
        Ok(Segmenter { device, session })
    }

    /// The scores of the 13 classes at low resolution: (N, 13, h, w) in (0, 1). `noise` is that of the network's input.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if person and garment differ in size, or the scores are not finite; an error
    /// of the device.
    pub fn scores(&self, wearer: &Wearer, garment: &Garment, noise: Noise) -> Result<Vec<f32>> {
        let (x, [h, w]) = (Segmenter::input(wearer, garment, noise)?, wearer.low);
        let scores = run(&self.session, [wearer.batch, h, w], &[&x])?.remove(0);
        check_finite("the segmentation generator", &scores)?;
        Ok(scores)
    }

    /// What the network reads, at low resolution: (N, 21, h, w). The garment's mask 1, the garment on gray 3, the person's classes
    /// 13, the pose 3, noise 1.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if person and garment differ in size.
    pub fn input(wearer: &Wearer, garment: &Garment, noise: Noise) -> Result<Vec<f32>> {
        garment.check_fits(wearer)?;
        let [h, w] = wearer.low;
        let noise = self::noise(noise, wearer.batch * h * w);
        let parts: [&[f32]; 4] = [&garment.for_scores, &wearer.parsed_low, &wearer.pose_bilinear, &noise];
        Ok(planes::concatenate(wearer.batch, &parts))
    }

    /// The class of the highest score at each pixel of the person's pictures, after the scores were enlarged and blurred:
    /// (N, H, W), 0 to 12.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if there are not as many scores as the person needs, or one is not finite; an error
    /// of the device.
    pub fn parsed(&self, wearer: &Wearer, scores: &[f32]) -> Result<Vec<u8>> {
        let Wearer { batch, low: [h, w], size, .. } = *wearer;
        let (got, shape) = (scores.len(), [batch, CLASSES_13, h, w]);
        let expected = shape.iter().product();
        if got != expected {
            return Err(InputError::Elements { name: "scores".into(), got, expected, shape: shape.into() }.into());
        }
        check_finite("the segmentation generator", scores)?;
        match &self.device {
            Device::Cores(cores) => Ok(alias_cpu::smooth_labels(cores.cpu(), scores, shape, size)),
            Device::Gpu(gpu) => {
                let scores = Tensor::new(gpu, &shape, scores)?;
                let labels = alias_kernels::smooth_labels(&scores, size[0], size[1])?;
                Ok(labels.to_vec()?.into_iter().map(|label| label as u8).collect())
            }
        }
    }
}

/// The segmentation generator's noise, (N, 1, h, w) with `count` elements: 0 or 1, the same on every device.
fn noise(noise: Noise, count: usize) -> Vec<f32> {
    match noise {
        Noise::None => vec![0.0; count],
        Noise::Seed(seed) => {
            let share = f64::from(NOISE_SHARE) / f64::from(1 << 24);
            philox::uniform(seed, NOISE_STREAM).take(count).map(|u| f32::from(u8::from(u < share))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Noise, noise};

    /// Measured in the authors' code: 0.159.
    #[test]
    fn a_sixth_of_the_noise_is_1() {
        let drawn = noise(Noise::Seed(3), 40_000);
        let share = drawn.iter().sum::<f32>() / 40_000.0;
        assert!((share - 0.159).abs() < 0.006 && drawn.iter().all(|&z| z == 0.0 || z == 1.0), "{share}");
        assert_eq!(noise(Noise::None, 3), [0.0; 3]);
    }
}
