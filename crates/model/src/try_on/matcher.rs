//! The garment warped onto a person, from the geometric matching module.

use super::inputs::{Garment, Wearer};
use super::{check_finite, planes, run};
use crate::plans::{Session, Target};
use crate::{Checkpoint, Device, InputError, MatchingConfig, Result};
use alias_plan::ThinPlate;
use alias_tensor::Tensor;

/// Warps garments onto persons (VITON-HD, section 3.3). Clones are cheap and share the weights.
#[derive(Clone, Debug)]
pub struct Matcher {
    device: Device,
    config: MatchingConfig,
    session: Session,
}

/// A warped garment.
#[derive(Clone, Debug, PartialEq)]
pub struct Warped {
    /// The displacements of the spline's 25 control points: (N, 50), in x, then in y.
    pub theta: Vec<f32>,
    /// The garment with its background: (N, 3, H, W) in [-1, 1].
    pub cloth: Vec<f32>,
    /// Where it is: (N, 1, H, W) in [0, 1].
    pub mask: Vec<f32>,
}

impl Matcher {
    /// Loads the geometric matching module, such as `gmm_final.pth`.
    ///
    /// # Errors
    /// [`Error::StateDict`](crate::Error::StateDict) if the checkpoint is not a matching module's; as
    /// [`Session::load_with`].
    pub fn load(device: impl Into<Device>, checkpoint: &Checkpoint, strict: bool, target: Target) -> Result<Matcher> {
        let checkpoint = MatchingConfig::state_dict_in(checkpoint)?;
        let (device, config) = (device.into(), MatchingConfig::infer(&checkpoint)?);
        let network = config.network()?;
        network.verify(&checkpoint, strict)?;
        let session = Session::of_verified(device.clone(), network, &checkpoint, target)?;
        Ok(Matcher { device, config, session })
    }

    /// Its configuration.
    pub fn config(&self) -> MatchingConfig {
        self.config
    }

    /// Warps the garment onto the person. `classes` (N, H, W) is the segmentation of the person in it, in the image
    /// generator's seven classes.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if sizes differ, or the module's result is not finite; an error of the device.
    pub fn warp(&self, wearer: &Wearer, garment: &Garment, classes: &[u8]) -> Result<Warped> {
        let [person, cloth] = Matcher::inputs(wearer, garment, classes)?;
        let Wearer { batch, size: [height, width], low: [h, w], .. } = *wearer;
        let outputs = run(&self.session, [batch, h, w], &[&person, &cloth])?;
        let theta = outputs.into_iter().next_back().expect("theta is the last output");
        check_finite("the geometric matching module", &theta)?;

        let warped = self.look_up(&theta, &garment.picture_and_mask(), [batch, 4, height, width])?;
        let plane = height * width;
        let (mut cloth, mut mask) = (Vec::with_capacity(3 * batch * plane), Vec::with_capacity(batch * plane));
        for image in warped.chunks_exact(4 * plane) {
            // Rounding may leave the range by a unit in the last place.
            cloth.extend(image[..3 * plane].iter().map(|v| v.clamp(-1.0, 1.0)));
            mask.extend(image[3 * plane..].iter().map(|v| v.clamp(0.0, 1.0)));
        }
        Ok(Warped { theta, cloth, mask })
    }

    /// What the network reads, at low resolution: the person (N, 7, h, w), which is the garment's place 1, the pose 3 and the agnostic
    /// picture 3; and the garment's picture (N, 3, h, w).
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if sizes differ.
    pub fn inputs(wearer: &Wearer, garment: &Garment, classes: &[u8]) -> Result<[Vec<f32>; 2]> {
        garment.check_fits(wearer)?;
        let Wearer { batch, size: [height, width], .. } = *wearer;
        let (got, expected, shape) = (classes.len(), batch * height * width, vec![batch, height, width]);
        if got != expected {
            return Err(InputError::Elements { name: "classes".into(), got, expected, shape }.into());
        }
        let is_garment =
            |n: usize| move |at: usize| f32::from(u8::from(classes[n * height * width + at] == crate::GARMENT));
        let place = planes::resize_nearest(batch, wearer.size, wearer.low, is_garment);
        let person = planes::concatenate(batch, &[&place, &wearer.pose_nearest, &wearer.agnostic_nearest]);
        Ok([person, garment.nearest.clone()])
    }

    /// Pictures (N, C, H, W) where the splines of `theta` (N, 50) send each pixel, at the same size.
    fn look_up(&self, theta: &[f32], pictures: &[f32], shape @ [n, _, h, w]: [usize; 4]) -> Result<Vec<f32>> {
        match &self.device {
            Device::Cores(cores) => Ok(alias_cpu::thin_plate_warp(cores.cpu(), theta, pictures, shape, [h, w])),
            Device::Gpu(gpu) => {
                let pictures = Tensor::new(gpu, &shape, pictures)?;
                let theta = Tensor::new(gpu, &[n, 2 * ThinPlate::POINTS, 1, 1], theta)?;
                Ok(alias_kernels::thin_plate_warp(&pictures, &theta, h, w)?.to_vec()?)
            }
        }
    }
}
