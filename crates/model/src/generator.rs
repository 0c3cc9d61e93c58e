//! The ALIAS generator, on a device.

use crate::{AliasNorm, Architecture, Checkpoint, Config, Conv, Error, Inputs, NormKind, ResBlock, Result, state_dict};
use alias_kernels::{
    RunningStatistics, add, add_noise, batch_norm, concat, conv2d, instance_norm, leaky_relu, mask_norm, modulate,
    relu, resize, spectral_norm, tanh,
};
use alias_tensor::{Gpu, Tensor};
use std::collections::HashMap;

/// What every normalization adds to a variance.
const EPS: f32 = 1e-5;
/// Slope of the leaky ReLUs.
const SLOPE: f32 = 0.2;

/// The Gaussian noise before each normalization. The authors draw it in evaluation, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Noise {
    /// No noise: the same image every time.
    #[default]
    None,
    /// The noise of this seed: the same image for the same seed, on every device.
    Seed(u64),
}

/// How to load a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Whether the generator is the ablation without mask norm, which the checkpoint cannot tell with instance norm.
    pub plain: bool,
    /// Whether a tensor that does not belong to the generator is an error. One that is missing always is.
    pub strict: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions { plain: false, strict: true }
    }
}

/// The ALIAS generator in evaluation, its weights on a device.
///
/// Forward passes are recorded on the tape, so that the image can be differentiated with respect to tracked inputs, and
/// to tracked weights given to [`Generator::from_state`].
#[derive(Debug)]
pub struct Generator {
    architecture: Architecture,
    /// Weights by name, those with spectral norm already divided by it.
    weights: HashMap<String, Tensor>,
}

impl Generator {
    /// Loads a checkpoint, its configuration read from the weights.
    ///
    /// # Errors
    /// [`Error::StateDict`] where it is not exactly a generator's state dict; what the device reports.
    pub fn load(gpu: &Gpu, checkpoint: &Checkpoint) -> Result<Generator> {
        Generator::load_with(gpu, checkpoint, LoadOptions::default())
    }

    /// Loads a checkpoint by `options`.
    ///
    /// # Errors
    /// As [`Generator::load`].
    pub fn load_with(gpu: &Gpu, checkpoint: &Checkpoint, options: LoadOptions) -> Result<Generator> {
        let inferred = Config::infer(checkpoint)?;
        let config = Config { plain: options.plain || inferred.plain, ..inferred };
        let architecture = Architecture::new(config)?;
        state_dict::verify(&architecture, checkpoint, options.strict)?;
        Generator::from_state(architecture, |key, shape| {
            let array = checkpoint.get(key).ok_or_else(|| Error::StateDict(format!("no tensor '{key}'")))?;
            Ok(Tensor::new(gpu, shape, &array.to_f32())?)
        })
    }

