//! VGG-19's features on the tape.

use crate::Result;
use alias_checkpoint::Checkpoint;
use alias_model::{Feed, Module, Noise, Vgg19Config};
use alias_tensor::{Device, Tensor};

/// VGG-19's features, its weights on a device. They are not trained.
#[derive(Clone, Debug)]
pub struct Vgg19 {
    module: Module,
}

impl Vgg19 {
    /// Loads the convolutions of torchvision's `vgg19` by their names there; other tensors are ignored. For tests, all
    /// widths may be divided by the same number.
    ///
    /// # Errors
    /// [`alias_model::Error::StateDict`] if a convolution is missing or misshapen; what the device reports.
    pub fn load(device: impl Into<Device>, checkpoint: &Checkpoint) -> Result<Vgg19> {
        let network = Vgg19Config::infer(checkpoint)?.network()?;
        let checkpoint = network.state_dict_in(checkpoint)?;
        network.verify(&checkpoint, false)?;
        Ok(Vgg19 { module: Module::of_verified(&device.into(), network, &checkpoint)? })
    }

    /// relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of `image` (N, 3, H, W) in [-1, 1]. As in SPADE, the image is not
    /// normalized by ImageNet's mean and deviation.
    ///
    /// # Errors
    /// If a side is shorter than 16 pixels; what the device reports.
    pub fn forward(&self, image: &Tensor) -> Result<Vec<Tensor>> {
        Ok(self.module.forward(&[Feed::Tensor(image.clone())], Noise::None)?)
    }
}
