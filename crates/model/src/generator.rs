//! The ALIAS generator on the tape.

use crate::tape::{Module, SharedConditions, SpadeMethod};
use crate::{Checkpoint, GeneratorConfig, Inputs, LoadOptions, Noise, Result};
use alias_tensor::{Device, Tensor};

/// The ALIAS generator with its tensors on a GPU, for gradients: forward passes are recorded on the tape.
/// [`Painter`](crate::Painter) draws the same image with a fraction of the operations and the memory.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::{Generator, Inputs, Noise, Sample};
/// use alias_tensor::{Device, Tensor};
/// # use alias_model::{GeneratorConfig, Layers, fill};
/// # let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(2) };
/// # let checkpoint = fill(&config.network()?, 1);
/// # let pixels = 64 * 64;
/// # let sample = Sample {
/// #     batch: 1,
/// #     height: 64,
/// #     width: 64,
/// #     agnostic: vec![0.0; 3 * pixels],
/// #     pose: vec![0.0; 3 * pixels],
/// #     warped_cloth: vec![0.5; 3 * pixels],
/// #     warped_mask: vec![1.0; pixels],
/// #     labels: vec![2; pixels],
/// # };
///
/// let device = Device::auto()?;
/// let generator = Generator::load(&device, &checkpoint)?;
/// let inputs = Inputs::new(&device, &sample)?;
/// let pictures = inputs.x().requires_grad(); // (N, 9, H, W)
/// let image = generator.forward(&inputs.with_x(pictures.clone()), Noise::None)?;
/// let cotangent = Tensor::new(&device, &image.shape(), &vec![1.0; image.numel()])?;
/// let gradient = image.backward(&cotangent)?.get(&pictures).expect("the image depends on them").to_vec()?;
/// assert_eq!(gradient.len(), pictures.numel());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Generator {
    config: GeneratorConfig,
    module: Module,
}

impl Generator {
    /// Loads a checkpoint and reads the generator's configuration from it.
    ///
    /// # Errors
    /// [`Error::StateDict`](crate::Error::StateDict) if it is not exactly a generator's state dict, or an error of the
    /// device.
    pub fn load(device: impl Into<Device>, checkpoint: &Checkpoint) -> Result<Generator> {
        Generator::load_with(device, checkpoint, LoadOptions::default())
    }

    /// Loads a checkpoint by `options`.
    ///
    /// # Errors
    /// As [`Generator::load`].
    pub fn load_with(device: impl Into<Device>, checkpoint: &Checkpoint, options: LoadOptions) -> Result<Generator> {
        let (config, network, checkpoint) = options.verified(checkpoint)?;
        Ok(Generator { config, module: Module::of_verified(&device.into(), network, &checkpoint)? })
    }

    /// Assembles a generator from tensors, like [`Module::from_state`].
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the configuration is out of range, or an error of `state` or the
    /// device.
    pub fn from_state(
        config: GeneratorConfig,
        state: impl FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<Generator> {
        Ok(Generator { config, module: Module::from_state(config.network()?, state)? })
    }

    /// Assembles a generator for training, like [`Module::for_training`].
    ///
    /// # Errors
    /// As [`Generator::from_state`].
    pub fn for_training(
        config: GeneratorConfig,
        recomputes: bool,
        state: impl FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<Generator> {
        Ok(Generator { config, module: Module::for_training(config.network()?, recomputes, state)? })
    }

    /// Its configuration.
    pub fn config(&self) -> GeneratorConfig {
        self.config
    }

    /// Names and current values of what training moves without a gradient, as [`Module::moved_state`] returns them.
    pub fn moved_state(&self) -> Vec<(String, Tensor)> {
        self.module.moved_state()
    }

    /// Draws the image: (N, 3, H, W) in [-1, 1].
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if H or W is not a multiple of
    /// [`Layers::multiple`](crate::Layers::multiple), or an error of the device.
    pub fn forward(&self, inputs: &Inputs, noise: Noise) -> Result<Tensor> {
        self.forward_with(inputs, noise, SpadeMethod::Table, |_, _| {})
    }

    /// Draws the image, as [`Module::forward_sharing`] does.
    ///
    /// # Errors
    /// As [`Generator::forward`].
    pub fn forward_sharing(&self, inputs: &Inputs, noise: Noise, shared: &SharedConditions) -> Result<Tensor> {
        self.check_size(inputs)?;
        Ok(self.module.forward_sharing(&inputs.feeds(), noise, shared)?.remove(0))
    }

    fn check_size(&self, inputs: &Inputs) -> Result<()> {
        let [_, height, width] = inputs.size()?;
        self.config.layers.check_size(height, width)
    }

    /// Draws the image with SPADE computed by `spade`, and passes each block's name and output to `tap`.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::{Generator, Inputs, Noise, Sample, SpadeMethod};
    /// use alias_tensor::Device;
    /// # use alias_model::{GeneratorConfig, Layers, fill};
    /// # let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(1) };
    /// # let checkpoint = fill(&config.network()?, 1);
    /// # let pixels = 64 * 64;
    /// # let sample = Sample {
    /// #     batch: 1,
    /// #     height: 64,
    /// #     width: 64,
    /// #     agnostic: vec![0.0; 3 * pixels],
    /// #     pose: vec![0.0; 3 * pixels],
    /// #     warped_cloth: vec![0.5; 3 * pixels],
    /// #     warped_mask: vec![1.0; pixels],
    /// #     labels: vec![2; pixels],
    /// # };
    ///
    /// let device = Device::auto()?;
    /// let generator = Generator::load(&device, &checkpoint)?;
    /// let inputs = Inputs::new(&device, &sample)?;
    /// let mut widths = Vec::new();
    /// let tap = |block: &str, output: &alias_tensor::Tensor| widths.push((block.to_owned(), output.shape()[3]));
    /// generator.forward_with(&inputs, Noise::None, SpadeMethod::Dense, tap)?;
    /// assert_eq!(widths[0], ("head_0".into(), 1));
    /// assert_eq!(widths[6], ("up_3".into(), 64));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Generator::forward`].
    pub fn forward_with(
        &self,
        inputs: &Inputs,
        noise: Noise,
        spade: SpadeMethod,
        tap: impl FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        self.check_size(inputs)?;
        let mut outputs = self.module.forward_with(&inputs.feeds(), noise, spade, tap)?;
        Ok(outputs.remove(0))
    }
}