    /// Assembles a generator from tensors: `state` gives each one of the state dict that evaluation uses, by name and
    /// shape. What it gives may be [tracked](Tensor::requires_grad).
    ///
    /// # Errors
    /// What `state` or the device reports.
    pub fn from_state(
        architecture: Architecture,
        mut state: impl FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<Generator> {
        let shapes = architecture.state_dict();
        let mut take = |key: &str| state(key, &shapes[key]);
        let mut weights = HashMap::new();
        let mut add_conv = |conv: &Conv| -> Result<()> {
            let weight = if conv.spectral {
                let [orig, u, v] = conv.spectral_state();
                spectral_norm(&take(&orig)?, &take(&u)?, &take(&v)?)?
            } else {
                take(&conv.weight())?
            };
            weights.insert(conv.weight(), weight);
            if conv.bias {
                weights.insert(conv.bias(), take(&conv.bias())?);
            }
            Ok(())
        };
        architecture.features[..architecture.blocks.len()].iter().try_for_each(&mut add_conv)?;
        add_conv(&architecture.image)?;
        for (norm, conv) in architecture.blocks.iter().flat_map(ResBlock::halves) {
            [conv, &norm.shared, &norm.gamma, &norm.beta].into_iter().try_for_each(&mut add_conv)?;
        }
        for (norm, _) in architecture.blocks.iter().flat_map(ResBlock::halves) {
            weights.insert(norm.noise_scale(), take(&norm.noise_scale())?);
            if norm.kind == NormKind::Batch {
                for key in norm.running_statistics() {
                    let statistics = take(&key)?;
                    weights.insert(key, statistics);
                }
            }
        }
        Ok(Generator { architecture, weights })
    }

    /// Its layers.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Draws the image: (N, 3, H, W) in (-1, 1).
    ///
    /// # Errors
    /// [`Error::Input`] where H or W is not a multiple of what the layers need; what the device reports.
    pub fn forward(&self, inputs: &Inputs, noise: Noise) -> Result<Tensor> {
        self.forward_with(inputs, noise, |_, _| {})
    }

    /// Draws the image and shows each block's output, by the block's name, on the way.
    ///
    /// # Errors
    /// As [`Generator::forward`].
    pub fn forward_with(&self, inputs: &Inputs, noise: Noise, mut tap: impl FnMut(&str, &Tensor)) -> Result<Tensor> {
        let [_, height, width] = inputs.size()?;
        let layers = self.architecture.config.layers;
        let multiple = layers.multiple();
        if height % multiple != 0 || width % multiple != 0 {
            return Err(Error::Input(format!(
                "the image is {height}x{width}; with layers {layers:?} height and width are multiples of {multiple}: pad \
                 or resize it"
            )));
        }
        let mut y: Option<Tensor> = None;
        for (i, (block, features)) in self.architecture.blocks.iter().zip(&self.architecture.features).enumerate() {
            let (h, w) = (height >> layers.doublings() << i, width >> layers.doublings() << i);
            let features = self.conv(features, &resize(&inputs.x, h, w)?)?;
            let x = match &y {
                None => features,
                Some(y) => concat(&[&resize(y, h, w)?, &features])?,
            };
            let out = self.block(block, &x, inputs, noise)?;
            tap(block.key, &out);
            y = Some(out);
        }
        let y = y.ok_or_else(|| Error::Config("a generator without blocks".into()))?;
        Ok(tanh(&self.conv(&self.architecture.image, &leaky_relu(&y, SLOPE)?)?)?)
    }

    fn block(&self, block: &ResBlock, x: &Tensor, inputs: &Inputs, noise: Noise) -> Result<Tensor> {
        let [_, _, h, w] = x.shape().nchw("block", "x")?;
        let labels = resize(if block.sees_mask { &inputs.seg_div } else { &inputs.seg }, h, w)?;
        let mask = resize(&inputs.mask, h, w)?;
        let norm = |norm: &AliasNorm, x: &Tensor| self.norm(norm, x, &labels, &mask, noise);
        let skip = match &block.skip {
            Some((norm_s, conv_s)) => self.conv(conv_s, &norm(norm_s, x)?)?,
            None => x.clone(),
        };
        let y = self.conv(&block.first.1, &leaky_relu(&norm(&block.first.0, x)?, SLOPE)?)?;
        let y = self.conv(&block.second.1, &leaky_relu(&norm(&block.second.0, &y)?, SLOPE)?)?;
        Ok(add(&skip, &y)?)
    }

    fn norm(&self, norm: &AliasNorm, x: &Tensor, labels: &Tensor, mask: &Tensor, noise: Noise) -> Result<Tensor> {
        let x = match noise {
            Noise::None => x.clone(),
            Noise::Seed(seed) => add_noise(x, self.weight(&norm.noise_scale())?, seed, norm.stream)?,
        };
        let standardized = match norm.kind {
            NormKind::Mask => mask_norm(&x, mask, EPS)?,
            NormKind::Instance => instance_norm(&x, None, EPS)?,
            NormKind::Batch => {
                let [mean, variance] = norm.running_statistics();
                let running =
                    RunningStatistics { mean: self.weight(&mean)?.clone(), variance: self.weight(&variance)?.clone() };
                batch_norm(&x, &running, EPS)?
            }
        };
        let hidden = relu(&self.conv(&norm.shared, labels)?)?;
        Ok(modulate(&standardized, &self.conv(&norm.gamma, &hidden)?, &self.conv(&norm.beta, &hidden)?)?)
    }

    fn conv(&self, conv: &Conv, x: &Tensor) -> Result<Tensor> {
        let bias = if conv.bias { Some(self.weight(&conv.bias())?) } else { None };
        Ok(conv2d(x, self.weight(&conv.weight())?, bias, 1, conv.kernel / 2)?)
    }

    fn weight(&self, key: &str) -> Result<&Tensor> {
        self.weights.get(key).ok_or_else(|| Error::StateDict(format!("no tensor '{key}'")))
    }
}
