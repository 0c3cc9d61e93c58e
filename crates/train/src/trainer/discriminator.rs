//! SPADE's multi-scale discriminator on the tape.

use crate::Result;
use alias_model::{DiscriminatorConfig, Feed, Module, Noise};
use alias_tensor::Tensor;

/// SPADE's multi-scale discriminator, its weights on a device.
#[derive(Clone, Debug)]
pub struct MultiscaleDiscriminator {
    config: DiscriminatorConfig,
    module: Module,
}

impl MultiscaleDiscriminator {
    /// Assembles a discriminator from tensors, as [`Module::from_state`] does.
    ///
    /// # Errors
    /// [`alias_model::Error::Config`] if no discriminator has this configuration; what `state` or the device reports.
    pub fn from_state(
        config: DiscriminatorConfig,
        state: impl FnMut(&str, &[usize]) -> alias_model::Result<Tensor>,
    ) -> Result<MultiscaleDiscriminator> {
        Ok(MultiscaleDiscriminator { config, module: Module::from_state(config.network()?, state)? })
    }

    /// Assembles a discriminator for training, as [`Module::for_training`] does.
    ///
    /// # Errors
    /// As [`MultiscaleDiscriminator::from_state`].
    pub fn for_training(
        config: DiscriminatorConfig,
        state: impl FnMut(&str, &[usize]) -> alias_model::Result<Tensor>,
    ) -> Result<MultiscaleDiscriminator> {
        Ok(MultiscaleDiscriminator { config, module: Module::for_training(config.network()?, false, state)? })
    }

    /// Names and current values of what training moves without a gradient, as [`Module::moved_state`] returns them.
    pub fn moved_state(&self) -> Vec<(String, Tensor)> {
        self.module.moved_state()
    }

    /// The output of every layer, for each scale, on `image` with the segmentation `seg_div`, both (N, C, H, W) with the
    /// configuration's numbers of channels. The last layer of each scale gives its scores, one for each patch.
    ///
    /// # Errors
    /// If the shapes do not fit; what the device reports.
    pub fn forward(&self, seg_div: &Tensor, image: &Tensor) -> Result<Vec<Vec<Tensor>>> {
        let feeds = [seg_div, image].map(|tensor| Feed::Tensor(tensor.clone()));
        let outputs = self.module.forward(&feeds, Noise::None)?;
        Ok(outputs.chunks(self.config.layers + 1).map(<[Tensor]>::to_vec).collect())
    }
}
